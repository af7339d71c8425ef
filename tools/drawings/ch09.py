"""Drawings of the chapter on the scores of a mixture."""

import matplotlib.pyplot as plt
import torch

import dgm_helpers as dgm

from .hand import BLUE, ORANGE, drawing

MIXTURE = dgm.GaussianMixture.from_student_number(810_100_007)


@drawing
def noise_ladder():
    """The density of the mixture after noise of four sizes, with noised points."""
    figure, axes = plt.subplots(1, 4, figsize=(6.7, 1.95), layout="constrained")
    line = torch.linspace(-14, 14, 71, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    x = MIXTURE.sample(300, generator=dgm.seeded(0))
    noise = torch.randn(x.shape, generator=dgm.seeded(1), dtype=x.dtype)
    for ax, sigma in zip(axes, (0.0, 1.0, 3.0, 7.0), strict=True):
        density = MIXTURE.log_prob(grid, sigma).reshape(71, 71).T
        levels = density.max() + torch.tensor([-6.0, -3.5, -2.0, -1.0, -0.4])
        ax.contour(line, line, density, levels, colors=BLUE, linewidths=0.8, linestyles="solid")
        ax.plot(
            *(x + sigma * noise).T, ".", color=ORANGE, markersize=1.6, alpha=0.7, rasterized=True
        )
        ax.set(
            xlim=(-14, 14),
            ylim=(-14, 14),
            aspect="equal",
            xticks=[],
            yticks=[],
            title=rf"$\sigma$ = {sigma:g}",
        )
        ax.spines[:].set_visible(True)
    return figure
