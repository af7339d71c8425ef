"""The checks of finished work: what a student's cells have made, such as a training run, pictures, seconds and figures.

Beside :mod:`dgm_helpers.checks`, which looks at functions. A check is named after the ``grade_id`` of its exercise,
prints one line if the work is right, and otherwise raises AssertionError with what it misses.
"""

import math
from numbers import Real

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

from .arguments import seeded
from .fid import frechet_distance
from .networks import UNet
from .samplers import clipped, sample_ddim
from .schedules import NoiseSchedule


def _demand(ok, message):
    if not ok:
        raise AssertionError(message)


def _kind(value):
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{type(value).__name__} {tuple(shape)}"


def _panels(axes, n):
    """The first ``n`` axes of an answer: axes, or a list or array of them. Each must say what it shows."""
    found = [axes] if isinstance(axes, Axes) else list(np.ravel(np.asarray(axes, dtype=object)))
    right = all(isinstance(ax, Axes) for ax in found)
    _demand(right, f"the axes must be those that plt.subplots returns, got {_kind(axes)}")
    _demand(len(found) >= n, f"{n} panels are needed, got {len(found)}")
    for i, ax in enumerate(found[:n], 1):
        said = ax.get_xlabel() and ax.get_ylabel()
        _demand(said, f"panel {i} needs a label at each axis: ax.set(xlabel=…, ylabel=…)")
        _demand(n == 1 or ax.get_title(), f"panel {i} needs a title that says what it shows")
    return found[:n]


def _points(ax):
    """All points that are drawn in ``ax``, as dots or along lines, (N, 2)."""
    drawn = [line.get_xydata() for line in ax.lines]
    drawn += [np.ma.getdata(part.get_offsets()) for part in ax.collections]
    drawn = [np.asarray(part, dtype=float).reshape(-1, 2) for part in drawn]
    return torch.from_numpy(np.concatenate([*drawn, np.empty((0, 2))]))


def _shows(ax, points):
    """Whether every one of ``points`` (N, 2) is drawn in ``ax``, up to rounding."""
    drawn, points = _points(ax), torch.as_tensor(points).detach().double()
    if not len(drawn):
        return False
    return bool(torch.cdist(points, drawn).amin(1).max() < 1e-4 * (1 + points.abs().max()))


def _agree(ax, score, name):
    """Raise unless the arrows in ``ax`` have the directions of ``score`` and reach both modes."""
    arrows = [part for part in ax.get_children() if isinstance(part, Quiver)]
    _demand(arrows, f"{name}: no arrows are drawn: ax.quiver(*x.T, *score.T)")
    x = torch.as_tensor(np.asarray(arrows[0].XY), dtype=torch.float64)
    uv = (np.ma.filled(part, np.nan).ravel() for part in (arrows[0].U, arrows[0].V))
    drawn = torch.as_tensor(np.stack(list(uv), 1), dtype=torch.float64)
    wide = (x.amax(0) - x.amin(0)).min()
    _demand(len(x) >= 49 and wide >= 12, f"{name}: draw at least 49 arrows, over both modes")
    with torch.no_grad():
        expected = score(x).double()
    cosine = torch.cosine_similarity(drawn, expected, dim=1)
    off = int((cosine < 0.99).logical_or(cosine.isnan()).sum())
    _demand(off <= 0.02 * len(x), f"{name}: {off} of {len(x)} arrows do not point along the score")


