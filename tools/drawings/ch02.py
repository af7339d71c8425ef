"""Drawings of the chapter on the reverse process."""

import matplotlib.pyplot as plt
import torch

import dgm_helpers as dgm

from .hand import BLUE, GREY, INK, ORANGE, drawing

PRIOR = dgm.GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], [0.15, 0.15])
X_T = 0.35


@drawing
def prior_times_likelihood():
    """Bayes' rule for a small and a large step back from x_t = 0.35, for data with two modes."""
    figure, axes = plt.subplots(1, 2, figsize=(5.7, 2.5), layout="constrained")
    x = torch.linspace(-2.4, 2.4, 481, dtype=torch.float64)[:, None]
    for ax, beta in zip(axes, (0.02, 0.5), strict=True):
        prior = PRIOR.log_prob(x).exp()
        likelihood = torch.exp(-((X_T - (1 - beta) ** 0.5 * x[:, 0]) ** 2) / (2 * beta))
        product = prior * likelihood
        for curve, color, label in (
            (prior, GREY, "prior"),
            (likelihood, BLUE, "likelihood"),
            (product, ORANGE, "step back, their product"),
        ):
            ax.plot(x, curve / curve.max(), color=color, label=label)
        ax.fill_between(x[:, 0], product / product.max(), color=ORANGE, alpha=0.2, linewidth=0)
        ax.set(yticks=[], ylim=(0, 1.08), title=rf"$\beta$ = {beta:g}")
        ax.set_xlabel(r"$x_{t-1}$", fontsize=12)
        ax.spines["left"].set_visible(False)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=10
    )
    return figure


def bell(x, mean, variance):
    return torch.exp(-((x - mean) ** 2) / (2 * variance)) / (2 * torch.pi * variance) ** 0.5


@drawing
def known_unknown():
    """The step back from x_2 = 0.5 after two steps with beta = 0.1 and 0.2, with x_0 = 1 known and with x_0 = ±1."""
    figure, (known, unknown) = plt.subplots(1, 2, figsize=(5.7, 2.8), layout="constrained")
    x, x_2, variance = torch.linspace(-1.7, 1.9, 361, dtype=torch.float64), 0.5, 1 / 14

    def posterior_mean(x_0):
        return (10 * 0.9**0.5 * x_0 + 4 * x_2 / 0.8**0.5) / 14

    known.plot(x, bell(x, 0.9**0.5, 0.1), color=GREY, label=r"from $x_0$")
    known.plot(x, bell(x, x_2 / 0.8**0.5, 0.25), color=BLUE, label=r"from $x_2$")
    known.plot(x, bell(x, posterior_mean(1), variance), color=ORANGE, label="step back")
    known.set(title=r"$x_0 = 1$ is known")
    odds = torch.exp(torch.tensor(-2 * 0.72**0.5 * x_2 / 0.28, dtype=torch.float64))
    p = 1 / (1 + odds)
    step = p * bell(x, posterior_mean(1), variance) + (1 - p) * bell(
        x, posterior_mean(-1), variance
    )
    unknown.plot(x, step, color=ORANGE)
    unknown.fill_between(x, step, color=ORANGE, alpha=0.2, linewidth=0)
    best = bell(x, posterior_mean(2 * p - 1), variance)
    unknown.plot(x, best, color=INK, linestyle="--", label="best mean")
    unknown.set(title=r"$x_0$ is 1 or $-1$")
    for ax in (known, unknown):
        ax.set(yticks=[], xticks=[-1, 0, 1], ylim=(0, 1.6))
        ax.set_xlabel("$x_1$", fontsize=12)
        ax.spines["left"].set_visible(False)
        ax.legend(loc="upper left", fontsize=10, handlelength=1.2, borderaxespad=0)
    return figure
