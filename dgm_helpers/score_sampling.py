r"""What a score is worth to a sampler: networks trained on points with noise, sampled from, and compared with the data.

The points are those of the assignment's mixture, so the exact score of every noise level is known and stands beside
the learned one. Wrong dtype, shape, range or NaN raises TypeError or ValueError naming the argument.
"""

import math
import shutil
import time
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from . import results
from .arguments import require_data, require_int, require_sigma, require_sigmas, seeded
from .langevin import annealed_langevin, gradient_ascent, langevin
from .mixtures import GaussianMixture
from .networks import ScoreMLP
from .score_matching import denoising_score_matching, noise_conditional_score_matching
from .training import train

LEVELS = (0.5, 1.0, 2.0, 3.0, 5.0, 7.0)  # of networks for one level
LADDERS = ((1.0, 20), (0.1, 35))  # last level and number of levels from 20 on, ratio 1.17
STEPS = 2000  # of every chain
STEP_RATIO = 0.1  # of the step to the square of the level
NETWORKS = 3  # trained for each level and ladder
PAIRS = 100  # of samples, for the noise floor


def energy_distance(x, y):
    r"""The energy distance of two laws from samples, :math:`2\,\mathbb E\lVert X-Y\rVert-\mathbb E\lVert X-X'\rVert
    -\mathbb E\lVert Y-Y'\rVert`.

    It is at least 0, and 0 only for equal laws (Székely & Rizzo 2013). The estimate is unbiased, since no point is
    paired with itself, so for equal laws it scatters around 0.

    Parameters
    ----------
    x, y : float tensors (n, d) and (m, d)
        Independent draws of the two laws, at least two of each.

    Returns
    -------
    float
    """
    x, y = require_data("x", x).double(), require_data("y", y).double()
    for name, value in (("x", x), ("y", y)):
        if value.ndim != 2 or len(value) < 2 or value.shape[1] != x.shape[1]:
            wanted = f"{name} must hold at least two points, of {x.shape[-1]} coordinates as x"
            raise ValueError(f"{wanted}, got a tensor of shape {tuple(value.shape)}")

    def total(a, b):
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").sum().item()

    n, m = len(x), len(y)
    within = total(x, x) / (n * (n - 1)) + total(y, y) / (m * (m - 1))
    return 2 * total(x, y) / (n * m) - within


def train_score(points, sigma, *, epochs=94, seed=0):
    r"""Train a :class:`dgm_helpers.networks.ScoreMLP` on points with noise; returns it and its moving average.

    Adam with a constant learning rate of 0.002, 256 points a step, the loss
    :func:`dgm_helpers.score_matching.denoising_score_matching`, or
    :func:`dgm_helpers.score_matching.noise_conditional_score_matching` for several levels. The average of the weights
    forgets over 200 steps (Song & Ermon 2020, technique 5).

    Parameters
    ----------
    points : float tensor (n, d)
        Draws of the data; they are trained on as float32.
    sigma : float, or float tensor (L,) or sequence
        The noise level of the network, or the levels of one that is noise-conditional.
    epochs : int
        Passes over the points.
    seed : int
        Of the first weights, of the order of the points and of the noise.

    Returns
    -------
    last, average : ScoreMLP
        With the weights after the last step, and with their average; both without gradients.
    """
    points = require_data("points", points).float()
    if points.ndim != 2:
        raise ValueError(f"points must be (n, d), got a tensor of shape {tuple(points.shape)}")
    generator = seeded(seed)
    conditional = isinstance(sigma, (list, tuple)) or getattr(sigma, "ndim", 0) > 0
    if conditional:
        sigma = require_sigmas(sigma, points).float()
        matching = partial(noise_conditional_score_matching, sigmas=sigma)
    else:
        sigma = require_sigma(sigma, points).item()
        matching = partial(denoising_score_matching, sigma=sigma)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = ScoreMLP(points.shape[1], conditional=conditional)

    def loss(model, x, generator):
        return matching(model, x, generator=generator)

    recipe = {"epochs": epochs, "batch_size": 256, "lr": 2e-3, "ema_decay": 0.995}
    for step in train(network, loss, (points,), **recipe, generator=generator):
        pass
    return [net.eval().requires_grad_(False) for net in (network, step.ema)]


def ladder(last, count):
    """``count`` geometric noise levels from 20 to ``last``, float64."""
    return torch.logspace(math.log10(20), math.log10(last), count, dtype=torch.float64)


