"""Drawings of the chapter on the reverse process."""

import matplotlib.pyplot as plt
import torch

import dgm_helpers as dgm

from .hand import BLUE, GREY, ORANGE, drawing

PRIOR = dgm.GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], [0.15, 0.15])
X_T = 0.35


@drawing
def prior_times_likelihood():
    """Bayes' rule for a small and a large step back from x_t = 0.35, for data with two modes."""
    figure, axes = plt.subplots(1, 2, figsize=(6.7, 2.3), layout="constrained")
    x = torch.linspace(-2.4, 2.4, 481, dtype=torch.float64)[:, None]
    for ax, beta in zip(axes, (0.02, 0.5), strict=True):
        prior = PRIOR.log_prob(x).exp()
        likelihood = torch.exp(-((X_T - (1 - beta) ** 0.5 * x[:, 0]) ** 2) / (2 * beta))
        product = prior * likelihood
        for curve, color, label in (
            (prior, GREY, r"prior $q(x_{t-1})$"),
            (likelihood, BLUE, r"likelihood $q(x_t \mid x_{t-1})$"),
            (product, ORANGE, r"step back $q(x_{t-1} \mid x_t)$"),
        ):
            ax.plot(x, curve / curve.max(), color=color, label=label)
        ax.fill_between(x[:, 0], product / product.max(), color=ORANGE, alpha=0.2, linewidth=0)
        ax.set(xlabel=r"$x_{t-1}$", yticks=[], ylim=(0, 1.08), title=rf"$\beta$ = {beta:g}")
        ax.spines["left"].set_visible(False)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8.5
    )
    return figure
