"""Every public function with one malformed argument: a finite result of the right shape and dtype, or an error that
names an argument.

The table at the top says how each function is called rightly. Hypothesis replaces one argument by something else: `make
test` tries a few of these, the same each time, `make soak` many.
"""

import dataclasses
import itertools
import linecache
import math
import re
import warnings
from decimal import Decimal
from fractions import Fraction
from functools import partial
from inspect import signature
from pathlib import Path

import hypothesis.strategies as st
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from PIL import Image

import dgm_helpers
from dgm_helpers import (
    checks,
    evaluation,
    networks,
    plots,
    predictors,
    recipes,
    results,
    samplers,
    seeded,
    sprites,
)
from dgm_helpers.bound import elbo_terms, elbo_weights, gaussian_kl, reverse_variances
from dgm_helpers.diffusion import (
    eps_from_score,
    eps_from_x0,
    markov_step,
    perturb_input,
    posterior,
    score_from_eps,
    simple_loss,
    x0_from_eps,
)
from dgm_helpers.fid import (
    extract_features,
    fid,
    fid_at_infinity,
    fid_interval,
    frechet_distance,
    kid,
    mean_and_covariance,
    noise_floor,
    pca_features,
)
from dgm_helpers.langevin import (
    ChainDiverged,
    annealed_langevin,
    gradient_ascent,
    langevin,
    metropolis_langevin,
)
from dgm_helpers.mixtures import GaussianMixture
from dgm_helpers.pixel_art import generate_sprites, parse_designs
from dgm_helpers.schedules import NoiseSchedule, timesteps
from dgm_helpers.score_matching import (
    denoising_score_matching,
    exact_score_matching,
    noise_conditional_score_matching,
    sliced_score_matching,
)
from dgm_helpers.sprites import SpriteSet
from dgm_helpers.training import (
    load_average,
    load_pretrained,
    load_tensors,
    save_pretrained,
    save_tensors,
    train,
    weights_file,
)

PACKAGE = Path(dgm_helpers.__file__).parent
SCHEDULE = NoiseSchedule.linear(20, 0.01, 0.3)
MIXTURE = GaussianMixture([0.4, 0.6], [[0.0, 1.0], [2.0, 0.0]], [1.0, 2.0])
FULL = GaussianMixture([1.0], [[0.0, 1.0]], [[[1.0, 0.5], [0.5, 2.0]]])
TIMES, EARLIER, POINTS = torch.tensor([1, 5, 20]), torch.tensor([0, 3, 19]), torch.zeros(2, 2)


# ---- the table ----


@dataclasses.dataclass(frozen=True)
class Call:
    """A function, ``good(dtype)``, its arguments, and ``answer(arguments)``, the shape and dtype of each tensor of
    the result.
    """

    function: object
    good: object
    answer: object = lambda a: None
    endless: tuple = ()  # the arguments for which a large int is right, and takes as long
    also: tuple = ()  # other names that a message may have: those of what the arguments are passed on to
    ease: int = 1  # a function that takes long is tried so much less often


def data(dtype, seed=0, shape=(3, 2)):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64, device="cpu").to(dtype)


def like(name):
    return lambda a: [(a[name].shape, a[name].dtype)]


def one_each(name, dtype=None):
    return lambda a: [(a[name].shape[:1], dtype or a[name].dtype)]


def eps_model(x_t, t):
    return x_t / 2


def score(x, *sigma):
    return -x


def step(schedule, x_t, eps, t, s, noise):
    return x_t - 0.1 * eps


def core(**more):
    """The arguments that most functions of diffusion have, as a function of the dtype."""

    def good(dtype):
        return {
            name: data(dtype, i) if value is data else value
            for i, (name, value) in enumerate(more.items())
        }

    return good


def chain(**more):
    def good(dtype):
        return {"score": score, "x": data(dtype), "step_size": 0.1, **more}

    return good


def drawn(**more):
    """Arguments with a new generator each time."""

    def good(dtype):
        values = core(**more)(dtype)
        return {**values, "generator": seeded(1)}

    return good


def at_a_point(make):
    """The predictor that ``make`` returns, called: an answer shaped like its points."""

    def function(**arguments):
        return make(**arguments)(data(torch.float32), TIMES)

    return function


def last_state(**arguments):
    *_, last = samplers.reverse_process(**arguments)
    return last.x, last.x0_hat