def record_scores(*, number=810_100_007, n=1000, seed=0, out=results.FOLDER):
    """Record what n chains of each sampler are worth on the mixture of a student's number, at equal numbers of steps.

    Langevin dynamics, with its noise and without, on the exact score of one level and on networks trained for it, the
    step in proportion to the square of the level; annealed Langevin dynamics on the exact score and on
    noise-conditional networks, with their last and with their averaged weights. All chains start in [−8, 8]². For
    each level and ladder three networks are trained; chains on the exact score, and those without noise, run once.

    A row holds the relative squared error of the score over the perturbed data, the mean of that over the levels if
    annealed; the share of the light mode and the variances of the heavy and the light one; and the energy distances
    to n exact draws of the data and of the perturbed data. A floor is the 95% quantile of that distance between exact
    draws. Until the record is whole, the rows of each network are kept beside it, so a killed run continues. Returns
    the path.
    """
    mixture = GaussianMixture.from_student_number(number)
    n, seed = require_int("n", n, 100, 100_000), require_int("seed", seed, 0, 2**32 - 1)
    made_with, start = results.provenance(), time.perf_counter()
    results.writable(out)
    points = mixture.sample(5000, generator=seeded(seed))[:4000]
    made_of = {"number": number, "n": n, "seed": seed, "steps": STEPS, "step_ratio": STEP_RATIO}
    parts, rows = Path(out) / "scores-mixture.parts", []
    for i in tqdm(range(NETWORKS), unit=" networks of each kind"):
        of = {"network": i, "seed": 10**6 * (seed + 1) + 100 * i}  # seeds of chains and of targets
        for level in (*LEVELS, *LADDERS):
            walks = partial(_walks_of, mixture, n, points, level, training_seed=seed + i, **of)
            rows += results.kept(f"{level}-{i}", made_of, walks, folder=parts)
    levels = sorted({0.0, *LEVELS, *(last for last, _ in LADDERS)})
    light = int(mixture.weights.argmin())
    summary = {
        "number": number,
        "light_weight": mixture.weights[light].item(),
        "light_share_of_training": _nearest(mixture, points).double().mean().item(),
        "variances": [mixture.variances[k].item() for k in (1 - light, light)],
        "n": n,
        "steps": STEPS,
        "step_ratio": STEP_RATIO,
        "seed": seed,
        "floors": [{"sigma": sigma, **_floor(mixture, n, sigma, seed)} for sigma in levels],
        "rows": rows,
        "seconds": time.perf_counter() - start,
    }
    path = results.record("scores-mixture", summary, made_with=made_with, folder=out)
    shutil.rmtree(parts)
    return path


def _walks_of(mixture, n, points, level, *, training_seed, network, seed):
    """The rows of a trained network, and those of the exact score beside the first one."""
    of = {"network": network, "seed": seed}
    exact = {"exact": mixture.score} if network == 0 else {}
    if level in LADDERS:
        sigmas = ladder(*level)
        nets = train_score(points, sigmas, epochs=188, seed=training_seed)
        last, average = map(_as_score, nets)
        scores = {"learned, last weights": last, "learned": average} | exact
        return [_anneal(mixture, n, *score, sigmas, **of) for score in scores.items()]
    _, average = train_score(points, level, seed=training_seed)
    scores = {"learned": _as_score(average)} | exact
    noises = (False, True) if network == 0 else (True,)
    return [
        _walk(mixture, n, *score, level, **of, noise=noise)
        for noise in noises
        for score in scores.items()
    ]


def _as_score(network):
    """A network as a score of float64 points at a level (B,), which is not for a network of one level."""
    if network.config["conditional"]:
        return lambda x, sigma: network(x.float(), sigma.float()).double()
    return lambda x, sigma: network(x.float()).double()


def _level(sigma, x):
    return torch.full((len(x),), sigma, dtype=x.dtype)


def _draws(mixture, n, sigma, seed):
    """Exact draws of the mixture with noise."""
    generator = seeded(seed)
    x = mixture.sample(n, generator=generator)
    return x + sigma * torch.randn(x.shape, generator=generator, dtype=x.dtype)


def _floor(mixture, n, sigma, seed):
    firsts = range(10**9 * (seed + 1), 10**9 * (seed + 1) + 2 * PAIRS, 2)
    pairs = [[_draws(mixture, n, sigma, first + k) for k in (0, 1)] for first in firsts]
    distances = torch.tensor([energy_distance(*pair) for pair in pairs])
    return {"quantile": distances.quantile(0.95).item(), "mean": distances.mean().item()}


def _nearest(mixture, x):
    """Whether each point is nearer to the mean of the light mode than to the other."""
    return torch.cdist(x, mixture.means).argmin(1) == mixture.weights.argmin()


def _starts(n, seed):
    generator = seeded(seed)
    return 16 * torch.rand(n, 2, generator=generator, dtype=torch.float64) - 8, generator


def _walk(mixture, n, name, score, sigma, *, network, seed, noise=True):
    x, generator = _starts(n, seed)
    chain = {"step_size": STEP_RATIO * sigma**2, "steps": STEPS}
    walk = partial(langevin, generator=generator) if noise else gradient_ascent
    x = walk(lambda x: score(x, _level(sigma, x)), x, **chain)
    labels = {"chain": "Langevin" if noise else "without noise", "score": name, "network": network}
    return labels | _worth(mixture, x, score, [sigma], seed)


def _anneal(mixture, n, name, score, sigmas, *, network, seed):
    x, generator = _starts(n, seed)
    step = STEP_RATIO * sigmas[-1].item() ** 2
    chain = {"step_size": step, "steps_per_level": STEPS // len(sigmas), "generator": generator}
    x = annealed_langevin(score, x, sigmas, **chain)
    labels = {"chain": "annealed", "score": name, "network": network}
    return labels | _worth(mixture, x, score, sigmas.tolist(), seed)


def _worth(mixture, x, score, levels, seed):
    errors = []
    for sigma in levels:
        noised = _draws(mixture, 4000, sigma, seed + 1)
        exact = mixture.score(noised, sigma)
        off = score(noised, _level(sigma, noised)) - exact
        errors.append((off.square().sum() / exact.square().sum()).item())
    light = _nearest(mixture, x)
    sides = [x[side] for side in (~light, light)]
    return {
        "levels": len(levels),
        "sigma": levels[-1],
        "error": sum(errors) / len(errors),
        "light_share": light.double().mean().item(),
        "variances": [y.var(0).mean().item() if len(y) > 1 else None for y in sides],
        "distance_to_data": energy_distance(x, _draws(mixture, len(x), 0.0, seed + 2)),
        "distance_to_perturbed": energy_distance(x, _draws(mixture, len(x), levels[-1], seed + 3)),
    }
