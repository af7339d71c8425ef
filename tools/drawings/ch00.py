"""The map of the book."""

from .hand import BLUE, GREY, INK, ORANGE, arrow, canvas, drawing

UPPER = {
    "1": (0.8, "forward\nprocess"),
    "2": (1.9, "reverse\nprocess"),
    "3": (3.0, "bound"),
    "4": (4.1, "training"),
    "5": (5.2, "DDPM,\nDDIM"),
}
LOWER = {
    "8": (1.35, "scores"),
    "9": (2.45, "noise"),
    "10": (3.55, "Langevin"),
    "11": (4.65, "annealing"),
}
BEYOND = {"6": (4.45, "how good?"), "7": (5.55, "fewer steps")}


def station(ax, x, y, number, name, color):
    ax.plot(
        x, y, "o", markersize=17, markerfacecolor="none", markeredgecolor=color, markeredgewidth=1.6
    )
    ax.text(x, y - 0.01, number, ha="center", va="center", fontsize=9)
    ax.text(x, y - 0.24, name, ha="center", va="top", fontsize=8.5, linespacing=1.1)


def road(ax, stations, y, color):
    places = [x for x, _ in stations.values()]
    for a, b in zip(places, places[1:], strict=False):
        arrow(ax, (a + 0.19, y), (b - 0.19, y), color)
    for number, (x, name) in stations.items():
        station(ax, x, y, number, name, color)


@drawing
def map():
    """The twelve chapters as two roads that meet."""
    figure, ax = canvas(6.7, 3.3)
    road(ax, UPPER, 1.95, BLUE)
    road(ax, LOWER, 0.75, ORANGE)
    for number, (x, name) in BEYOND.items():
        station(ax, x, 2.95, number, name, GREY)
        arrow(ax, (5.2 + 0.1 * (x - 5.2), 2.15), (x + 0.12 * (5.2 - x), 2.5), GREY, linestyle=":")
    arrow(ax, (5.38, 1.87), (6.08, 1.5), BLUE)
    arrow(ax, (4.83, 0.83), (6.05, 1.28), ORANGE)
    station(ax, 6.25, 1.4, "12", "one view", INK)
    ax.text(0.12, 2.95, "DIFFUSION: undo noise step by step", color=BLUE, fontsize=8.5, va="center")
    ax.text(
        0.12,
        1.13,
        "SCORES: which way does the density grow?",
        color=ORANGE,
        fontsize=8.5,
        va="center",
    )
    return figure
