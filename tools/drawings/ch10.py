"""Drawings of the chapter on Langevin dynamics."""

import matplotlib.pyplot as plt
import torch

import dgm_helpers as dgm

from .hand import BLUE, GREY, INK, ORANGE, drawing

MIXTURE = dgm.GaussianMixture.from_student_number(810_100_007)


@drawing
def climb_or_walk():
    """Eight starts without and with noise, along the exact score."""
    figure, axes = plt.subplots(1, 2, figsize=(6.7, 3.2), layout="constrained")
    line = torch.linspace(-10, 10, 81, dtype=torch.float64)
    density = MIXTURE.log_prob(torch.cartesian_prod(line, line)).reshape(81, 81).T
    angle = torch.arange(8, dtype=torch.float64) * torch.pi / 4 + 0.3
    start = 8.5 * torch.stack([angle.cos(), angle.sin()], dim=1)
    settings = {"step_size": 0.1, "steps": 300, "trajectory": True}
    walks = {
        "without noise": dgm.gradient_ascent(MIXTURE.score, start, **settings),
        "with noise": dgm.langevin(MIXTURE.score, start, generator=dgm.seeded(0), **settings),
    }
    for ax, (name, walk) in zip(axes, walks.items(), strict=True):
        ax.contour(
            line,
            line,
            density,
            density.max() + torch.tensor([-8.0, -4.5, -2.0, -0.6]),
            colors=GREY,
            linewidths=0.7,
            linestyles="solid",
        )
        for path in walk.unbind(1):
            ax.plot(*path[::2].T, color=BLUE, linewidth=0.6, alpha=0.8)
        ax.plot(*start.T, "o", color=INK, markersize=3.5, markerfacecolor="none")
        ax.plot(*walk[-1].T, "X", color=ORANGE, markersize=6)
        ax.set(xlim=(-10, 10), ylim=(-10, 10), aspect="equal", xticks=[], yticks=[], title=name)
        ax.spines[:].set_visible(True)
    return figure
