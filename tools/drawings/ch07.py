"""Drawings of the chapter on early stopping."""

import torch

import dgm_helpers as dgm
from dgm_helpers.networks import PCAGaussian

from .hand import BLUE, GREY, INK, ORANGE, SPRITE, arrow, canvas, drawing, sprite

SCHEDULE = dgm.NoiseSchedule.linear()
STOP, STEPS = 200, 20


@drawing
def es_line():
    """A proposal of the PCA-Gaussian, noised to T', and denoised from there by the trained network."""
    pictures, labels = dgm.split_by_group(dgm.load_sprites())[0].tensors()
    label = labels[SPRITE : SPRITE + 1]
    proposal = PCAGaussian(pictures, labels).sample(label, generator=dgm.seeded(4))
    network = dgm.load_pretrained("sprites-generated")
    eps_model = dgm.clipped(network.for_labels(label), SCHEDULE)
    z = torch.randn(2, *proposal.shape, generator=dgm.seeded(5))
    start = dgm.perturb_input(SCHEDULE, proposal, STOP, z[0])
    taus = dgm.timesteps(STOP, STEPS)
    *_, end = dgm.reverse_process(eps_model, SCHEDULE, start, taus, dgm.ddim_step)
    figure, ax = canvas(6.7, 3.1)
    left, stop, right, half = 0.75, 3.0, 6.0, 0.53  # the places of 0, T' and T, not to scale
    places = ((proposal, left, 2.4), (start, stop, 1.55), (z[1], right, 1.55), (end.x, left, 0.85))
    for picture, x, y in places:
        sprite(ax, picture[0], x, y, 0.95)
    ax.text(left, 2.94, "proposal", ha="center", fontsize=9.5, color=ORANGE)
    ax.text(left, 1.39, "picture", ha="center", fontsize=9.5, color=BLUE)
    ax.text(right, 2.1, "pure noise", ha="center", fontsize=9.5, color=GREY)
    arrow(ax, (left + half, 2.4), (stop - half, 1.8), ORANGE)
    ax.text(1.95, 2.3, "add noise, in one shot", color=ORANGE, fontsize=9.5)
    arrow(ax, (stop - half, 1.3), (left + half, 0.85), BLUE)
    ax.text(1.95, 0.78, f"denoise, {STEPS} steps", color=BLUE, fontsize=9.5)
    arrow(ax, (right - half, 1.55), (stop + half, 1.55), GREY, linestyle="--")
    ax.text((stop + right) / 2, 1.66, "left out", color=GREY, fontsize=9.5, ha="center")
    ax.plot([left, right], [0.28, 0.28], color=INK, linewidth=1)
    for x, name in ((left, "$t$ = 0"), (stop, f"$T'$ = {STOP}"), (right, "$T$ = 1000")):
        ax.plot([x, x], [0.23, 0.33], color=INK, linewidth=1)
        ax.text(x, 0.17, name, ha="center", va="top", fontsize=9)
    return figure