SCHEDULED = {"schedule": SCHEDULE}
DIFFUSION = {
    "perturb_input": Call(
        perturb_input, core(**SCHEDULED, x0=data, t=TIMES, noise=data), like("x0")
    ),
    "perturb_input at an int": Call(
        perturb_input, core(**SCHEDULED, x0=data, t=5, noise=data), like("x0")
    ),
    "markov_step": Call(markov_step, core(**SCHEDULED, x=data, t=TIMES, noise=data), like("x")),
    "posterior": Call(posterior, core(**SCHEDULED, x0=data, x_t=data, t=TIMES, s=EARLIER)),
    "posterior at ints": Call(posterior, core(**SCHEDULED, x0=data, x_t=data, t=5, s=0)),
    "x0_from_eps": Call(x0_from_eps, core(**SCHEDULED, x_t=data, t=TIMES, eps=data), like("x_t")),
    "eps_from_x0": Call(eps_from_x0, core(**SCHEDULED, x_t=data, t=5, x0=data), like("x_t")),
    "score_from_eps": Call(score_from_eps, core(**SCHEDULED, t=TIMES, eps=data), like("eps")),
    "eps_from_score": Call(eps_from_score, core(**SCHEDULED, t=5, score=data), like("score")),
    "simple_loss": Call(
        simple_loss,
        core(eps_model=eps_model, **SCHEDULED, x0=data, t=TIMES, noise=data),
        one_each("x0"),
    ),
    "simple_loss at an int": Call(
        simple_loss,
        core(eps_model=eps_model, **SCHEDULED, x0=data, t=0, noise=data),
        one_each("x0"),
    ),
}
ROOMS = {
    "seeded": Call(lambda **a: seeded(**a).initial_seed(), core(seed=3, device="cpu")),
    "NoiseSchedule": Call(
        lambda **a: NoiseSchedule(**a).alpha_bar,
        lambda dtype: {"alpha_bar": torch.tensor([1.0, 0.5, 0.2], dtype=torch.float64)},
    ),
    "NoiseSchedule.linear": Call(
        lambda **a: NoiseSchedule.linear(**a).snr[1:], core(T=20, beta_1=0.01, beta_T=0.3)
    ),
    "NoiseSchedule.cosine": Call(lambda **a: NoiseSchedule.cosine(**a).beta, core(T=20)),
    "timesteps": Call(timesteps, core(T=20, n=5, spacing="karras", **SCHEDULED)),
    **DIFFUSION,
    "gaussian_kl": Call(
        gaussian_kl,
        lambda dtype: {
            "mean1": data(dtype),
            "variance1": data(dtype, 1).exp(),
            "mean2": data(dtype, 2),
            "variance2": data(dtype, 3)[:1].exp(),
        },
        one_each("mean1", torch.float64),
    ),
    "reverse_variances": Call(
        reverse_variances, core(**SCHEDULED, variance="large"), lambda a: [((21,), torch.float64)]
    ),
    "elbo_weights": Call(
        elbo_weights, core(**SCHEDULED, variance="small"), lambda a: [((21,), torch.float64)]
    ),
    "elbo_terms": Call(
        elbo_terms,
        drawn(eps_model=eps_model, **SCHEDULED, x0=data, variance="small", levels=None),
        lambda a: [((len(a["x0"]), 21), torch.float64)],
        ease=2,
    ),
    "elbo_terms of levels": Call(
        elbo_terms,
        lambda dtype: {
            "eps_model": eps_model,
            "schedule": SCHEDULE,
            "x0": data(dtype).sign(),
            "variance": SCHEDULE.beta,
            "levels": 3,
            "generator": seeded(1),
        },
        lambda a: [((len(a["x0"]), 21), torch.float64)],
        ease=2,
    ),
    "reverse_process": Call(
        last_state,
        drawn(eps_model=eps_model, **SCHEDULED, x=data, timesteps=[20, 5, 0], step=step),
        lambda a: 2 * like("x")(a),
    ),
    "reverse_process of ddpm": Call(
        last_state,
        drawn(
            eps_model=eps_model,
            **SCHEDULED,
            x=data,
            timesteps=torch.tensor([20, 5, 0]),
            step=samplers.ddpm_step,
        ),
        lambda a: 2 * like("x")(a),
    ),
    "ddpm_step": Call(
        samplers.ddpm_step,
        core(**SCHEDULED, x_t=data, eps=data, t=5, s=3, noise=data, variance="large"),
        like("x_t"),
    ),
    "ddim_step": Call(
        samplers.ddim_step,
        core(**SCHEDULED, x_t=data, eps=data, t=TIMES, s=EARLIER, noise=data, eta=0.5),
        like("x_t"),
    ),
    "multistep, called": Call(
        lambda **a: samplers.multistep()(**a),
        core(**SCHEDULED, x_t=data, eps=data, t=5, s=3),
        like("x_t"),
    ),
    "sample_ddpm": Call(
        samplers.sample_ddpm,
        drawn(
            eps_model=eps_model, **SCHEDULED, x_T=data, steps=3, variance="small", spacing="uniform"
        ),
        like("x_T"),
    ),
    "sample_ddim": Call(
        samplers.sample_ddim,
        drawn(eps_model=eps_model, **SCHEDULED, x_T=data, steps=3, eta=0.5, spacing="quadratic"),
        like("x_T"),
    ),
    "sample_ddim without noise": Call(
        samplers.sample_ddim, core(eps_model=eps_model, **SCHEDULED, x_T=data, steps=3), like("x_T")
    ),
    "sample_es_ddpm": Call(
        samplers.sample_es_ddpm,
        drawn(
            eps_model=eps_model,
            **SCHEDULED,
            proposals=data,
            stop_at=8,
            steps=3,
            eta=1.0,
            spacing="uniform",
        ),
        like("proposals"),
    ),
    "invert_ddim": Call(
        samplers.invert_ddim,
        core(eps_model=eps_model, **SCHEDULED, x0=data, steps=3, spacing="uniform"),
        like("x0"),
    ),
    "clipped": Call(
        at_a_point(samplers.clipped), core(eps_model=eps_model, **SCHEDULED, low=-1.0, high=1.0)
    ),
    "guided": Call(
        at_a_point(samplers.guided),
        core(conditional=eps_model, unconditional=lambda x, t: x / 3, scale=2.0),
    ),
    "epsilon_scaled": Call(
        at_a_point(samplers.epsilon_scaled), core(eps_model=eps_model, scale=1.25)
    ),
    "a clipped predictor": Call(
        samplers.clipped(eps_model, SCHEDULE), core(x_t=data, t=TIMES), like("x_t")
    ),
    "a guided predictor": Call(
        samplers.guided(eps_model, score, 2.0), core(x_t=data, t=TIMES), like("x_t")
    ),
    "a scaled predictor": Call(
        samplers.epsilon_scaled(eps_model, 1.25), core(x_t=data, t=TIMES), like("x_t")
    ),
    "exact_score_matching": Call(exact_score_matching, core(score=score, x=data), one_each("x")),
    "sliced_score_matching": Call(
        sliced_score_matching, drawn(score=score, x=data, variance_reduced=True), one_each("x")
    ),
    "denoising_score_matching": Call(
        denoising_score_matching, drawn(score=score, x=data, sigma=0.5), one_each("x")
    ),
    "denoising_score_matching with levels": Call(
        denoising_score_matching,
        drawn(score=score, x=data, sigma=torch.tensor([0.5, 1.0, 2.0])),
        one_each("x"),
    ),
    "noise_conditional_score_matching": Call(
        noise_conditional_score_matching,
        drawn(score=score, x=data, sigmas=[2.0, 1.0]),
        one_each("x"),
    ),
    "gradient_ascent": Call(gradient_ascent, chain(steps=3), like("x"), endless=("steps",)),
    "gradient_ascent, whole": Call(
        gradient_ascent,
        chain(steps=2, trajectory=True),
        lambda a: (
            [((a["steps"] + 1, *a["x"].shape), a["x"].dtype)] if a["trajectory"] else like("x")(a)
        ),
        endless=("steps",),
    ),
    "langevin": Call(
        langevin,
        lambda dtype: {**chain(steps=3)(dtype), "generator": seeded(1)},
        like("x"),
        endless=("steps",),
    ),
    "annealed_langevin": Call(
        annealed_langevin,
        lambda dtype: {
            **chain(sigmas=[2.0, 1.0], steps_per_level=2)(dtype),
            "generator": seeded(1),
        },
        like("x"),
        endless=("steps_per_level",),
    ),
    "metropolis_langevin": Call(
        lambda **a: metropolis_langevin(**a)[0],
        lambda dtype: {
            "log_prob": lambda x: -x.square().flatten(1).sum(1) / 2,
            **chain(steps=3)(dtype),
            "generator": seeded(1),
        },
        like("x"),
        endless=("steps",),
    ),
    "GaussianMixture": Call(
        lambda **a: GaussianMixture(**a).covariance,
        core(weights=[0.4, 0.6], means=[[0.0, 1.0], [2.0, 0.0]], variances=[1.0, 2.0]),
    ),
    "GaussianMixture of matrices": Call(
        lambda **a: GaussianMixture(**a).covariance,
        lambda dtype: {"weights": FULL.weights, "means": FULL.means, "variances": FULL.variances},
    ),
    "from_student_number": Call(
        lambda **a: GaussianMixture.from_student_number(**a).means, core(number=810_100_007)
    ),
    "sample": Call(MIXTURE.sample, drawn(n=5), endless=("n",)),
    "log_prob": Call(MIXTURE.log_prob, core(x=data, sigma=0.5), one_each("x")),
    "score": Call(MIXTURE.score, core(x=data, sigma=torch.tensor([0.0, 1.0, 2.0])), like("x")),
    "score with matrices": Call(FULL.score, core(x=data, sigma=0.5), like("x")),
    "diffused": Call(lambda **a: MIXTURE.diffused(**a).variances, core(**SCHEDULED, t=5)),
    "eps_model": Call(lambda **a: MIXTURE.eps_model(**a)(POINTS, 5), core(**SCHEDULED)),
    "the mixture's predictor": Call(
        MIXTURE.eps_model(SCHEDULE), core(x_t=data, t=TIMES), like("x_t")
    ),
    "reverse_kernel": Call(
        lambda **a: MIXTURE.reverse_kernel(**a).means,
        lambda dtype: {"schedule": SCHEDULE, "x_t": data(dtype)[0], "t": 5, "s": 2},
    ),
}


