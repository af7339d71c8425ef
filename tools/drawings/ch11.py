"""Drawings of the chapter on annealing."""

import matplotlib.pyplot as plt
import torch

import dgm_helpers as dgm

from .hand import BLUE, GREY, ORANGE, drawing

MIXTURE = dgm.GaussianMixture.from_student_number(810_100_007)


@drawing
def staircase():
    """Chains of annealed Langevin dynamics at the end of five of twenty levels."""
    sigmas = torch.logspace(1.30103, 0, 20, dtype=torch.float64)
    start = 20 * torch.randn(300, 2, generator=dgm.seeded(0), dtype=torch.float64)
    walk = dgm.annealed_langevin(
        MIXTURE.score,
        start,
        sigmas,
        step_size=0.1,
        steps_per_level=100,
        generator=dgm.seeded(1),
        trajectory=True,
    )
    light = MIXTURE.means[MIXTURE.weights.argmin()]
    ends_light = walk[-1] @ light > 0
    figure, axes = plt.subplots(1, 5, figsize=(6.7, 1.65), layout="constrained")
    line = torch.linspace(-24, 24, 81, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    for ax, level in zip(axes, (0, 6, 10, 13, 19), strict=True):
        sigma = sigmas[level].item()
        density = MIXTURE.log_prob(grid, sigma).reshape(81, 81).T
        ax.contour(
            line,
            line,
            density,
            density.max() + torch.tensor([-4.0, -2.0, -0.7]),
            colors=GREY,
            linewidths=0.7,
            linestyles="solid",
        )
        points = walk[100 * (level + 1)]
        for rows, color in ((~ends_light, BLUE), (ends_light, ORANGE)):
            ax.plot(*points[rows].T, ".", color=color, markersize=1.8, rasterized=True)
        ax.set(xlim=(-24, 24), ylim=(-24, 24), aspect="equal", xticks=[], yticks=[])
        ax.set_title(rf"$\sigma$ = {sigma:.1f}", fontsize=9)
        ax.spines[:].set_visible(True)
    return figure
