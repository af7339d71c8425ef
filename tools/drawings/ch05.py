"""Drawings of the chapter on DDPM and DDIM."""

import matplotlib.pyplot as plt
import torch

import dgm_helpers as dgm

from .hand import BLUE, GREY, INK, ORANGE, arrow, canvas, drawing, sprite

SCHEDULE = dgm.NoiseSchedule.linear()


@drawing
def jump_or_walk():
    """The guess from a very noisy picture, and the small steps from there, by the trained network."""
    network = dgm.load_pretrained("sprites-generated")
    labels = torch.tensor([0])
    eps_model = dgm.clipped(network.for_labels(labels), SCHEDULE)
    x = torch.randn(1, 3, 16, 16, generator=dgm.seeded(3))
    states = list(
        dgm.reverse_process(eps_model, SCHEDULE, x, dgm.timesteps(1000, 50), dgm.ddim_step)
    )
    figure, ax = canvas(6.7, 3.0)
    sprite(ax, states[19].x[0], 0.65, 1.5, 0.95)
    ax.text(0.65, 0.83, f"$t$ = {states[19].t}", ha="center", fontsize=9, color=GREY)
    sprite(ax, states[20].x0_hat[0], 6.05, 2.3, 0.95)
    arrow(ax, (1.2, 1.85), (5.5, 2.35), ORANGE)
    ax.text(
        3.1, 2.36, "one jump to the guess", color=ORANGE, fontsize=9.5, rotation=6.5, ha="center"
    )
    ax.text(6.05, 1.63, r"$\hat{\mathbf{x}}_0$", ha="center", fontsize=10)
    places = {2.0: 29, 3.35: 37, 4.7: 43, 6.05: 49}
    last = 1.2
    for x_place, i in places.items():
        sprite(ax, states[i].x[0], x_place, 0.8, 0.95)
        arrow(ax, (last, 1.05 if last == 1.2 else 0.8), (x_place - 0.55, 0.8), BLUE)
        ax.text(x_place, 0.13, f"$t$ = {states[i].t}", ha="center", fontsize=9, color=GREY)
        last = x_place + 0.52
    ax.text(2.7, 1.42, "many small steps", color=BLUE, fontsize=9.5, ha="center")
    return figure


@drawing
def noise_budget():
    """Where the noise of variance 0.1 in x_1 comes from, for the two steps with beta = 0.1 and 0.2."""
    a_1, a_2 = 0.9, 0.72
    old = (a_2 / a_1) * (1 - a_1) ** 2 / (1 - a_2)
    rows = (
        ("DDPM", old, 1 - a_1 - old),
        (r"DDPM without $\sigma z$", old, 0.0),
        (r"DDIM, $\eta = 0$", 1 - a_1, 0.0),
    )
    figure, ax = canvas(6.7, 1.75)
    scale = 4.4 / (1 - a_1)
    for i, (name, kept, fresh) in enumerate(rows):
        y = 1.22 - 0.5 * i
        ax.text(1.78, y + 0.15, name, ha="right", va="center")
        left = 1.95
        for share, color, label in ((kept, BLUE, "old"), (fresh, ORANGE, "fresh")):
            if share:
                ax.add_patch(
                    plt.Rectangle(
                        (left, y),
                        scale * share,
                        0.3,
                        facecolor=color,
                        alpha=0.55,
                        edgecolor=INK,
                        linewidth=0.8,
                    )
                )
                ax.text(
                    left + scale * share / 2,
                    y + 0.15,
                    f"{label} {share:.3f}",
                    ha="center",
                    va="center",
                    fontsize=9,
                )
                left += scale * share
        if kept + fresh < 0.099:
            missing = 1 - a_1 - kept
            ax.add_patch(
                plt.Rectangle(
                    (left, y),
                    scale * missing,
                    0.3,
                    facecolor="none",
                    edgecolor=GREY,
                    linewidth=0.8,
                    linestyle="--",
                )
            )
            ax.text(
                left + scale * missing / 2,
                y + 0.15,
                f"missing {missing:.3f}",
                ha="center",
                va="center",
                fontsize=9,
                color=GREY,
            )
    return figure
