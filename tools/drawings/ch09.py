"""Drawings of the chapter on the scores of a mixture."""

import matplotlib.pyplot as plt
import torch

import dgm_helpers as dgm

from .hand import BLUE, GREY, INK, ORANGE, arrow, drawing

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


@drawing
def two_pulls():
    """The worked example: at x = 3, the pulls of two modes, their shares of the vote, and the score.

    Arrows are drawn in units of the strength 1/c of the pulls, so that each pull ends at its mode.
    """
    figure, axes = plt.subplots(1, 2, figsize=(6.7, 2.3), layout="constrained")
    line = torch.linspace(-14, 14, 281, dtype=torch.float64)[:, None]
    means, x = torch.tensor([-5.0, 5.0]), 3.0
    mixture = dgm.GaussianMixture([0.5, 0.5], [[-5.0], [5.0]], [1.0, 1.0])
    for ax, sigma in zip(axes, (0.0, 7.0), strict=True):
        density = mixture.log_prob(line, sigma).exp()
        ax.fill_between(line[:, 0], density / density.max(), color=GREY, alpha=0.35, linewidth=0)
        shares = (-((means - x) ** 2) / (2 * (1 + sigma**2))).softmax(0)
        for mean, share in zip(means.tolist(), shares.tolist(), strict=True):
            arrow(ax, (x, -0.3), (mean, -0.3), BLUE)
            ax.text(mean, -0.39, f"{share:.0%}", color=BLUE, ha="center", va="top", fontsize=8.5)
        arrow(ax, (x, -0.62), ((shares * means).sum().item(), -0.62), ORANGE, linewidth=2)
        ax.plot(x, 0, "o", color=INK, markersize=4)
        title = rf"$\sigma$ = {sigma:g}" if sigma else "no noise"
        ax.set(xlim=(-14, 14), ylim=(-0.72, 1.1), yticks=[], xticks=(-5, 3, 5), title=title)
        ax.spines["bottom"].set_position(("data", 0))
        ax.spines["left"].set_visible(False)
    return figure
