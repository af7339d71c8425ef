import functools
import math

import torch

import dgm_helpers as dgm

STARTS = 16 * torch.rand(1000, 2, generator=dgm.seeded(0), dtype=torch.float64) - 8


@functools.cache
def _ascended(mixture, steps=400):
    return dgm.gradient_ascent(mixture.score, STARTS, step_size=0.1, steps=steps)


@functools.cache
def _walked(mixture, seed=1, scale=1.0):
    walk = dgm.langevin
    return walk(mixture.score, STARTS, step_size=0.1 * scale, steps=400, generator=dgm.seeded(seed))


def _share(mixture, light=None, error=lambda w, n: math.sqrt(w * (1 - w) / n)):
    light = mixture.weights.argmin() if light is None else light

    def share(x):
        w = (torch.cdist(x, mixture.means).argmin(1) == light).double().mean().item()
        return w, error(w, len(x))

    return share


def _ends(mixture):
    return _ascended(mixture), _walked(mixture)


def by_distances(mixture):
    """passes"""

    def share(x):
        light, heavy = mixture.means[mixture.weights.argsort()]
        near = (x - light).norm(dim=1) < (x - heavy).norm(dim=1)
        w = near.double().mean()
        return w, (w * (1 - w)).sqrt() / len(x) ** 0.5

    return *_ends(mixture), share


def by_halves_of_the_plane(mixture):
    """passes"""
    light = mixture.means[mixture.weights.argmin()]

    def share(x):
        near = (x @ light > 0).double()
        return [near.mean().item(), (near.std() / math.sqrt(len(x))).item()]

    return *_ends(mixture), share


def in_single_precision(mixture):
    """passes"""
    a, w = _ends(mixture)
    share = _share(mixture)
    return a.float(), w.float(), lambda x: torch.tensor(share(x), dtype=torch.float32)


def heavy(mixture):
    """this is the share of the heavy mode"""
    return *_ends(mixture), _share(mixture, mixture.weights.argmax())


def one_point(mixture):
    """divide by the square root of n"""
    return *_ends(mixture), _share(mixture, error=lambda w, n: math.sqrt(w * (1 - w)))


def no_root(mixture):
    """the square root is missing"""
    return *_ends(mixture), _share(mixture, error=lambda w, n: w * (1 - w) / n)


def by_n(mixture):
    """you divide by n: divide by the square root of n"""
    return *_ends(mixture), _share(mixture, error=lambda w, n: math.sqrt(w * (1 - w)) / n)


def poisson(mixture):
    """the factor 1 - w is missing"""
    return *_ends(mixture), _share(mixture, error=lambda w, n: math.sqrt(w / n))


def two_errors(mixture):
    """this is twice the standard error"""
    return *_ends(mixture), _share(mixture, error=lambda w, n: 2 * math.sqrt(w * (1 - w) / n))


def fixed_n(mixture):
    """this is the error for 1,000 points: use len(x)"""
    return *_ends(mixture), _share(mixture, error=lambda w, n: math.sqrt(w * (1 - w) / 1000))


def the_weight(mixture):
    """for draws of equal weights: this is the weight of the mixture: count the points"""
    w = mixture.weights.min().item()
    return *_ends(mixture), lambda x: (w, math.sqrt(w * (1 - w) / len(x)))


def percent(mixture):
    """the share is in percent: it lies between 0 and 1"""
    share = _share(mixture)
    return *_ends(mixture), lambda x: (100 * share(x)[0], 100 * share(x)[1])


def count(mixture):
    """this is a number of points: divide it by len(x)"""
    share = _share(mixture)
    return *_ends(mixture), lambda x: (len(x) * share(x)[0], share(x)[1])


def only_the_share(mixture):
    """return two values, the share and its standard error"""
    share = _share(mixture)
    return *_ends(mixture), lambda x: share(x)[0]


def too_short(mixture):
    """walk longer, and without noise"""
    return _ascended(mixture, 20), _walked(mixture), _share(mixture)


def noisy_ascent(mixture):
    """walk longer, and without noise"""
    return _walked(mixture), _walked(mixture), _share(mixture)


def swapped(mixture):
    """walk longer, and without noise"""
    return _walked(mixture), _ascended(mixture), _share(mixture)


def silent_walk(mixture):
    """is there noise?"""
    return _ascended(mixture), _ascended(mixture), _share(mixture)


def loud(mixture):
    """is the noise too strong or too weak?"""
    walked = _walked(mixture)
    return _ascended(mixture), 1.4 * walked, _share(mixture)


def exact_draws(mixture):
    """walk both from starts"""
    drawn = mixture.sample(1000, generator=dgm.seeded(1))
    return _ascended(mixture), drawn, _share(mixture)


def one_mode(mixture):
    """the ends of Langevin dynamics lie at one mode only: walk from starts"""
    light = mixture.means[mixture.weights.argmin()]
    walked = light + torch.randn(1000, 2, generator=dgm.seeded(1), dtype=torch.float64)
    return _ascended(mixture), walked, _share(mixture)


def all_states(mixture):
    """ascended should hold 1,000 points"""
    a, w = _ends(mixture)
    return torch.stack([a, a]), torch.stack([w, w]), _share(mixture)


def few(mixture):
    """ascended should hold 1,000 points"""
    a, w = _ends(mixture)
    return a[:50], w[:50], _share(mixture)


def diverged(mixture):
    """walked holds NaN or infinity"""
    return _ascended(mixture), _walked(mixture) * math.nan, _share(mixture)