# ---- the table of the other rooms: networks and files ----


def pictures(dtype=torch.float32, n=3, seed=0, side=16):
    return data(dtype, seed, (n, 3, side, side)).tanh()


def drawn_pictures(n=6, seed=0):
    """A set of a few small pictures in two classes and four groups."""
    images = np.random.default_rng(seed).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)
    return SpriteSet(images, np.arange(n) % 2, np.arange(n) % 4, ("a", "b"), "drawn")


def sheet(n=3):
    return drawn_pictures(n).images.copy()


def saved():
    """A file of tensors, in the folder of the test."""
    path = Path("saved.safetensors")
    if not path.exists():
        save_tensors(path, {"a": torch.zeros(2)}, {"b": 1})
    return path


def linear():
    """A small network with the same weights each time."""
    model = torch.nn.Linear(2, 2, device="cpu", dtype=torch.float32)
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 0.5)
    return model


def squares(model, x, y, generator):
    return (model(x) - y).square().mean(1)


def checkpointed():
    """A checkpoint of one epoch of a small network, in the folder of the test."""
    path = Path("checkpoint.safetensors")
    if not path.exists():
        list(
            train(
                linear(),
                squares,
                (torch.ones(3, 2), torch.zeros(3, 2)),
                epochs=1,
                checkpoint=path,
                generator=seeded(0),
            )
        )
    return path


def folder_of_pictures():
    folder = Path("pictures")
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(sheet(2)):
            Image.fromarray(image).save(folder / name / f"{i}.png")
    return folder


def losses_of(**more):
    """The last loss of a short training."""
    return [step.loss for step in train(**more)]


NUMBERS = itertools.count()


def new_name():
    return f"run-{next(NUMBERS)}"


def flat_features(pictures):
    return pictures.flatten(1)[:, :4].contiguous()


def row(name, distance):
    features = {
        kind: {"fid": distance, "low": distance - 0.1, "high": distance + 0.1}
        for kind in results.KINDS
    }
    return {
        "row": name,
        "n": 10,
        "reference_sha256": "0",
        "recipe": {"steps": 3},
        "seconds_per_picture": 0.5,
        "features": features,
    }


def floor():
    return {
        **row("real", 0.2),
        "recipe": None,
        "features": {kind: {"fid": 0.2, "spread": 0.05} for kind in results.KINDS},
    }


def figure_of(function):
    """The number of axes that a function draws; its figure is closed."""

    def draw(**arguments):
        try:
            return len(function(**arguments).axes)
        finally:
            plt.close("all")

    return draw


def in_axes(function):
    """A figure function with new axes of its own."""

    def draw(**arguments):
        return function(**{"ax": plt.subplots()[1], **arguments})

    return figure_of(draw)


