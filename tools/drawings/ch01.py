"""Drawings of the chapter on the forward process."""

import matplotlib.pyplot as plt
import torch

import dgm_helpers as dgm

from .hand import BLUE, GREY, INK, ORANGE, SPRITE, arrow, canvas, drawing, sprite


@drawing
def chain():
    """The chain from a sprite to noise and back."""
    schedule = dgm.NoiseSchedule.linear()
    x0 = dgm.load_sprites().tensors()[0][SPRITE : SPRITE + 1]
    noise = torch.randn(x0.shape, generator=dgm.seeded(0))
    figure, ax = canvas(5.7, 2.3)
    stops = {
        0.5: (0, r"$\mathbf{x}_0$"),
        1.95: (90, r"$\mathbf{x}_{t-1}$"),
        3.75: (130, r"$\mathbf{x}_t$"),
        5.2: (1000, r"$\mathbf{x}_T$"),
    }
    for x, (t, name) in stops.items():
        sprite(ax, dgm.perturb_input(schedule, x0, t, noise)[0], x, 1.2, 0.85)
        ax.text(x, 0.55, name, ha="center", fontsize=13)
    ax.text(0.5, 0.2, "data", ha="center", color=GREY, fontsize=11)
    ax.text(5.2, 0.2, "noise", ha="center", color=GREY, fontsize=11)
    for a, b, forward, backward in (
        (0.95, 1.5, "", ""),
        (
            2.4,
            3.3,
            r"$q(\mathbf{x}_t \mid \mathbf{x}_{t-1})$",
            r"$p_\theta(\mathbf{x}_{t-1} \mid \mathbf{x}_t)$",
        ),
        (4.2, 4.75, "", ""),
    ):
        arrow(ax, (a, 1.35), (b, 1.35), BLUE, bend=-0.25)
        arrow(ax, (b, 1.05), (a, 1.05), ORANGE, bend=-0.25)
        ax.text((a + b) / 2, 1.95, forward, ha="center", color=BLUE, fontsize=13)
        ax.text((a + b) / 2, 0.3, backward, ha="center", color=ORANGE, va="center", fontsize=13)
        if not forward:
            ax.text((a + b) / 2, 1.2, r"$\cdots$", ha="center", va="center", fontsize=13)
    return figure


@drawing
def two_steps():
    """Where the variance of a pixel goes in two steps with beta = 0.1 and 0.2."""
    figure, ax = canvas(5.7, 2.25)
    rows = [
        (r"$x_0$", [1.0]),
        (r"$x_1$", [0.9, 0.1]),
        (r"$x_2$", [0.72, 0.08, 0.2]),
    ]
    colors = [GREY, BLUE, ORANGE]
    for i, (name, shares) in enumerate(rows):
        left, y = 0.55, 1.55 - 0.5 * i
        ax.text(0.27, y + 0.16, name, ha="center", va="center", fontsize=13)
        for share, color in zip(shares, colors, strict=False):
            width = 5.0 * share
            ax.add_patch(
                plt.Rectangle(
                    (left, y),
                    width,
                    0.34,
                    facecolor=color,
                    alpha=0.55,
                    edgecolor=INK,
                    linewidth=0.8,
                )
            )
            ax.text(left + width / 2, y + 0.16, f"{share:g}", ha="center", va="center", fontsize=10)
            left += width
    for x, color, name in (
        (0.55, GREY, "picture"),
        (2.0, BLUE, r"first noise $\epsilon_1$"),
        (3.9, ORANGE, r"second noise $\epsilon_2$"),
    ):
        ax.add_patch(plt.Rectangle((x, 0.16), 0.18, 0.18, facecolor=color, alpha=0.55))
        ax.text(x + 0.26, 0.24, name, va="center", fontsize=10.5)
    return figure


def spikes(schedule, t, grid):
    """The density at time t of a pixel that is -1 with probability 0.3 and 1 with probability 0.7."""
    a = schedule.alpha_bar[t]
    spread = (1 - a).sqrt()
    parts = [
        w * torch.exp(-(((grid - a.sqrt() * m) / spread) ** 2) / 2)
        for w, m in ((0.3, -1.0), (0.7, 1.0))
    ]
    return sum(parts) / (spread * (2 * torch.pi) ** 0.5)


@drawing
def forward():
    """The still of the movable figure: a sprite, a pixel's density and the signal-to-noise ratio at t = 100."""
    schedule, t = dgm.NoiseSchedule.linear(), 100
    x0 = dgm.load_sprites().tensors()[0][SPRITE : SPRITE + 1]
    noise = torch.randn(x0.shape, generator=dgm.seeded(0))
    figure = plt.figure(figsize=(6.7, 2.4))
    ax = figure.add_axes((0.01, 0.12, 0.26, 0.8))
    ax.axis("off")
    sprite(ax, dgm.perturb_input(schedule, x0, t, noise)[0], 0, 0, 1)
    ax.set(xlim=(-0.52, 0.52), ylim=(-0.52, 0.52))
    ax = figure.add_axes((0.33, 0.24, 0.36, 0.7))
    grid = torch.linspace(-3, 3, 301, dtype=torch.float64)
    for when, color in ((20, GREY), (t, BLUE), (1000, ORANGE)):
        ax.plot(grid, spikes(schedule, when, grid), color=color, label=f"$t$ = {when}")
    ax.set(xlabel=r"$x_t$", yticks=[], ylim=(0, 1.75))
    ax.legend(fontsize=8, loc="upper left", handlelength=1.2, borderaxespad=0)
    ax = figure.add_axes((0.8, 0.24, 0.16, 0.64))
    ax.semilogy(schedule.snr[1:], color=GREY)
    ax.plot(t, schedule.snr[t], "o", color=BLUE)
    ax.set(xlabel="$t$", title="SNR", xticks=[0, 500, 1000], yticks=[1e-4, 1, 1e4])
    ax.minorticks_off()
    return figure
