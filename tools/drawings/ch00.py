"""Drawings of the first page: the map of the book, and the towers of latents."""

import matplotlib.pyplot as plt
import torch

import dgm_helpers as dgm

from .hand import BLUE, GREY, INK, ORANGE, SPRITE, arrow, canvas, drawing, sprite

UPPER = {
    "1": (0.45, "forward\nprocess"),
    "2": (1.45, "reverse\nprocess"),
    "3": (2.45, "bound"),
    "4": (3.45, "training"),
    "5": (4.45, "DDPM,\nDDIM"),
}
LOWER = {
    "8": (0.95, "scores"),
    "9": (1.95, "noise"),
    "10": (2.95, "Langevin"),
    "11": (3.95, "annealing"),
}
BEYOND = {"6": (3.95, "how good?"), "7": (4.95, "fewer steps")}


def station(ax, x, y, number, name, color):
    ax.plot(
        x, y, "o", markersize=19, markerfacecolor="none", markeredgecolor=color, markeredgewidth=1.6
    )
    ax.text(x, y - 0.01, number, ha="center", va="center", fontsize=10.5)
    ax.text(x, y - 0.25, name, ha="center", va="top", fontsize=10, linespacing=1.1)


def road(ax, stations, y, color):
    places = [x for x, _ in stations.values()]
    for a, b in zip(places, places[1:], strict=False):
        arrow(ax, (a + 0.21, y), (b - 0.21, y), color)
    for number, (x, name) in stations.items():
        station(ax, x, y, number, name, color)


@drawing
def map():
    """The twelve chapters as two roads that meet."""
    figure, ax = canvas(5.7, 3.6)
    road(ax, UPPER, 2.15, BLUE)
    road(ax, LOWER, 0.6, ORANGE)
    for number, (x, name) in BEYOND.items():
        station(ax, x, 3.3, number, name, GREY)
        arrow(ax, (4.45 + 0.15 * (x - 4.45), 2.38), (x + 0.2 * (4.45 - x), 2.82), GREY)
    arrow(ax, (4.63, 2.03), (5.06, 1.55), BLUE)
    arrow(ax, (4.14, 0.7), (4.98, 1.27), ORANGE)
    station(ax, 5.18, 1.4, "12", "one view", INK)
    for y, name, question, color in (
        (2.85, "DIFFUSION", "undo noise step by step", BLUE),
        (1.12, "SCORES", "which way does the density grow?", ORANGE),
    ):
        ax.text(0.22, y, f"{name}: {question}", color=color, fontsize=10, va="center")
    return figure


@drawing
def towers():
    """The VAE, the hierarchical VAE and diffusion as towers of latents above a picture."""
    schedule = dgm.NoiseSchedule.linear()
    x0 = dgm.load_sprites().tensors()[0][SPRITE : SPRITE + 1]
    noise = torch.randn(x0.shape, generator=dgm.seeded(0))
    figure, ax = canvas(5.7, 3.75)
    floors = [0.75, 1.55, 2.35, 3.15]

    def picture(x, t, y=floors[0]):
        sprite(ax, dgm.perturb_input(schedule, x0, t, noise)[0], x, y, 0.5)

    def latent(x, y, name):
        ax.add_patch(plt.Circle((x, y), 0.24, facecolor="none", edgecolor=INK, linewidth=1.2))
        ax.text(x, y, name, ha="center", va="center", fontsize=11)

    def stairs(x, below, above, encoder):
        low, high = below + 0.27, above - 0.27
        arrow(ax, (x - 0.12, low), (x - 0.12, high), encoder)
        arrow(ax, (x + 0.12, high), (x + 0.12, low), ORANGE)

    for x, title in ((0.75, "VAE"), (2.55, "hierarchical VAE"), (4.5, "diffusion")):
        ax.text(x, 3.62, title, ha="center", va="center", fontsize=10, fontweight="bold")
    picture(0.75, 0)
    latent(0.75, floors[3], r"$\mathbf{z}$")
    stairs(0.75, floors[0], floors[3], ORANGE)
    picture(2.55, 0)
    for y, name in zip(floors[1:], ("1", "2", "T"), strict=True):
        latent(2.55, y, rf"$\mathbf{{z}}_{name}$")
    for y, t, name in zip(floors, (0, 100, 200, 1000), ("0", "1", "2", "T"), strict=True):
        picture(4.5, t, y)
        ax.text(4.85, y, rf"$\mathbf{{x}}_{name}$", va="center", fontsize=12)
    for x, encoder in ((2.55, ORANGE), (4.5, BLUE)):
        for below, above in zip(floors[:2], floors[1:3], strict=True):
            stairs(x, below, above, encoder)
        ax.text(x, (floors[2] + floors[3]) / 2, r"$\vdots$", ha="center", va="center", fontsize=13)
    for x in (0.75, 2.55):
        ax.text(x - 0.34, floors[0], r"$\mathbf{x}$", ha="right", va="center", fontsize=12)
    ax.text(0.75, 0.2, "both directions learned", ha="left", color=ORANGE, fontsize=10)
    ax.text(3.75, 0.2, "up: fixed", ha="left", color=BLUE, fontsize=10)
    ax.text(4.55, 0.2, "down: learned", ha="left", color=ORANGE, fontsize=10)
    return figure
