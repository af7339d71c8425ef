"""Drawings of the chapter on Langevin dynamics."""

import matplotlib.pyplot as plt
import torch

import dgm_helpers as dgm

from .hand import BLUE, GREY, INK, ORANGE, arrow, drawing

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


@drawing
def balance():
    """The velocity of the density towards p from three densities: too narrow, p, too wide."""
    figure, axes = plt.subplots(1, 3, figsize=(6.7, 1.9), layout="constrained", sharey=True)
    x = torch.linspace(-4, 4, 201, dtype=torch.float64)
    places = torch.linspace(-2.4, 2.4, 9, dtype=torch.float64)
    titles = {
        0.3: "too narrow: noise wins",
        1.0: "$\\rho = p$: balance",
        2.8: "too wide: drift wins",
    }
    for ax, (variance, title) in zip(axes, titles.items(), strict=True):
        ax.fill_between(x, torch.exp(-(x**2) / 2), color=GREY, alpha=0.35, linewidth=0)
        ax.plot(x, torch.exp(-(x**2) / (2 * variance)) / variance**0.5, color=BLUE)
        for place in places.tolist():
            drift, spread = -place / 2, place / (2 * variance)
            for y, step, color in ((-0.2, drift, ORANGE), (-0.45, spread, BLUE)):
                length = max(-0.55, min(0.55, 0.45 * step))
                if abs(length) > 0.05:
                    arrow(ax, (place, y), (place + length, y), color, mutation_scale=7, linewidth=1)
        ax.set(xlim=(-3.2, 3.2), ylim=(-0.62, 1.95), title=title)
        ax.axis("off")
    return figure
