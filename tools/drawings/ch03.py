"""Drawings of the chapter on the variational bound."""

import matplotlib.pyplot as plt

from .hand import BLUE, GREY, INK, ORANGE, arrow, canvas, drawing


@drawing
def bound_terms():
    """The three kinds of terms, each at its place along the chain."""
    figure, ax = canvas(5.7, 3.1)
    places = {
        0.5: r"$\mathbf{x}_0$",
        1.6: r"$\mathbf{x}_1$",
        2.75: r"$\mathbf{x}_{t-1}$",
        3.85: r"$\mathbf{x}_t$",
        5.15: r"$\mathbf{x}_T$",
    }
    y = 0.95
    for x, name in places.items():
        ax.add_patch(plt.Circle((x, y), 0.27, facecolor="none", edgecolor=INK, linewidth=1.2))
        ax.text(x, y, name, ha="center", va="center", fontsize=12)
    spots = list(places)
    for a, b in zip(spots, spots[1:], strict=False):
        if (a, b) in ((1.6, 2.75), (3.85, 5.15)):
            ax.text((a + b) / 2, y, r"$\cdots$", ha="center", va="center", fontsize=13)
            continue
        arrow(ax, (a + 0.25, y + 0.14), (b - 0.25, y + 0.14), BLUE, bend=-0.2)
        arrow(ax, (b - 0.25, y - 0.14), (a + 0.25, y - 0.14), ORANGE, bend=-0.2)
    for x, name, lines, width, foot in (
        (
            0.98,
            "reconstruction",
            (r"$L_0 = \mathrm{E}[-\log p_\theta(\mathbf{x}_0\mid\mathbf{x}_1)]$", ""),
            1.75,
            1.05,
        ),
        (
            3.05,
            "denoising",
            (
                r"$L_{t-1}$: $q(\mathbf{x}_{t-1}\mid\mathbf{x}_t,\mathbf{x}_0)$",
                r"from $p_\theta(\mathbf{x}_{t-1}\mid\mathbf{x}_t)$",
            ),
            1.75,
            3.3,
        ),
        (
            4.9,
            "prior",
            (r"$L_T$: $q(\mathbf{x}_T\mid\mathbf{x}_0)$", r"from $p(\mathbf{x}_T)$"),
            1.3,
            5.12,
        ),
    ):
        ax.text(x, 2.85, name, ha="center", fontsize=10.5, fontweight="bold")
        for height, line in zip((2.52, 2.24), lines, strict=True):
            ax.text(x, height, line, ha="center", fontsize=10.5)
        ax.plot([x - width / 2, x + width / 2], [2.12, 2.12], color=GREY, linewidth=0.8)
        arrow(ax, (x, 2.1), (foot, 1.36), GREY)
    ax.text(0.2, 0.2, "forward: fixed", color=BLUE, fontsize=10.5)
    ax.text(1.75, 0.2, "reverse: learned", color=ORANGE, fontsize=10.5)
    return figure