def _pictures(pictures, figure):
    right = isinstance(pictures, torch.Tensor) and pictures.shape == (50, 3, 16, 16)
    _demand(right, f"fifty pictures have the shape (50, 3, 16, 16), got {_kind(pictures)}")
    _demand(pictures.isfinite().all(), "the pictures hold NaN or infinity")
    x = pictures.detach().double()
    _demand(
        x.abs().max() < 1.2,
        f"the last state lies in [-1, 1], yours reaches {x.abs().max():.2f}: run to t = 0",
    )
    border = torch.cat([x[..., 0, :], x[..., -1, :], x[..., :, 0], x[..., :, -1]], -1).mean().item()
    found = f"the ground of a sprite is white, its border is 1; yours is {border:.2f}"
    _demand(border > 0.4, f"{found}: are these samples of the network, at the end of the chain?")
    apart = torch.cdist(x.flatten(1), x.flatten(1)) / math.sqrt(768) + torch.eye(50)
    _demand(apart.min() > 0.05, "two of the pictures are the same: draw a start for each")
    right = isinstance(figure, Figure)
    _demand(right, f"figure must be what dgm.plot_samples returns, got {_kind(figure)}")
    pixels = sum(image.get_array()[..., 0].size for ax in figure.axes for image in ax.images)
    _demand(pixels >= 50 * 16 * 16, "the figure does not show fifty pictures")


def check_training_run(ema, losses, ax):
    """Exercise 4, the training: the average network, the loss of each step, and their curve in ``ax``."""
    from .recipes import mean_noise_prediction_loss
    from .sprites import load_sprites

    right = isinstance(losses, (list, tuple)) and all(isinstance(loss, Real) for loss in losses)
    _demand(right, f"losses must be a list of numbers, one for each step, got {_kind(losses)}")
    _demand(len(losses) >= 150, f"train for at least 150 steps, got {len(losses)} losses")
    first, last = np.mean(losses[:5]), np.mean(losses[-40:])
    _demand(
        0.5 < first < 2,
        f"an untrained network costs about 1, yours {first:.2f} in the first five steps",
    )
    found = f"the loss should fall below 0.3, its mean over the last 40 steps is {last:.2f}"
    _demand(last < 0.3, f"{found}: is the learning rate 4e-3, and does your loss train?")
    _demand(isinstance(ema, UNet), f"ema must be the average network, got {_kind(ema)}")
    x0, labels = (y[:100] for y in load_sprites("generated").tensors())
    schedule = NoiseSchedule.linear()
    measured = mean_noise_prediction_loss(ema, x0, labels, schedule=schedule)
    _demand(measured < 0.4, f"the average costs {measured:.2f} on 100 pictures: is it trained?")
    (ax,) = _panels(ax, 1)
    curve = np.stack([np.arange(1, len(losses) + 1), np.asarray(losses, dtype=float)], 1)
    shown = any(_shows(ax, curve + [shift, 0]) for shift in (0, -1))
    _demand(shown, "the curve in ax is not losses against the step: ax.plot(losses)")
    print(f"{len(losses)} steps, the loss falls, and the curve shows it")


def check_ddpm_pictures(pictures, figure):
    """Exercise 5, fifty pictures by DDPM, and the figure that shows them."""
    _pictures(pictures, figure)
    print("fifty pictures by DDPM")


def check_ddim_pictures(pictures, figure):
    """Exercise 5, fifty pictures by DDIM in 50 steps from the start of the exercise, and their figure."""
    from .training import load_pretrained

    _pictures(pictures, figure)
    schedule, network = NoiseSchedule.linear(), load_pretrained("sprites-generated")
    eps_model = clipped(network.for_labels(torch.zeros(4, dtype=torch.int64)), schedule)
    x_T = torch.randn(50, 3, 16, 16, generator=seeded(2))[:4]
    off = (pictures[:4] - sample_ddim(eps_model, schedule, x_T, steps=50)).square().mean().sqrt()
    found = "the first pictures are not those that 50 steps of DDIM with eta = 0 make of x_T"
    _demand(off < 0.02, f"{found} (distance {off:.2f}): without noise the start decides")
    print("fifty pictures by DDIM")