torch.manual_seed(0)
UNET, VAE_, CLASSIFIER = (
    networks.UNet((8, 8, 8)).eval(),
    networks.VAE(latent=2, width=2).eval(),
    networks.SpriteClassifier(4).eval(),
)
PALETTE_UNET = predictors.PaletteUNet((8, 8, 8), n_colors=2).eval()
FOURIER_UNET = predictors.FourierUNet((8, 8, 8), n_colors=2, faded=True).eval()
MLP, LEVELLED = (
    networks.ScoreMLP(width=4, depth=1),
    networks.ScoreMLP(width=4, depth=1, conditional=True),
)
PCA = networks.PCAGaussian(pictures(n=6), torch.arange(6) % 2, 2)
LABELS = torch.tensor([0, 1, 1])
SPRITES = drawn_pictures()
LABELLED = {"x0": pictures, "labels": LABELS}
ESTIMATE = (1.0, 0.5, 1.5)
HISTORY = [{"epoch": 1, "a": 1.0, "b": 2.0}, {"epoch": 2, "a": 0.5, "b": 1.0}]


def of(**more):
    """Arguments in float32: functions of pictures and files, whatever dtype the table is asked for."""

    def good(dtype):
        made = {
            "pictures": pictures,
            "sheet": sheet,
            "saved": saved,
            "checkpointed": checkpointed,
            "folder": folder_of_pictures,
        }
        return {
            name: made[value]() if isinstance(value, str) and value in made else value
            for name, value in more.items()
        }

    return good


def of_drawn(**more):
    return lambda dtype: {**of(**more)(dtype), "generator": seeded(1)}


