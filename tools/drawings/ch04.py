"""Drawings of the chapter on training."""

import matplotlib.pyplot as plt
import torch

import dgm_helpers as dgm

from .hand import BLUE, GREY, INK, ORANGE, SPRITE, arrow, canvas, drawing, sprite


def box(ax, x, y, width, height, text="", color=INK, size=9):
    patch = plt.Rectangle(
        (x - width / 2, y - height / 2), width, height, facecolor=color, alpha=0.16, linewidth=0
    )
    ax.add_patch(patch)
    ax.add_patch(
        plt.Rectangle(
            (x - width / 2, y - height / 2),
            width,
            height,
            fill=False,
            edgecolor=color,
            linewidth=1.2,
        )
    )
    ax.text(x, y, text, ha="center", va="center", fontsize=size, linespacing=1.25)


@drawing
def training_loop():
    """One step of training, from the draws to the loss."""
    schedule, t = dgm.NoiseSchedule.linear(), 100
    x0 = dgm.load_sprites().tensors()[0][SPRITE : SPRITE + 1]
    noise = torch.randn(x0.shape, generator=dgm.seeded(0))
    figure, ax = canvas(6.7, 2.45)
    sprite(ax, x0[0], 0.5, 1.95, 0.8)
    sprite(ax, noise[0] / 3, 0.5, 0.75, 0.8)
    ax.text(1.0, 2.22, r"$\mathbf{x}_0$", fontsize=11)
    ax.text(1.0, 0.42, r"$\epsilon$", fontsize=12)
    sprite(ax, dgm.perturb_input(schedule, x0, t, noise)[0], 2.25, 1.35, 0.8)
    ax.text(2.25, 0.68, r"$\mathbf{x}_t$", ha="center", fontsize=11)
    arrow(ax, (0.95, 1.85), (1.8, 1.5), BLUE)
    arrow(ax, (0.95, 0.85), (1.8, 1.2), ORANGE)
    ax.text(1.5, 1.86, r"$\sqrt{\bar\alpha_t}$", color=BLUE, ha="center")
    ax.text(1.52, 0.72, r"$\sqrt{1-\bar\alpha_t}$", color=ORANGE, ha="center")
    box(ax, 3.7, 1.35, 1.05, 0.8, "U-Net\n$\\epsilon_\\theta(\\mathbf{x}_t, t)$", BLUE, 10)
    arrow(ax, (2.7, 1.35), (3.15, 1.35))
    ax.text(3.7, 2.2, "$t$, class", ha="center", fontsize=9.5)
    arrow(ax, (3.7, 2.12), (3.7, 1.78))
    box(
        ax,
        5.55,
        1.35,
        1.75,
        0.8,
        "$\\frac{1}{d}\\,\\Vert\\,\\epsilon - \\epsilon_\\theta\\,\\Vert^2$",
        GREY,
        13,
    )
    arrow(ax, (4.26, 1.35), (4.65, 1.35))
    ax.plot([0.95, 5.55], [0.28, 0.28], color=ORANGE, linewidth=1.3)
    ax.plot([0.95, 0.85], [0.28, 0.4], color=ORANGE, linewidth=1.3)
    arrow(ax, (5.55, 0.28), (5.55, 0.93), ORANGE)
    ax.text(
        3.3, 0.08, "the noise that was drawn", color=ORANGE, fontsize=8.5, ha="center", va="center"
    )
    return figure


@drawing
def u_net():
    """The U-Net: three resolutions down, self-attention, three up, joined across."""
    figure, ax = canvas(6.7, 3.2)
    rows = (
        (2.6, "16 × 16", "$C_1$", 1.2, 5.5),
        (1.75, "8 × 8", "$C_2$", 1.8, 4.9),
        (0.9, "4 × 4", "$C_3$", 2.4, 4.3),
    )
    for y, size, width, left, right in rows:
        for x in (left, right):
            box(ax, x, y, 1.2, 0.48, f"{size},  {width}", BLUE, 10.5)
        ax.annotate(
            "",
            (right - 0.62, y),
            (left + 0.62, y),
            arrowprops={
                "arrowstyle": "-|>",
                "linestyle": "--",
                "color": GREY,
                "linewidth": 1.1,
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )
    ax.text(3.35, 2.7, "joined across", ha="center", color=GREY, fontsize=10)
    for (y1, _, _, l1, r1), (y2, _, _, l2, r2) in zip(rows, rows[1:], strict=False):
        arrow(ax, (l1 + 0.25, y1 - 0.24), (l2 - 0.2, y2 + 0.25))
        arrow(ax, (r2 + 0.2, y2 + 0.25), (r1 - 0.25, y1 - 0.24))
    box(ax, 3.35, 0.3, 1.5, 0.4, "self-attention", ORANGE, 10)
    arrow(ax, (2.55, 0.66), (2.75, 0.5))
    arrow(ax, (3.95, 0.5), (4.15, 0.66))
    ax.text(0.3, 2.6, r"$\mathbf{x}_t$", ha="center", va="center", fontsize=12)
    arrow(ax, (0.42, 2.6), (0.58, 2.6))
    ax.text(6.43, 2.6, r"$\epsilon_\theta$", ha="center", va="center", fontsize=12)
    arrow(ax, (6.12, 2.6), (6.28, 2.6))
    ax.text(
        0.15,
        0.42,
        "$t$ and class enter\nevery block",
        fontsize=10,
        color=GREY,
        va="center",
        linespacing=1.3,
    )
    return figure