def check_timings(timings):
    """Exercise 5, seconds: ``timings[name] = evaluations, seconds`` for "DDPM" and "DDIM"."""
    right = isinstance(timings, dict) and timings.keys() == {"DDPM", "DDIM"}
    _demand(right, f'timings must be a dictionary with the keys "DDPM" and "DDIM", got {timings!r}')
    for name, pair in timings.items():
        right = isinstance(pair, (tuple, list)) and len(pair) == 2
        right = right and all(isinstance(value, Real) and value > 0 for value in pair)
        _demand(right, f"timings[{name!r}] must be evaluations and seconds, got {pair!r}")
    (slow, slow_seconds), (fast, fast_seconds) = timings["DDPM"], timings["DDIM"]
    _demand(fast == 50, f"DDIM has 50 steps here, got {fast} evaluations")
    _demand(slow in (250, 1000), f"DDPM has 250 or 1,000 evaluations here, got {slow}")
    per = slow_seconds / slow, fast_seconds / fast
    _demand(
        min(per) > 1e-5,
        f"an evaluation of 50 pictures cannot take {min(per):.1e} s: measure the runs",
    )
    ratio = per[0] / per[1]
    found = f"an evaluation takes {per[0]:.3f} s in DDPM and {per[1]:.3f} s in DDIM"
    _demand(1 / 4 < ratio < 4, f"{found}; it is the same network: is all of a run measured?")
    print("both runs are timed, and an evaluation costs about the same in both")


def check_both_distances(distances, real, fakes):
    """Exercise 6, the distance of each sampler's features in ``fakes`` to those in ``real``."""
    right = isinstance(distances, dict) and distances.keys() == fakes.keys()
    _demand(right, f"distances must be a dictionary with the keys {list(fakes)}, got {distances!r}")
    for name, fake in fakes.items():
        mine, exact = (
            distances[name],
            frechet_distance(real.mean(0), real.T.cov(), fake.mean(0), fake.T.cov()),
        )
        _demand(isinstance(mine, Real), f"{name}: the distance must be a number, got {mine!r}")
        close = abs(mine - exact) < 1e-3 * exact
        found = f"{name}: got {mine:.4g}, expected {exact:.4g}"
        _demand(close, f"{found}: the distance of real and fakes[name], means and covariances")
    print("the distances of all samplers are right")


def check_mixture_field(ax, mixture):
    """Exercise 9, the exact score of ``mixture`` as arrows in ``ax``."""
    (ax,) = _panels(ax, 1)
    _agree(ax, mixture.score, "the field")
    print("the arrows are the score of your mixture")


def check_learned_fields(nets, axes, mixture):
    """Exercise 9, networks for the levels 1, 3 and 7, and the fields they have learned in three panels."""
    levels = (1.0, 3.0, 7.0)
    right = isinstance(nets, dict) and set(levels) <= nets.keys()
    _demand(right, "nets must be a dictionary with the keys 1.0, 3.0 and 7.0, a network for each")
    g = seeded(0)
    for sigma in levels:
        x = mixture.sample(2000, generator=g)
        x = (x + sigma * torch.randn(x.shape, generator=g, dtype=x.dtype)).float()
        with torch.no_grad():
            learned, exact = nets[sigma](x), mixture.score(x, sigma)
        error = ((learned - exact).square().sum() / exact.square().sum()).item()
        found = f"sigma = {sigma:.0f}: where the noised data lie, the network is {error:.0%} wrong"
        _demand(error < 0.05, f"{found}: is it trained at this level, with your loss?")
    for sigma, ax in zip(levels, _panels(axes, 3), strict=True):
        _agree(ax, lambda x, net=nets[sigma]: net(x.float()), f"sigma = {sigma:.0f}")
    print("three networks are trained, and their fields are drawn")