OTHERS = {
    "UNet": Call(
        lambda **a: list(networks.UNet(**a).config.values()),
        of(channels=(8, 8, 16), n_classes=2),
        endless=("n_classes",),
        ease=4,
    ),
    "UNet.forward": Call(UNET.forward, of(x="pictures", t=TIMES, labels=LABELS), like("x"), ease=4),
    "UNet.for_labels": Call(
        lambda **a: UNET.for_labels(**a)(pictures(), TIMES), of(labels=LABELS), ease=4
    ),
    "UNet.for_labels, called": Call(
        UNET.for_labels(LABELS), of(x_t="pictures", t=5), like("x_t"), also=("x", "labels"), ease=4
    ),
    "PaletteUNet": Call(
        lambda **a: list(predictors.PaletteUNet(**a).config.values()),
        of(channels=(8, 8, 16), n_classes=2, n_colors=3),
        endless=("n_classes",),
        ease=4,
    ),
    "PaletteUNet.forward": Call(
        PALETTE_UNET.forward, of(x="pictures", t=TIMES, labels=LABELS), like("x"), ease=4
    ),
    "FourierUNet": Call(
        lambda **a: list(predictors.FourierUNet(**a).config.values()),
        of(channels=(8, 8, 16), n_classes=2, n_colors=3, faded=True),
        endless=("n_classes",),
        ease=4,
    ),
    "FourierUNet.forward": Call(
        FOURIER_UNET.forward, of(x="pictures", t=TIMES, labels=LABELS), like("x"), ease=4
    ),
    "palette_of": Call(
        predictors.palette_of, lambda dtype: {"images": np.zeros((2, 4, 4, 3), np.uint8)}
    ),
    "palette_predictor": Call(
        lambda **a: predictors.palette_predictor(**a)(pictures(), TIMES),
        lambda dtype: {
            **SCHEDULED,
            "colors": torch.tensor([[-1.0, 0, 1], [1, 1, 1]]),
            "shares": torch.tensor([0.25, 0.75]),
        },
    ),
    "affine_predictor": Call(
        lambda **a: predictors.affine_predictor(**a)(data(torch.float32), TIMES),
        core(**SCHEDULED, x0=data),
    ),
    "memoriser": Call(
        lambda **a: predictors.memoriser(**a)(data(torch.float32), TIMES),
        core(**SCHEDULED, x0=data),
    ),
    "ScoreMLP": Call(
        lambda **a: networks.ScoreMLP(**a).config["dim"],
        of(dim=2, width=4, depth=1, conditional=False),
        endless=("dim", "width", "depth"),
    ),
    "ScoreMLP.forward": Call(MLP.forward, lambda dtype: {"x": data(torch.float32)}, like("x")),
    "ScoreMLP.forward, conditional": Call(
        LEVELLED.forward, lambda dtype: {"x": data(torch.float32), "sigma": 0.5}, like("x")
    ),
    "VAE": Call(
        lambda **a: networks.VAE(**a).n_classes,
        of(latent=2, width=2, n_classes=3),
        endless=("latent", "width", "n_classes"),
        ease=4,
    ),
    "VAE.negative_elbo": Call(
        VAE_.negative_elbo, of_drawn(x="pictures", labels=LABELS), one_each("x"), ease=2
    ),
    "VAE.sample": Call(VAE_.sample, of_drawn(labels=LABELS), ease=2),
    "PCAGaussian": Call(
        lambda **a: networks.PCAGaussian(**a).sample(LABELS * 0, generator=seeded(0)),
        lambda dtype: {
            "x": pictures(n=4),
            "labels": torch.tensor([0, 1, 0, 1]),
            "n_components": 2,
            "n_clusters": 2,
        },
        ease=2,
    ),
    "PCAGaussian.sample": Call(PCA.sample, of_drawn(labels=LABELS), ease=2),
    "SpriteClassifier": Call(
        lambda **a: networks.SpriteClassifier(**a).head.out_features,
        of(n_features=4, n_classes=3),
        endless=("n_features", "n_classes"),
        ease=2,
    ),
    "SpriteClassifier.forward": Call(CLASSIFIER.forward, of(x="pictures"), ease=2),
    "SpriteClassifier.features": Call(CLASSIFIER.features, lambda dtype: {"x": pictures()}, ease=2),
    "save_tensors": Call(
        save_tensors,
        lambda dtype: {
            "path": Path("a.safetensors"),
            "tensors": {"a": torch.zeros(2)},
            "info": {"b": 1},
        },
        ease=2,
    ),
    "load_tensors": Call(lambda **a: load_tensors(**a)[0], of(path="saved"), ease=2),
    "save_pretrained": Call(
        save_pretrained, of(path="m.safetensors", model=MLP, info={"b": 1}), ease=2
    ),
    "weights_file": Call(weights_file, of(name="sprites-generated")),
    "load_pretrained": Call(
        lambda **a: load_pretrained(**a).config["channels"], of(name="sprites-generated"), ease=4
    ),
    "load_average": Call(
        lambda **a: load_average(**a)["number"],
        lambda dtype: {"model": linear(), "checkpoint": checkpointed()},
        ease=2,
    ),
    "train": Call(
        losses_of,
        lambda dtype: {
            "model": linear(),
            "loss": squares,
            "data": (torch.ones(3, 2), torch.zeros(3, 2)),
            "epochs": 1,
            "batch_size": 2,
            "lr": 1e-3,
            "ema_decay": 0.9,
            "generator": seeded(1),
            "evaluate": lambda ema: {"one": 1.0},
            "checkpoint": None,
            "settings": {"a": 1},
        },
        endless=("epochs",),
        ease=4,
    ),
    "noise_prediction_loss": Call(
        recipes.noise_prediction_loss,
        of_drawn(
            model=UNET,
            x0="pictures",
            labels=LABELS,
            schedule=SCHEDULE,
            weighting="elbo",
            drop_label=0.1,
        ),
        one_each("x0"),
        also=("x",),
        ease=4,
    ),
    "mean_noise_prediction_loss": Call(
        recipes.mean_noise_prediction_loss,
        of(model=UNET, x0="pictures", labels=LABELS, schedule=SCHEDULE, seed=0),
        also=("x",),
        ease=4,
    ),
    "negative_elbo_loss": Call(
        recipes.negative_elbo_loss,
        of_drawn(model=VAE_, x0="pictures", labels=LABELS),
        one_each("x0"),
        also=("x",),
        ease=2,
    ),
    "mean_negative_elbo": Call(
        recipes.mean_negative_elbo,
        of(model=VAE_, x0="pictures", labels=LABELS, seed=0),
        also=("x",),
        ease=2,
    ),
    "classification_loss": Call(
        recipes.classification_loss,
        of(model=CLASSIFIER, x0="pictures", labels=LABELS),
        one_each("x0"),
        also=("x",),
        ease=2,
    ),
    "accuracy": Call(
        recipes.accuracy, of(model=CLASSIFIER, x0="pictures", labels=LABELS), also=("x",), ease=2
    ),
    "mirrored": Call(  # what the loss answers is passed on, to train, which looks at it
        partial(recipes.mirrored, recipes.negative_elbo_loss),
        of_drawn(model=VAE_, x0="pictures", labels=LABELS),
        one_each("x0"),
        also=("x",),
        ease=2,
    ),
    "SpriteSet": Call(
        lambda **a: len(SpriteSet(**a)),
        of(
            images="sheet",
            labels=np.array([0, 1, 1]),
            groups=np.array([0, 0, 1]),
            classes=("a", "b"),
            source="drawn",
        ),
    ),
    "SpriteSet.subset": Call(lambda **a: SPRITES.subset(**a).labels, of(rows=[0, 2])),
    "to_tensor": Call(sprites.to_tensor, of(images="sheet")),
    "to_uint8": Call(sprites.to_uint8, of(x="pictures")),
    "tile": Call(sprites.tile, of(images="sheet", columns=2, gap=1)),
    "load_sprites": Call(
        lambda **a: len(sprites.load_sprites(**a)), of(source="folder", cache=None), ease=2
    ),
    "split_by_group": Call(
        lambda **a: sprites.split_by_group(**a)[0].labels, of(sprites=SPRITES, seed=0)
    ),
    "split_at_random": Call(
        lambda **a: sprites.split_at_random(**a)[1].labels, of(sprites=SPRITES, seed=0)
    ),
    "generate_sprites": Call(generate_sprites, of(n=5, seed=0), endless=("n",), ease=2),
    "parse_designs": Call(parse_designs, of(text=""), also=("draw", "design")),
    "frechet_distance": Call(
        frechet_distance,
        of(
            mean1=[0.0, 1.0],
            cov1=[[1.0, 0.5], [0.5, 2.0]],
            mean2=np.zeros(2),
            cov2=torch.eye(2, dtype=torch.float64),
        ),
    ),
    "mean_and_covariance": Call(
        mean_and_covariance, lambda dtype: {"batches": [data(dtype), data(dtype, 1)]}
    ),
    "extract_features": Call(
        extract_features, of(pictures="pictures", features=flat_features), lambda a: None
    ),
    "fid": Call(
        fid,
        lambda dtype: {
            "real": pictures(dtype),
            "fake": pictures(dtype, seed=1),
            "features": flat_features,
        },
    ),
    "fid of features": Call(
        fid, lambda dtype: {"real": data(dtype), "fake": data(dtype, 1), "features": None}
    ),
    "fid_interval": Call(
        fid_interval,
        lambda dtype: {
            "real": data(dtype, shape=(4, 2)),
            "fake": data(dtype, 1, (4, 2)),
            "features": None,
            "generator": seeded(1),
            "splits": 3,
        },
        endless=("splits",),
        ease=2,
    ),
    "fid_at_infinity": Call(
        fid_at_infinity,
        lambda dtype: {
            "sizes": [20, 50, 100],
            "distances": torch.tensor([3, 2, 1.5], dtype=dtype),
            "errors": [0.3, 0.2, 0.1],
        },
    ),
    "noise_floor": Call(
        noise_floor,
        lambda dtype: {
            "real": data(dtype, shape=(8, 2)),
            "n": 3,
            "features": None,
            "generator": seeded(1),
            "repetitions": 2,
        },
        endless=("repetitions",),
        ease=2,
    ),
    "kid": Call(
        kid,
        lambda dtype: {
            "real": pictures(dtype),
            "fake": pictures(dtype, seed=1),
            "features": flat_features,
        },
    ),
    "pca_features": Call(
        lambda **a: pca_features(**a)(pictures()),
        lambda dtype: {"train": pictures(n=5), "n_components": 2},
        also=("pictures",),
        ease=2,
    ),
    "pca_features, called": Call(pca_features(pictures(n=5), 2), of(pictures="pictures")),
    "record": Call(
        results.record,
        of(name="a", values={"b": 1}, made_with={"code": "x"}, folder=Path("records")),
    ),
    "names": Call(lambda **a: len(results.names(**a)), of(pattern="*", folder=Path("records"))),
    "row_record": Call(results.row_record, of(row="ddim-20", n=10, source="generated")),
    "estimate": Call(results.estimate, lambda dtype: {"row": row("one", 1.0), "kind": "pca"}),
    "table": Call(results.table, of(head=["a", "b"], rows=[[1, 2]])),
    "row_table": Call(
        results.row_table, lambda dtype: {"rows": {"one": row("one", 1.0), "floor": floor()}}
    ),
    "closer": Call(
        results.closer,
        of(name1="a", estimate1=ESTIMATE, name2="b", estimate2=(3.0, 2.5, 3.5), floor=0.2),
    ),
    "compare_distances": Call(
        results.compare_distances,
        of(name1="a", estimate1=ESTIMATE, name2="b", estimate2=(3.0, 2.5, 3.5), floor=0.2, n=10),
    ),
    "compare_rows": Call(
        results.compare_rows,
        lambda dtype: {"one": row("one", 1.0), "other": row("other", 2.0), "floor": floor()},
    ),
    "plot_samples": Call(
        figure_of(plots.plot_samples),
        of(
            images="sheet", columns=2, title="t", row_labels=["a", "b"], width=2.0, value_range=None
        ),
        ease=4,
    ),
    "plot_samples of floats": Call(
        figure_of(plots.plot_samples), of(images="pictures", columns=3, value_range=(-1, 1)), ease=4
    ),
    "plot_loss": Call(
        in_axes(plots.plot_loss),
        lambda dtype: {"history": [*HISTORY], "keys": ["a", "b"], "labels": ["A", "B"]},
        ease=8,
    ),
    "animate": Call(
        lambda **a: len(plots.animate(**a)),
        lambda dtype: {
            "frames": [sheet(), sheet()],
            "columns": 2,
            "scale": 1,
            "milliseconds": 20,
            "hold": 2,
        },
        ease=4,
    ),
    "animate_plot": Call(
        lambda **a: len(plots.animate_plot(**a)),
        of(draw=lambda ax, i: ax.plot([0, i]), frames=1, figsize=(1, 1), milliseconds=20, hold=2),
        endless=("frames",),
        ease=8,
    ),
    "plot_score_field": Call(
        in_axes(plots.plot_score_field),
        of(score=MIXTURE.score, limit=3.0, log_prob=MIXTURE.log_prob, arrows=3),
        ease=8,
    ),
    "plot_trajectories": Call(
        in_axes(plots.plot_trajectories),
        lambda dtype: {"trajectory": data(torch.float32, shape=(4, 3, 2)), "color": "C1"},
        ease=8,
    ),
    "draw_each": Call(
        evaluation.draw_each,
        of(
            eps_model=eps_model,
            schedule=SCHEDULE,
            seeds=[0, 1],
            sampler="ddim",
            steps=2,
            eta=0.5,
            spacing="uniform",
        ),
        ease=2,
    ),
    "draw_pictures": Call(
        lambda **a: evaluation.draw_pictures(**a)[0],
        lambda dtype: {
            "draw_batch": lambda labels, generator: pictures(n=len(labels)),
            "labels": LABELS,
            "recipe": {"batch": 2, "seed": 0},
            "n": 4,
            "folder": new_name(),
        },
        endless=("n",),
        ease=4,
    ),
    "train_sprites": Call(
        lambda **a: len(recipes.train_sprites(**a)),
        lambda dtype: {
            "network": "classifier",
            "source": folder_of_pictures(),
            "epochs": 1,
            "batch_size": 2,
            "lr": 1e-3,
            "ema_decay": 0.9,
            "channels": (24, 48, 72),
            "split": "random",
            "mirror": True,
            "distinct": 2,
            "weighting": "simple",
            "seed": 0,
            "threads": 1,
            "cache": None,
            "out": "runs",
            "name": new_name(),
            "progress": False,
        },
        also=("loss", "weights"),  # what a huge learning rate ruins
        endless=("epochs", "threads"),
        ease=8,
    ),
    "copying": Call(evaluation.copying, of(distances=[0.5, 1.0], held_out=[1.0, 2.0])),
}


