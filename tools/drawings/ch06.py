"""Drawings of the chapter on the Fréchet distance."""

import math

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Ellipse

import dgm_helpers as dgm
from dgm_helpers.fid import frechet_distance, mean_and_covariance

from .hand import BLUE, GREY, INK, ORANGE, drawing


def normal(n, seed):
    return torch.randn(n, 2, generator=dgm.seeded(seed), dtype=torch.float64)


def moments(points):
    return mean_and_covariance([points])


def with_moments(points, mean, covariance):
    """The points, moved by an affine map so that their sample moments are these."""
    own_mean, own = moments(points)
    whiten, color = torch.linalg.cholesky(own.inverse()), torch.linalg.cholesky(covariance)
    return mean + (points - own_mean) @ whiten @ color.T


def ellipse(ax, mean, covariance, color):
    """The curves of one and two standard deviations of a Gaussian, and its mean."""
    values, vectors = torch.linalg.eigh(covariance)
    angle = math.degrees(math.atan2(vectors[1, 1], vectors[0, 1]))
    for deviations in (1, 2):
        width, height = (2 * deviations * values.sqrt()).flip(0).tolist()
        shape = Ellipse(mean.tolist(), width, height, angle=angle, fill=False, color=color)
        ax.add_patch(shape).set_linewidth(1.6)
    ax.plot(*mean, "+", color=color, markersize=9, markeredgewidth=2)


def cloud(ax, points, color):
    ax.plot(*points.T, ".", color=color, markersize=4.5, alpha=0.6, markeredgewidth=0)


def bent(n, seed):
    z = normal(n, seed)
    return torch.stack([1.3 * z[:, 0], 0.55 * z[:, 1] + 0.55 * z[:, 0] ** 2], dim=1)


@drawing
def two_clouds():
    """Features of two sets, and what the Fréchet distance keeps of them: their Gaussians."""
    shape = torch.tensor([[0.9, 0.5], [0.0, 0.5]], dtype=torch.float64)
    real, generated = bent(250, 0), torch.tensor([3.0, 1.5]) + normal(250, 1) @ shape
    figure, axes = plt.subplots(1, 2, figsize=(6.7, 2.6), layout="constrained")
    for points, color in ((real, BLUE), (generated, ORANGE)):
        cloud(axes[0], points, color)
        ellipse(axes[1], *moments(points), color)
    distance = frechet_distance(*moments(real), *moments(generated))
    axes[0].set_title("features of two sets of pictures")
    axes[1].set_title(f"what the distance sees of them: {distance:.1f}")
    axes[0].text(-2.6, -2.5, "real", color=BLUE)
    axes[0].text(3.3, -1.0, "generated", color=ORANGE)
    for ax in axes:
        ax.set(xlim=(-4, 6.5), ylim=(-3, 5.2), xticks=[], yticks=[], aspect="equal")
        ax.spines[:].set_visible(True)
    return figure


@drawing
def seen_and_unseen():
    """Three wrong sets of features beside the real ones, with their Fréchet distances."""
    n = 180
    standard = torch.zeros(2), torch.eye(2, dtype=torch.float64)
    real = with_moments(normal(n, 2), *standard)
    corners = normal(n, 5).sign() + 0.08 * normal(n, 6)
    sets = {
        "mean wrong": real + torch.tensor([1.2, 0.0]),
        "spread wrong": real * torch.tensor([1.0, 0.25]),
        "four points for a cloud": with_moments(corners, *standard),
    }
    figure, axes = plt.subplots(1, 3, figsize=(6.7, 2.65), layout="constrained", sharey=True)
    for ax, (name, points) in zip(axes, sets.items(), strict=True):
        cloud(ax, real, BLUE)
        cloud(ax, points, ORANGE)
        ellipse(ax, *moments(real), BLUE)
        ellipse(ax, *moments(points), ORANGE)
        distance = frechet_distance(*moments(real), *moments(points))
        ax.set_title(f"{name}\ndistance {distance:.2f}", fontsize=9.5)
        ax.set(xlim=(-3.6, 3.9), ylim=(-3.4, 3.4), xticks=[], yticks=[], aspect="equal")
        ax.spines[:].set_visible(True)
    return figure


@drawing
def fid_bias():
    """The mean estimate against n: for a perfect generator it falls to 0, for another to the true distance."""
    d, counts, repeats = 10, (50, 100, 200, 400, 800, 1600, 3200), 20
    true = 0.5  # of a generator whose mean is off
    shift = torch.zeros(d, dtype=torch.float64)
    shift[0] = math.sqrt(true)
    g = dgm.seeded(3)

    def draw(n):
        return torch.randn(n, d, generator=g, dtype=torch.float64)

    def mean_estimate(n, shift):
        pairs = ((moments(draw(n)), moments(draw(n) + shift)) for _ in range(repeats))
        return sum(frechet_distance(*one, *other) for one, other in pairs) / repeats

    figure, ax = plt.subplots(figsize=(6.7, 2.8), layout="constrained")
    ax.loglog(counts, [d * (d + 5) / (2 * n) for n in counts], color=BLUE, linewidth=1)
    ax.loglog(counts, [mean_estimate(n, 0 * shift) for n in counts], "o", color=BLUE)
    ax.loglog(counts, [mean_estimate(n, shift) for n in counts], "s", color=ORANGE)
    ax.axhline(true, color=ORANGE, linewidth=1, linestyle="--")
    ax.text(75, 0.37, "its true distance", color=ORANGE, fontsize=9, va="top")
    ax.text(230, 1.05, "a generator with a wrong mean", color=ORANGE, fontsize=9)
    ax.text(900, 0.11, "a perfect one: $D(D+5)/(2n)$", color=BLUE, fontsize=9)
    ax.set(xlabel="pictures a side, $n$", ylabel="mean estimate", xticks=counts)
    ax.set_xticks(counts, [f"{n:,}" for n in counts])
    ax.set_yticks([0.02, 0.1, 0.5, 2], ["0.02", "0.1", "0.5", "2"])
    ax.minorticks_off()
    ax.grid(color=GREY, alpha=0.25)
    ax.tick_params(color=INK)
    return figure