def check_langevin_paths(paths, axes, mixture):
    """Exercise 10, the paths of both walks from several starts, each in its panel."""
    names = ["without noise", "Langevin"]
    right = isinstance(paths, dict) and list(paths) == names
    _demand(right, f"paths must be a dictionary with the keys {names}, in this order")
    for name, path in paths.items():
        right = isinstance(path, torch.Tensor) and path.ndim == 3 and path.shape[2] == 2
        right = right and path.shape[0] > 100 and path.shape[1] >= 4 and path.isfinite().all()
        _demand(right, f"{name}: paths[…] needs (steps + 1, starts, 2) states, got {_kind(path)}")
    still, noisy = paths.values()
    same = still.shape[1] == noisy.shape[1] and torch.equal(still[0], noisy[0])
    _demand(same, "both walks must begin at the same starts")
    slope = mixture.score(still[-1]).norm(dim=1).max().item()
    _demand(
        slope < 0.01, f"without noise the ends are modes, the score there is {slope:.2g}: longer"
    )
    moved = (noisy[-1] - noisy[-20]).norm(dim=1).min().item()
    _demand(moved > 0.01, "Langevin: the last steps do not move: is there noise?")
    for (name, path), ax in zip(paths.items(), _panels(axes, 2), strict=True):
        shown = all(_shows(ax, chain) for chain in path.unbind(1))
        _demand(shown, f"{name}: its panel does not show every path: ax.plot(*path[:, i].T)")
    print("the paths of both walks are drawn")


def check_langevin_scatter(axes, ascended, walked):
    """Exercise 10, the ends of both walks from 1,000 starts as scatter plots, each in its panel."""
    ends = {"without noise": ascended, "Langevin": walked}
    for (name, x), ax in zip(ends.items(), _panels(axes, 2), strict=True):
        _demand(_shows(ax, x), f"{name}: its panel does not show all ends: ax.scatter(*x.T)")
    print("the ends of both walks are drawn")


def check_conditional_fields(axes, shown, score):
    """Exercise 11, the fields of ``score(x, sigma)`` at the levels ``shown``, each in its panel."""
    right = isinstance(shown, (list, tuple)) and all(isinstance(sigma, Real) for sigma in shown)
    _demand(right, f"shown must be a list of levels, got {_kind(shown)}")
    wide = len(set(shown)) >= 3 and min(shown) <= 1.5 and max(shown) >= 10
    _demand(wide, f"show at least three levels, from about 1 to at least 10, got {list(shown)}")
    for sigma, ax in zip(shown, _panels(axes, len(shown)), strict=True):
        _agree(ax, lambda x, sigma=sigma: score(x.float(), float(sigma)), f"sigma = {sigma:g}")
    print(f"the fields at {len(shown)} levels are drawn")


def check_annealed_samples(samples, axes, mixture):
    """Exercise 11, 1,000 ends of the plain and the annealed chain with both scores, each in its panel."""
    names = [(kind, score) for score in ("exact", "learned") for kind in ("plain", "annealed")]
    right = isinstance(samples, dict) and set(samples) == set(names)
    _demand(right, f"samples must be a dictionary with the keys {names}")
    light = int(mixture.weights.argmin())
    w = mixture.weights[light].item()
    shares = {}
    for key, x in samples.items():
        right = isinstance(x, torch.Tensor) and x.shape == (1000, 2) and x.isfinite().all()
        _demand(right, f"{key}: 1,000 points of the plane are needed, got {_kind(x)}")
        nearest = torch.cdist(x.double(), mixture.means).argmin(1)
        shares[key] = (nearest == light).double().mean().item()
        heavy = x[nearest != light].double()
        v = mixture.variances[1 - light].item() + 1
        found = f"{key}: the variance of the heavy mode is {heavy.var(0).mean():.2f}, not about"
        right = 0.6 < heavy.var(0).mean() / v < 1.6
        _demand(right, f"{found} {v:.2f}: that is v + 1 at the last level")
    for score in ("exact", "learned"):
        plain, annealed = shares["plain", score], shares["annealed", score]
        found = (
            f"{score} score: the light mode has {plain:.2f} of the plain ends and {annealed:.2f}"
        )
        right = abs(annealed - w) < 0.08 and plain > annealed + 0.08
        _demand(right, f"{found} of the annealed ones; its weight is {w:.2f}")
    for (key, x), ax in zip(samples.items(), _panels(axes, 4), strict=True):
        _demand(_shows(ax, x), f"{key}: its panel does not show all ends")
    print("the plain chains keep the shares of their starts, the annealed ones find the weights")
