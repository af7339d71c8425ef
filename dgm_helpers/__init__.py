"""Diffusion and score-based generative models: the code of the course book.

``import dgm_helpers as dgm`` gives the names below. What is rare or heavy is imported when it is first used.
"""

import sys
from importlib import import_module

from .arguments import seeded
from .bound import elbo_terms, elbo_weights, gaussian_kl, reverse_variances
from .diffusion import (
    eps_from_score,
    eps_from_x0,
    markov_step,
    perturb_input,
    posterior,
    score_from_eps,
    simple_loss,
    x0_from_eps,
)
from .langevin import annealed_langevin, gradient_ascent, langevin, metropolis_langevin
from .mixtures import GaussianMixture
from .samplers import (
    clipped,
    ddim_step,
    ddpm_step,
    epsilon_scaled,
    guided,
    invert_ddim,
    reverse_process,
    sample_ddim,
    sample_ddpm,
    sample_es_ddpm,
)
from .schedules import NoiseSchedule, timesteps
from .score_matching import (
    denoising_score_matching,
    exact_score_matching,
    noise_conditional_score_matching,
    sliced_score_matching,
)

_LATER = {  # name: the module that it is imported from when it is first asked for
    "checks": None,
    "homework": None,
    "plots": None,
    "recipes": None,
    "results": None,
    "work": None,
    "animate": "plots",
    "plot_samples": "plots",
    "plot_score_field": "plots",
    "load_sprites": "sprites",
    "split_by_group": "sprites",
    "load_pretrained": "training",
    "train": "training",
}

__all__ = sorted(
    [
        name
        for name, value in globals().items()
        if getattr(value, "__module__", "").startswith(__name__)
    ]
    + list(_LATER)
)

if {"ipykernel", "matplotlib.pyplot"} <= sys.modules.keys():  # a notebook that draws: set its style
    import_module(".plots", __name__)


def __getattr__(name):
    if name not in _LATER:
        raise AttributeError(f"dgm_helpers has no {name!r}; it has {', '.join(__all__)}")
    home = _LATER[name]
    module = import_module(f".{home or name}", __name__)
    return getattr(module, name) if home else module


def __dir__():
    return __all__