ROOMS |= OTHERS


# ---- what comes instead ----


class Boom(Exception):
    """What a callable of the caller's raises: it shall come out as it is."""


def write_into(*arguments):
    """A careless callable: it writes into all that it gets, and gives the first of it back."""
    for value in arguments:
        if isinstance(value, torch.Tensor):
            value.zero_()
    return next((value for value in arguments if isinstance(value, torch.Tensor)), None)


def boom(*arguments):
    raise Boom


ANYTHING = [
    lambda: None,
    lambda: "text",
    lambda: "",
    lambda: "0.5",
    lambda: b"bytes",
    lambda: [],
    lambda: (),
    lambda: {},
    lambda: {1.0},
    lambda: object(),
    lambda: True,
    lambda: 0,
    lambda: -1,
    lambda: 1,
    lambda: 3,
    lambda: 2**31,
    lambda: 2**63,
    lambda: -(2**63),
    lambda: 10**40,
    lambda: 0.0,
    lambda: -0.5,
    lambda: 0.5,
    lambda: 2.5,
    lambda: math.nan,
    lambda: math.inf,
    lambda: -math.inf,
    lambda: 1e-300,
    lambda: 1j,
    lambda: Fraction(1, 3),
    lambda: Decimal("0.5"),
    lambda: np.float64("nan"),
    lambda: np.float32(0.5),
    lambda: np.int64(3),
    lambda: np.bool_(True),
    lambda: np.complex64(1),
    lambda: np.array(0.5),
    lambda: np.array([1.0, 0.5]),
    lambda: np.array(["a", "b"]),
    lambda: np.array([None, object()]),
    lambda: np.zeros((3, 2)),
    lambda: np.zeros((0, 2)),
    lambda: np.array([1, 2, 3], dtype=np.uint64),
    lambda: np.datetime64("2020-01-01"),
    lambda: [1.0],
    lambda: [3, 2, 1],
    lambda: [[1.0]],
    lambda: [1.0, [2.0]],
    lambda: [None],
    lambda: ["a"],
    lambda: [1j],
    lambda: [2.0, math.nan],
    lambda: [10**40],
    lambda: torch.tensor(3),
    lambda: torch.tensor(0.5),
    lambda: torch.tensor(True),
    lambda: torch.tensor(math.nan),
    lambda: torch.tensor([1, 2]),
    lambda: torch.tensor([3, 3, 3]),
    lambda: torch.zeros(0),
    lambda: torch.zeros(3, 2),
    lambda: torch.zeros(3, 2, dtype=torch.int64),
    lambda: torch.zeros(3, 2, dtype=torch.complex64),
    lambda: torch.zeros(3, 2).to_sparse(),
    lambda: torch.ones(3, requires_grad=True),
    lambda: torch.float32,
    lambda: torch.device("cpu"),
    lambda: torch.nn.Linear(2, 2),
    lambda: boom,
    lambda: float,
    lambda: Path("nowhere"),
    lambda: range(3),
    lambda: iter([3, 2]),
    lambda: slice(3),
    lambda: seeded(0),
    lambda: np.random.default_rng(0),
    lambda: Ellipsis,
]
RESHAPED = {
    "int64": lambda x: x.long(),
    "int32": lambda x: x.int(),
    "uint8": lambda x: x.to(torch.uint8),
    "bool": lambda x: x > 0,
    "half": lambda x: x.half(),
    "bfloat16": lambda x: x.bfloat16(),
    "float8": lambda x: x.to(torch.float8_e4m3fn),
    "float": lambda x: x.float(),
    "double": lambda x: x.double(),
    "complex": lambda x: x.to(torch.complex64),
    "one item": lambda x: x[0],
    "one item, kept": lambda x: x[:1],
    "one item, repeated": lambda x: x[:1].expand_as(x),
    "one more axis": lambda x: x[None],
    "one more axis, last": lambda x: x[..., None],
    "fewer items": lambda x: x[:-1],
    "no items": lambda x: x[:0],
    "more items": lambda x: torch.cat([x, x]),
    "narrower": lambda x: x[..., :-1],
    "of no width": lambda x: x[..., :0],
    "flat": lambda x: x.flatten(),
    "numpy": lambda x: x.numpy(),
    "list": lambda x: x.tolist(),
    "tuple of rows": lambda x: tuple(x),
    "with a gradient": lambda x: x.clone().requires_grad_() if x.is_floating_point() else x,
    "with a graph": lambda x: x.clone().requires_grad_() * 1 if x.is_floating_point() else x,
    "not contiguous": lambda x: torch.stack([x, x], -1)[..., 0],
    "transposed": lambda x: x.T if x.ndim == 2 else x,
    "sparse": lambda x: x.to_sparse(),
    "zero": lambda x: torch.zeros_like(x),
    "negative": lambda x: -1 - x.abs() if x.is_floating_point() else -1 - x,
    "large": lambda x: x * 1000,
    "reversed": lambda x: x.flip(0),
}
ANSWERS = {
    "None": lambda y: None,
    "a number": lambda y: 0.5,
    "a list": lambda y: y.tolist(),
    "numpy": lambda y: y.detach().numpy(),
    "one item": lambda y: y[:1],
    "no items": lambda y: y[:0],
    "one more axis": lambda y: y[..., None],
    "a sum": lambda y: y.sum(),
    "flat": lambda y: y.flatten(),
    "nan": lambda y: y * math.nan,
    "inf": lambda y: y + math.inf,
    "one nan": lambda y: y.index_fill(0, torch.tensor([len(y) - 1]), math.nan) if len(y) else y,
    "int64": lambda y: y.long(),
    "bool": lambda y: y > 0,
    "complex": lambda y: y + 0j,
    "double": lambda y: y.double(),
    "half": lambda y: y.half(),
    "float8": lambda y: y.to(torch.float8_e4m3fn),
    "sparse": lambda y: y.to_sparse(),
    "without a graph": lambda y: y.detach(),
    "a view": lambda y: torch.stack([y, y], -1)[..., 0],
    "a tuple": lambda y: (y,),
    "a parameter": lambda y: torch.nn.Parameter(y.detach().clone()),
}


