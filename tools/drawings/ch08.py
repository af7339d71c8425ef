"""Drawings of the chapter on scores."""

import math

import matplotlib.pyplot as plt
import numpy as np
import torch

import dgm_helpers as dgm

from .hand import BLUE, GREY, INK, ORANGE, arrow, canvas, drawing

LINE = dgm.GaussianMixture([0.4, 0.6], [[-1.2], [1.1]], [0.2, 0.35])


@drawing
def score_idea():
    """An energy, its density and its score."""
    x = torch.linspace(-3, 3, 301, dtype=torch.float64)[:, None]
    log_p = LINE.log_prob(x)
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.7, 2.2), layout="constrained")
    left.plot(x, -log_p, color=GREY)
    left.set(ylim=(0.3, 6), yticks=[], xlabel="$x$", title="energy $f(x)$")
    right.plot(x, log_p.exp(), color=BLUE)
    places = torch.arange(-2.8, 2.9, 0.35, dtype=torch.float64)[:, None]
    for place, slope in zip(places[:, 0].tolist(), LINE.score(places)[:, 0].tolist(), strict=True):
        length = math.copysign(min(abs(slope) * 0.07, 0.32), slope)
        if abs(length) > 0.02:
            right.annotate(
                "",
                (place + length, -0.055),
                (place, -0.055),
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": ORANGE,
                    "mutation_scale": 8,
                    "shrinkA": 0,
                    "shrinkB": 0,
                },
            )
    right.set(
        ylim=(-0.1, 0.45), yticks=[], xlabel="$x$", title="density $e^{-f}/Z$ and score $-f'$"
    )
    return figure


@drawing
def by_parts():
    """How the unknown score leaves the middle term."""
    figure, ax = canvas(6.7, 1.5)
    steps = (
        (0.85, r"$\mathrm{E}[\mathbf{s}\cdot\nabla\log p]$", "holds the\nunknown score"),
        (2.5, r"$\int\;\mathbf{s}\cdot\nabla p$", "$p\\,\\nabla\\log p = \\nabla p$"),
        (4.15, r"$-\int\;p\,\mathrm{tr}\,\nabla\mathbf{s}$", "by parts; nothing\nis left far out"),
        (5.85, r"$-\mathrm{E}[\mathrm{tr}\,\nabla\mathbf{s}]$", "a mean\nover the data"),
    )
    for i, (x, formula, words) in enumerate(steps):
        color = (ORANGE, GREY, GREY, BLUE)[i]
        ax.add_patch(
            plt.Rectangle((x - 0.68, 0.85), 1.36, 0.48, fill=False, edgecolor=color, linewidth=1.3)
        )
        ax.text(x, 1.09, formula, ha="center", va="center", fontsize=11)
        ax.text(x, 0.72, words, ha="center", va="top", fontsize=8.5, linespacing=1.2)
        if i:
            arrow(ax, (steps[i - 1][0] + 0.7, 1.09), (x - 0.7, 1.09), INK)
    return figure


@drawing
def slices():
    """One arrow of a field and its shadows on three random directions."""
    figure, ax = plt.subplots(figsize=(4.2, 3.4), layout="constrained")
    grid = np.linspace(-1.6, 1.6, 7)
    u, v = np.meshgrid(grid, grid)
    ax.quiver(
        u, v, -u + 0.4 * v, -0.6 * v, color=GREY, alpha=0.45, angles="xy", scale=14, width=0.005
    )
    point, s = np.array([1.0, 0.75]), np.array([-1.15, -0.62])
    for i, angle in enumerate((0.99, 1.75, 2.88)):
        direction = np.array([math.cos(angle), math.sin(angle)])
        ends = np.stack([point - 1.25 * direction, point + 1.25 * direction])
        ax.plot(*ends.T, color=BLUE, linewidth=0.9, linestyle="--")
        ax.text(
            *(point + 1.42 * direction),
            rf"$\mathbf{{v}}_{i + 1}$",
            color=BLUE,
            ha="center",
            va="center",
        )
        shadow = point + (s @ direction) * direction
        ax.plot(*np.stack([point + s, shadow]).T, color=GREY, linewidth=0.9, linestyle=":")
        ax.annotate(
            "",
            shadow,
            point,
            arrowprops={
                "arrowstyle": "-|>",
                "color": BLUE,
                "linewidth": 1.8,
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )
    ax.annotate(
        "",
        point + s,
        point,
        arrowprops={
            "arrowstyle": "-|>",
            "color": ORANGE,
            "linewidth": 2,
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )
    ax.plot(*point, "o", color=INK, markersize=4)
    ax.text(-0.38, 0.0, r"$\mathbf{s}(\mathbf{x})$", color=ORANGE, ha="center")
    ax.text(1.12, 0.78, r"$\mathbf{x}$", va="center")
    ax.set(xlim=(-1.9, 2.2), ylim=(-1.7, 2.3), aspect="equal")
    ax.axis("off")
    return figure


@drawing
def denoise_arrows():
    """The clean points that a noisy one may come from; and the mean arrows of many noisy points."""
    sigma = 0.6
    angle = torch.linspace(0.15, 0.85, 9, dtype=torch.float64) * math.pi
    clean = 2.0 * torch.stack([angle.cos(), angle.sin()], dim=1)
    data = dgm.GaussianMixture([1 / 9] * 9, clean.tolist(), [1e-9] * 9)
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.7, 2.5), layout="constrained")

    def stroke(ax, start, end, **options):
        arrow(ax, start.tolist(), end.tolist(), shrinkB=2, **options)

    noisy = torch.tensor([0.25, 0.75], dtype=torch.float64)
    chance = (-((clean - noisy) ** 2).sum(1) / (2 * sigma**2)).softmax(0)
    for point, share in zip(clean, chance.tolist(), strict=True):
        if share > 0.02:
            stroke(left, noisy, point, color=GREY, linewidth=0.5 + 5 * share, alpha=0.55)
    mean = noisy + sigma**2 * data.score(noisy[None], sigma)[0]
    stroke(left, noisy, mean, color=ORANGE, linewidth=2.2)
    left.plot(*noisy, "o", color=INK, markersize=6, markerfacecolor="none")
    left.text(noisy[0], noisy[1] - 0.14, r"$\tilde{\mathbf{x}}$", ha="center", va="top")

    x, y = (torch.linspace(*ends, dtype=torch.float64) for ends in ((-3, 3, 91), (-0.3, 3.3, 61)))
    density = data.log_prob(torch.cartesian_prod(x, y), sigma).exp().reshape(91, 61).T
    right.contour(x, y, density, 5, colors=BLUE, linewidths=0.8)
    grid = torch.cartesian_prod(
        torch.linspace(-2.7, 2.7, 13, dtype=torch.float64),
        torch.linspace(0.0, 3.0, 8, dtype=torch.float64),
    )
    steps = sigma**2 * data.score(grid, sigma)
    right.quiver(
        *grid.T, *steps.T, color=ORANGE, angles="xy", scale_units="xy", scale=2.5, width=0.006
    )
    left.set(xlim=(-2.1, 2.1), ylim=(0.15, 2.5), title="one noisy point")
    right.set(xlim=(-3, 3), ylim=(-0.3, 3.3), title="every noisy point")
    for ax in (left, right):
        ax.plot(*clean.T, "o", color=BLUE, markersize=4)
        ax.set(aspect="equal")
        ax.axis("off")
    return figure
