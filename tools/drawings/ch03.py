"""Drawings of the chapter on the variational bound."""

import matplotlib.pyplot as plt

from .hand import BLUE, GREY, INK, ORANGE, arrow, canvas, drawing


@drawing
def bound_terms():
    """The three kinds of terms, each at its place along the chain."""
    figure, ax = canvas(6.7, 2.4)
    places = {
        0.75: r"$\mathbf{x}_0$",
        2.35: r"$\mathbf{x}_1$",
        3.55: r"$\mathbf{x}_{t-1}$",
        4.75: r"$\mathbf{x}_t$",
        6.1: r"$\mathbf{x}_T$",
    }
    y = 0.95
    for x, name in places.items():
        ax.add_patch(plt.Circle((x, y), 0.27, facecolor="none", edgecolor=INK, linewidth=1.2))
        ax.text(x, y, name, ha="center", va="center", fontsize=11)
    spots = list(places)
    for a, b in zip(spots, spots[1:], strict=False):
        if (a, b) in ((2.35, 3.55), (4.75, 6.1)):
            ax.text((a + b) / 2, y, r"$\cdots$", ha="center", va="center", fontsize=13)
            continue
        arrow(ax, (a + 0.25, y + 0.14), (b - 0.25, y + 0.14), BLUE, bend=-0.2)
        arrow(ax, (b - 0.25, y - 0.14), (a + 0.25, y - 0.14), ORANGE, bend=-0.2)
    for x, name, term, width in (
        (
            0.95,
            "reconstruction",
            r"$L_0 = \mathrm{E}[-\log p_\theta(\mathbf{x}_0\mid\mathbf{x}_1)]$",
            1.75,
        ),
        (
            3.75,
            "denoising matching",
            r"$L_{t-1}$: $q(\mathbf{x}_{t-1}\mid\mathbf{x}_t,\mathbf{x}_0)$"
            r" from $p_\theta(\mathbf{x}_{t-1}\mid\mathbf{x}_t)$",
            2.9,
        ),
        (
            5.97,
            "prior matching",
            r"$L_T$: $q(\mathbf{x}_T\mid\mathbf{x}_0)$ from $p(\mathbf{x}_T)$",
            1.42,
        ),
    ):
        ax.text(x, 2.2, name, ha="center", fontsize=9.5, fontweight="bold")
        ax.text(x, 1.9, term, ha="center", fontsize=8.5)
        ax.plot([x - width / 2, x + width / 2], [1.8, 1.8], color=GREY, linewidth=0.8)
    arrow(ax, (1.3, 1.78), (1.5, 1.38), GREY)
    arrow(ax, (3.95, 1.78), (4.13, 1.38), GREY)
    arrow(ax, (6.05, 1.78), (6.09, 1.36), GREY)
    ax.text(1.55, 0.42, "forward: fixed", ha="center", color=BLUE, fontsize=8.5)
    ax.text(1.55, 0.2, "reverse: learned", ha="center", color=ORANGE, fontsize=8.5)
    return figure