@st.composite
def corrupted(draw, good):
    """A copy of a tensor with a number somewhere that does not belong there."""
    x = good.clone()
    if x.numel():
        where = draw(st.integers(0, x.numel() - 1))
        if x.is_floating_point():
            x.view(-1)[where] = draw(
                st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1.0, 1e3])
            )
        else:
            x.view(-1)[where] = draw(st.sampled_from([-1, 0, 21, 2**40, -(2**63)]))
    return x


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 30) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


def malformed(good, endless):
    """Values that may be no good in the place of ``good``."""
    special = st.sampled_from(ANYTHING).map(lambda make: make())
    if callable(
        good
    ):  # another callable is called, and what it does with too many arguments is its own affair
        special = special.filter(lambda value: not callable(value))
    choices = [special, special, NESTED, st.integers(), st.floats()]
    if isinstance(good, torch.Tensor):
        choices += 3 * [
            st.sampled_from(sorted(RESHAPED)).map(lambda name: RESHAPED[name](good.clone())),
            corrupted(good),
        ]
    elif callable(good):

        def answering(name):
            def answer(*arguments):
                right = good(*arguments)
                return ANSWERS[name](right) if isinstance(right, torch.Tensor) else None

            return answer

        choices += 3 * [
            st.sampled_from(sorted(ANSWERS)).map(answering),
            st.sampled_from([write_into, boom]),
        ]
    elif isinstance(good, float):
        choices += 2 * [st.floats(0, 2), st.floats(-1e6, 1e6)]
    values = st.one_of(choices)
    if endless:
        values = values.filter(lambda value: not (isinstance(value, int) and value > 30))
    return values


# ---- what may come out ----

NUMPY = {
    torch.bool,
    torch.uint8,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.float32,
    torch.float64,
    torch.complex64,
}


def snapshot(value):
    """What must not change in an argument: its values, and for a tensor the count of writes into it, too."""
    if isinstance(value, torch.Tensor):
        content = value.detach().to_dense() if value.layout != torch.strided else value.detach()
        return (
            value.dtype,
            value._version,
            value.requires_grad,
            content.cpu().numpy().tobytes() if content.dtype in NUMPY else str(content),
        )
    if isinstance(value, np.ndarray):
        return value.dtype, repr(value)
    if isinstance(value, (list, tuple)):
        return [snapshot(part) for part in value]
    if isinstance(value, dict):
        return {name: snapshot(part) for name, part in value.items()}
    if isinstance(value, NoiseSchedule):
        return snapshot(value.alpha_bar)
    return value if isinstance(value, (int, float, str, bytes)) and value == value else type(value)


def parts(result):
    """The tensors, arrays and numbers of a result."""
    if isinstance(result, (list, tuple)):
        return [part for value in result for part in parts(value)]
    if isinstance(result, dict):
        return parts(list(result.values()))
    return [] if result is None or isinstance(result, (str, bytes, bool, Path)) else [result]


def is_extreme(value):
    """Whether it is a number so large or small that a right formula may leave the range of float32."""
    if isinstance(value, list):
        return any(map(is_extreme, value))
    number = isinstance(value, (int, float)) and 0 < abs(value) < math.inf
    return number and not 1e-6 < abs(value) < 1e6


def assert_right(result, expected, finite=True):
    for part in parts(result):
        values = part.detach() if isinstance(part, torch.Tensor) else torch.tensor(np.array(part))
        assert not values.is_complex() and (values.isfinite().all() or not finite), (
            f"not finite: {part}"
        )
    if expected is not None:
        got = [(tuple(part.shape), part.dtype) for part in parts(result)]
        assert got == [(tuple(shape), dtype) for shape, dtype in expected]


def assert_named(error, names):
    """The error was raised by a guard of the package, in one line that names one of the arguments."""
    message, trace = str(error), error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
    where = f"{file}:{line}: {type(error).__name__}: {message}"
    if isinstance(error, OSError):  # it has the path
        return
    assert Path(file).is_relative_to(PACKAGE), f"not the package's own message, {where}"
    assert linecache.getline(file, line).strip().startswith("raise"), (
        f"not the package's own message, {where}"
    )
    assert any(re.search(rf"\b{name}\b", message) for name in names), (
        f"names none of {names}, {where}"
    )
    assert "\n" not in message and len(message) < 400, f"too long, {where}"


def assert_good_outcome(call, arguments):
    names, before = [*arguments, *call.also], snapshot(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            result = call.function(**arguments)
        except Boom:
            pass
        except (TypeError, ValueError, ChainDiverged, OSError) as error:
            assert_named(error, names)
        else:
            assert_right(
                result, call.answer(arguments), finite=not any(map(is_extreme, arguments.values()))
            )
    assert snapshot(arguments) == before, "an argument was changed"


# ---- the tests ----


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


MAKES_WEIGHTS = {
    "UNet",
    "PaletteUNet",
    "FourierUNet",
    "ScoreMLP",
    "VAE",
    "SpriteClassifier",
}  # with torch's initialisers, from the global random state


@pytest.mark.parametrize("name", ROOMS)
def test_the_table_is_right_and_nothing_is_drawn_from_the_global_random_state(name):
    call = ROOMS[name]
    for dtype in (torch.float32, torch.float64):
        arguments = call.good(dtype)
        before, random, numbers = (
            snapshot(arguments),
            torch.get_rng_state(),
            np.random.get_state()[1:3],
        )
        assert_right(call.function(**arguments), call.answer(arguments))
        assert snapshot(arguments) == before
        assert torch.equal(torch.get_rng_state(), random) or name in MAKES_WEIGHTS
        assert str(np.random.get_state()[1:3]) == str(numbers)


@pytest.mark.parametrize("name", ROOMS)
def test_each_argument_in_turn_is_what_people_give_by_mistake(name):
    call = ROOMS[name]
    for which in call.good(torch.float32):
        for value in (None, "text", math.nan, -1, [1.0, "a"], np.zeros(2)):
            assert_good_outcome(call, {**call.good(torch.float32), which: value})


def test_every_check_says_what_is_wrong_with_any_answer():
    exercises = [check for name, check in vars(checks).items() if name.startswith("check_")]
    assert len(exercises) >= 20
    for check in exercises:
        for make in ANYTHING:
            value = make()
            for answer in (value, lambda *arguments, **more: value):
                if answer is not float:
                    with pytest.raises(AssertionError) as caught:
                        check(*[answer] * len(signature(check).parameters))
                    assert len(str(caught.value)) < 600


def test_who_draws_asks_for_a_generator():
    drawing = [
        call
        for name, call in ROOMS.items()
        if "generator" in call.good(torch.float32) and name != "reverse_process"
    ]
    assert len(drawing) >= 18
    for call in drawing:
        for other in (None, 0, "cpu", torch.Generator, np.random.default_rng(0)):
            with pytest.raises(TypeError, match="generator"):
                call.function(**{**call.good(torch.float32), "generator": other})


@pytest.mark.parametrize("name", ROOMS)
def test_one_malformed_argument(name):
    call = ROOMS[name]

    @settings(max_examples=max(1, settings.default.max_examples // call.ease))
    @given(st.data())
    def try_one(source):
        arguments = call.good(torch.float32)
        which = source.draw(st.sampled_from(sorted(arguments)), label="argument")
        arguments[which] = source.draw(
            malformed(arguments[which], which in call.endless), label=which
        )
        assert_good_outcome(call, arguments)

    try_one()
