"""The checks of the exercises: each takes what a student wrote and says which mistake it sees.

A check is named after the ``grade_id`` of its exercise. It prints one line if the answer is right. Otherwise it
raises AssertionError with what came, what was expected and, where the value gives it away, the mistake. Every value
is compared with the right one first, up to rounding, and only then with those of the mistakes: no right answer is
taken for a mistake. An unfinished answer keeps its NotImplementedError.
"""

import math
import re
from functools import partial
from numbers import Real

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from .arguments import seeded
from .bound import gaussian_kl
from .diffusion import perturb_input, posterior
from .fid import frechet_distance
from .langevin import annealed_langevin, langevin
from .mixtures import GaussianMixture
from .samplers import (
    ddim_step,
    ddpm_step,
    reverse_process,
    sample_ddim,
    sample_ddpm,
    sample_es_ddpm,
)
from .schedules import NoiseSchedule, at, timesteps
from .score_matching import (
    denoising_score_matching,
    exact_score_matching,
    noise_conditional_score_matching,
)

SCHEDULE = NoiseSchedule.linear()
AB, ALPHA, BETA = SCHEDULE.alpha_bar, SCHEDULE.alpha, SCHEDULE.beta
MIXTURE = GaussianMixture.from_student_number(810_100_007)
REDRAWN = "two calls with the same arguments differ: the noise is given, do not draw it anew"
UNSEEDED = "two calls with the same seed differ: draw everything from the generator that is given"
NO_GRAPH = "the loss has no gradient in the model's weights, so it cannot train: torch.no_grad, or a detach?"
SHAPES = "size|shape|broadcast"  # in the messages of errors that a reshape mends
INTS = {
    "hint": "; t and s are ints here, so alpha_bar[t] is a number",
    "when": "'int'|dimension 0|0-dim",
}


def _same(a):
    return a


def _scale(a):
    return (1 - a).sqrt()


def _variance(a):
    return 1 - a


NOISINGS = {  # a formula of x_t: the table to read a = table[t] from, and the factors of x0 and of the noise
    "both square roots are missing": (AB, _same, _variance),
    "the square root of 1 - alpha_bar is missing": (AB, torch.sqrt, _variance),
    "the square root of alpha_bar is missing": (AB, _same, _scale),
    "x0 is not multiplied by the square root of alpha_bar": (AB, torch.ones_like, _scale),
    "the factors of x0 and of the noise are swapped": (AB, _scale, torch.sqrt),
    "off by one: you use t - 1": (torch.cat([AB[:1], AB[:-1]]), torch.sqrt, _scale),
    "off by one: you use t + 1": (torch.cat([AB[1:], AB[-1:]]), torch.sqrt, _scale),
    "the product runs to T, not to t": (AB[-1].expand(1001), torch.sqrt, _scale),
    "alpha in place of alpha_bar": (ALPHA, torch.sqrt, _scale),
}


def _demand(ok, message):
    if not ok:
        raise AssertionError(message)


def _kind(value):
    if value is None:
        return "None (is a return missing?)"
    shape = getattr(value, "shape", None)
    if shape is None:
        return type(value).__name__
    return f"{type(value).__name__} of {value.dtype}, shape {tuple(shape)}"


def _call(fn, *arguments, hint="", when="", **keywords):
    """The answer of the student's function, which may neither fail nor change its arguments.

    ``hint`` is added to the message of an error that matches the pattern ``when``.
    """
    given = [a.clone() if isinstance(a, torch.Tensor) else a for a in arguments]
    try:
        answer = fn(*given, **keywords)
    except AssertionError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, NotImplementedError) and not error.args:
            raise  # the exercise as handed out
        more = hint if re.search(when, str(error)) else ""
        raise AssertionError(
            f"your function raised {type(error).__name__}: {error}{more}"
        ) from error
    for i, (before, after) in enumerate(zip(arguments, given, strict=True), 1):
        changed = isinstance(before, torch.Tensor) and not torch.equal(before, after)
        message = f"your function changed its argument {i} in place: make a new tensor instead"
        _demand(not changed, message)
    return answer


def _tensor(answer, shape, hint="", name="the result"):
    """The answer in float64, if it is a finite float tensor of the given shape."""
    right = (
        isinstance(answer, torch.Tensor) and answer.is_floating_point() and answer.shape == shape
    )
    more = hint if isinstance(answer, torch.Tensor) else ""
    _demand(
        right, f"{name} must be a float tensor of shape {tuple(shape)}, got {_kind(answer)}{more}"
    )
    _demand(answer.isfinite().all(), f"{name} holds NaN or infinity{hint}")
    return answer.double()


def _number(answer, name="the result"):
    """The answer as a float, if it is one finite number."""
    if isinstance(answer, (torch.Tensor, np.ndarray)) and math.prod(answer.shape) == 1:
        answer = answer.item()
    _demand(isinstance(answer, Real), f"{name} must be a number, got {_kind(answer)}")
    _demand(math.isfinite(answer), f"{name} must be finite, got {answer}")
    return float(answer)


def _pair(answer, names):
    right = isinstance(answer, (tuple, list)) and len(answer) == 2
    right = right or isinstance(answer, (torch.Tensor, np.ndarray)) and answer.shape[:1] == (2,)
    _demand(right, f"return two values, {names}, got {_kind(answer)}")
    return answer


def _per_item(value, n, name, dtype=None):
    """Raise unless a model was given one timestep or level for each of n items."""
    right = isinstance(value, torch.Tensor) and value.shape == (n,)
    wanted = f"a {dtype or 'float'} tensor of shape ({n},), one for each item"
    message = f"the model must get {name} as {wanted}, got {_kind(value)}"
    _demand(right and value.dtype == (dtype or value.dtype), message)


def _compare(mine, exact, mistakes, where="", hint="", tol=1e-5):
    """Accept what is ``exact`` up to rounding; else name the mistake whose value it has, or say what came."""
    mine, exact = (torch.as_tensor(v, dtype=torch.float64).detach() for v in (mine, exact))

    def fits(value):
        value = torch.as_tensor(value, dtype=torch.float64).detach()
        return (mine - value).abs().max() <= tol * value.abs().max() + min(tol, 1e-5) / 10

    if fits(exact):
        return
    worst = (mine - exact).abs().argmax()
    found = f"got {mine.flatten()[worst]:.6g}, expected {exact.flatten()[worst]:.6g}"
    for mistake, value in mistakes.items():
        _demand(not fits(value), f"{where}{mistake}; {found}")
    raise AssertionError(f"{where}{found}{hint}")


def _randn(*shape, seed):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def _array(answer, name, n):
    """The answer as a float64 tensor (n,), if it is an array, a list or a tensor of that."""
    try:
        array = answer.detach().numpy() if isinstance(answer, torch.Tensor) else np.asarray(answer)
    except ValueError:
        array = np.asarray(None)
    right = array.shape == (n,) and array.dtype == np.float64
    got = _kind(answer) if array.dtype == object else f"shape {array.shape} and {array.dtype}"
    _demand(right, f"{name} needs T + 1 = {n} entries in float64, got {got}")
    return torch.from_numpy(array)


def check_linear_schedule(fn):
    """Exercise 1, linear schedule: ``fn(T, beta_1, beta_T)`` returns α and ᾱ from index 0 to T."""
    for T, beta_1, beta_T in ((1000, 1e-4, 0.02), (10, 0.01, 0.3)):
        schedule = NoiseSchedule.linear(T, beta_1, beta_T)
        alpha, alpha_bar, beta = schedule.alpha, schedule.alpha_bar, schedule.beta
        answer = _pair(_call(fn, T, beta_1, beta_T), "alpha and alpha_bar")
        names = ("alpha", "alpha_bar")
        mine = [_array(a, name, T + 1) for a, name in zip(answer, names, strict=True)]
        usual = NoiseSchedule.linear(T)
        long = torch.linspace(beta_1, beta_T, T + 1, dtype=torch.float64)[1:]
        own = [
            {
                "alpha holds beta": beta[1:],
                "alpha holds alpha_bar: return alpha first": alpha_bar[1:],
                "beta is spaced over T + 1 numbers: there are T, from beta_1 to beta_T": 1 - long,
                "beta_1 and beta_T are not used": usual.alpha[1:],
            },
            {
                "alpha_bar is alpha; take the running product": alpha[1:],
                "every entry is the product to T, not to t": alpha_bar[-1].expand(T),
                "alpha_bar is the product of beta, not of 1 - beta": beta[1:].cumprod(0),
            },
        ]
        hints = "it is 1 - beta, with beta evenly spaced", "is it the product of 1 - beta?"
        rows = zip(names, mine, (alpha, alpha_bar), own, hints, strict=True)
        for name, array, exact, mistakes, hint in rows:
            mistakes |= {
                f"{name} is off by one: t holds t - 1": exact[:-1],
                f"{name} is off by one: t holds t + 1": torch.cat([exact[2:], array[-1:]]),
                f"you return the square root of {name}": exact[1:].sqrt(),
            }
            where = f"T = {T}, beta from {beta_1} to {beta_T}: "
            _compare(array[1:], exact[1:], mistakes, where, f" in {name}: {hint}", tol=1e-9)
            _demand(array[0] == 1, f"{name}[0] must be 1 (no noise yet), got {array[0]}")
        if T == 1000:
            end = mine[1][-1]
    print(f"alpha_bar_T = {end:.4e}")


def _wrongly_noised(x0, t, noise):
    """What each of the mistakes of one-shot noising makes of x0."""
    read = {name: (at(table, t, x0), *factors) for name, (table, *factors) in NOISINGS.items()}
    return {name: f(a) * x0 + g(a) * noise for name, (a, f, g) in read.items()}


def check_perturb_input(fn):
    """Exercise 1, one-shot noising: ``fn(schedule, x0, t, noise)`` returns x_t, for t of int64 (B,)."""
    reshape = "; alpha_bar[t] needs the shape (B, 1, …, 1), with as many axes as x0"
    pictures, points = (3, 4, 4), (2,)
    for shape, t in ((pictures, [700, 1, 300, 999, 10]), (points, [1000, 0, 5])):
        t = torch.tensor(t)
        x0, noise = _randn(2, len(t), *shape, seed=len(t)).float()
        calls = [(SCHEDULE, x0, t, w) for w in (noise, noise, 0 * noise)]
        answer, again, still = (_call(fn, *c, hint=reshape, when=SHAPES) for c in calls)
        mine = _tensor(answer, x0.shape, reshape)
        found = f"expected {x0.dtype}, got {answer.dtype}"
        _demand(answer.dtype == x0.dtype, f"{found}: cast back from float64")
        _demand(torch.equal(answer, again), REDRAWN)
        _demand(not torch.equal(answer, still), "the noise that is given is not used")
        exact, mistakes = perturb_input(SCHEDULE, x0, t, noise), _wrongly_noised(x0, t, noise)
        hint = ": compare with the closed form term by term"
        _compare(mine, exact, mistakes, f"t = {t.tolist()}: ", hint)
    print("x_t agrees with the closed form, for pictures and for points")


def _misread(t, s):
    """Mistakes in reading the table for a step from t to s: the two timesteps that are read instead."""
    shifts = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, 1))
    pairs = [(t + i, s + j) for i, j in shifts if 0 <= s + j < t + i <= 1000]
    return {"s is not used: the step leads to s, yours to t - 1": (t, t - 1)} | {
        f"alpha_bar is off by one: read at {i} and {j}": (i, j) for i, j in pairs
    }


def _rounding(t):
    """The tolerance at t: where 1 - alpha_bar is small, it has few digits in float32, which is right as well."""
    return 1e-5 if t > 50 else 2e-3


def check_posterior(fn):
    """Exercise 2, the posterior: ``fn(schedule, x0, x_t, t, s)`` returns mean and variance of q(x_s | x_t, x_0)."""
    x0, x_t = _randn(2, 5, 2, seed=1)
    for t, s in ((500, 499), (500, 200), (1000, 900), (2, 1), (1, 0), (30, 0)):
        answer = _pair(_call(fn, SCHEDULE, x0, x_t, t, s, **INTS), "mean and variance")
        mean, variance = _tensor(answer[0], x_t.shape, name="the mean"), answer[1]
        if getattr(variance, "shape", None) == (5, 1) and (variance == variance[0]).all():
            variance = variance[0]  # one for each item is right as well
        variance = _number(variance, "the variance")
        a_t, a_s, one = AB[t], AB[s], ALPHA[t]
        alpha = a_t / a_s

        def weighted(a, b, alpha=alpha):
            return (a * (1 - alpha) * x0 + b * (1 - a_s) * x_t) / (1 - a_t)

        right_mean, right_variance = posterior(SCHEDULE, x0, x_t, t, s)
        misread = {k: posterior(SCHEDULE, x0, x_t, *pair) for k, pair in _misread(t, s).items()}
        step = "alpha_t leads from t - 1 to t; from s to t it is alpha_bar_t / alpha_bar_s"
        mistakes = {
            "the square root of alpha_bar is missing at x0": weighted(a_s, alpha.sqrt()),
            "the square root of alpha is missing at x_t": weighted(a_s.sqrt(), alpha),
            "both square roots are missing": weighted(a_s, alpha),
            "x0 and x_t are swapped": posterior(SCHEDULE, x_t, x0, t, s)[0],
            "alpha stands at x0 where alpha_bar_s belongs": weighted(alpha.sqrt(), alpha.sqrt()),
            step: weighted(a_s.sqrt(), one.sqrt(), one),
        } | {mistake: values[0] for mistake, values in misread.items()}
        where, tol = f"at t = {t}, s = {s}: ", _rounding(t)
        last = ": at s = 0 the state is x0 itself, so the mean must be x0 and the variance 0"
        hint = ": Bayes' rule fails, the square is not completed" if s else last
        _compare(mean, right_mean, mistakes, f"mean {where}", hint, tol)
        mistakes = {
            "you return the variance of the step forward, 1 - alpha_bar_t / alpha_bar_s": 1 - alpha,
            "you return the standard deviation, not the variance": right_variance.sqrt(),
            step: (1 - one) * (1 - a_s) / (1 - a_t),
        } | {mistake: values[1] for mistake, values in misread.items()}
        _compare(variance, right_variance, mistakes, f"variance {where}", hint, tol)
    print("Bayes' rule holds for six pairs s < t, next to each other and far apart")


def check_gaussian_kl(fn):
    """Exercise 3, the divergence of two Gaussians: ``fn(mean1, variance1, mean2, variance2)`` in nats, (B,)."""
    m1, m2, v1, v2 = _randn(4, 5, 3, 4, 4, seed=3)
    v1, v2 = v1.exp(), v2.exp()
    shared = m1, v1[:, :1, :1, :1], m2, v2[0, 0, 0, 0]
    cases = {
        "points, variances like the means": [y[:, :, 0, 0] for y in (m1, v1, m2, v2)],
        "pictures, one variance for each of them and one for all": shared,
    }
    hint = ": one number for each item, summed over all its coordinates"
    for name, case in cases.items():
        mean1, variance1, mean2, variance2 = case
        mine, exact = _tensor(_call(fn, *case), (5,), hint), gaussian_kl(*case)
        d, ratio = mean1[0].numel(), variance1 / variance2
        moved = ((mean1 - mean2).square() / variance2).flatten(1).sum(1)
        linear = ((mean1 - mean2) / variance2).flatten(1).sum(1)
        logs = ratio.log().expand_as(mean1).flatten(1).sum(1)
        once = ((ratio - 1 - ratio.log()).flatten(1).sum(1) + moved) / 2
        squared = gaussian_kl(mean1, variance1**2, mean2, variance2**2)
        mistakes = {
            "the arguments are swapped: q comes first": gaussian_kl(*case[2:], *case[:2]),
            "the factor 1/2 is missing": 2 * exact,
            "in nats, please, not in bits": exact / math.log(2),
            "the variances are taken for standard deviations": squared,
            "sum over the coordinates, not mean": exact / d,
            "the sign of the logarithm is wrong": exact + logs,
            "the difference of the means is not squared": exact + (linear - moved) / 2,
            "the means are left out": exact - moved / 2,
            "a variance that is shared counts for every coordinate, you count it once": once,
        }
        _compare(mine, exact, mistakes, f"{name}: ")
    itself = _tensor(_call(fn, m1, v1, m1, v1), (5,), hint).abs().max()
    _demand(itself < 1e-5, f"equal laws have divergence 0, got {itself:.2e}")
    print("the divergence is right for points and pictures, and 0 for equal laws")


BANDS = torch.tensor([0, 1, 2, 5, 20, 100, 200, 400, 600, 800, 1000])


def _is_flat(squares, t):
    """Whether the mean of the squares of normal numbers, a row for each t, is the same in all bands of t."""
    mean, band = squares.mean(), torch.bucketize(t, BANDS)
    parts = [squares[band == k] for k in band.unique()]
    return all(abs(part.mean() / mean - 1) < 7 * math.sqrt(2 / part.numel()) for part in parts)


def check_batch_loss(fn):
    """Exercise 4, the loss of a batch: ``fn(eps_model, schedule, x0, generator)`` returns one loss for each picture."""

    def run(x0, answer=torch.zeros_like):
        """The losses where the model's answer is ``answer(x_t)``, and the x_t and t that it got."""
        seen = []

        def model(x_t, t):
            _per_item(t, len(x0), "t", torch.int64)
            _tensor(x_t, x0.shape, name="the x_t that the model gets")
            found = f"the model must get x_t in {x0.dtype} like x0, got {x_t.dtype}"
            _demand(x_t.dtype == x0.dtype, f"{found}: cast back from float64")
            seen.append((x_t.detach().double(), t.clone()))
            return answer(x_t)

        reshape = ". Reshape a coefficient of each picture to (B, 1, …, 1)"
        loss = _call(fn, model, SCHEDULE, x0, seeded(0), hint=reshape, when=SHAPES)
        loss = _tensor(loss, x0.shape[:1], ": one loss per picture is expected")
        _demand(seen, "eps_model was not called")
        return loss, *seen[-1]

    _, x_t, t = run(torch.zeros(20_000, 4))
    distinct = len(t.unique())
    _demand(distinct > 1, "every picture needs its own t, got one t for the whole batch")
    _demand(t.min() > 0, "t = 0 was drawn, but t = 0 is clean data: draw from 1…T")
    _demand(t.max() == 1000, f"t must reach T = 1000, the largest was {t.max()}")
    uniform = "every picture needs its own t, uniform in 1…T"
    _demand(distinct == 1000, f"{uniform}, got {distinct} different ones of 20,000")
    tenths = torch.bincount((t - 1) // 100)
    found = f"{tenths.tolist()} of 20,000 fell into the ten tenths"
    _demand((tenths - 2000).abs().max() < 250, f"{uniform}, got {found}")

    few = torch.zeros(1000, 4)
    first, again, moved = run(few), run(few), run(few + 3)
    _demand(all(map(torch.equal, first, again)), UNSEEDED)
    signal = moved[1] - first[1]  # of the same draws: 3 times the factor of x0

    def fits(table, factor, scale):
        near = (signal - 3 * factor(table[first[2]])[:, None]).abs().max() < 1e-5
        scales = scale(table[t])
        some = scales > 0
        return near and _is_flat((x_t[some] / scales[some, None]).square(), t[some])

    if not fits(AB, torch.sqrt, _scale):
        formula = "x_t is not √alpha_bar x0 + √(1 - alpha_bar) noise: "
        for mistake, noising in NOISINGS.items():
            _demand(not fits(*noising), formula + mistake)
        raise AssertionError(f"{formula}compare it term by term")
    noise = x_t / _scale(AB[t])[:, None]
    shape = ": draw it in the shape of x0"
    _demand(noise.std(0).min() > 0.1, f"all pictures got the same noise{shape}")
    _demand(noise.std(1).max() > 0.1, f"all values of a picture got the same noise{shape}")
    mean, variance, fourth = noise.mean(), noise.var(), noise.pow(4).mean()
    right = abs(mean) < 0.05 and abs(variance - 1) < 0.05
    found = f"its mean is {mean:.2f} and its variance is {variance:.2f}, expected 0 and 1"
    _demand(right, f"the noise is not standard normal: {found} (torch.rand has 0.5 and 0.08)")
    found = f"its fourth moment is {fourth:.2f}, expected 3"
    _demand(abs(fourth - 3) < 0.5, f"the noise is not normal: {found}: torch.randn")

    loss, x_t, t = first
    noise = x_t / _scale(AB[t])[:, None]
    squares, size = noise.square(), noise.abs()
    exact, huber = squares.mean(1), torch.where(size < 1, squares / 2, size - 0.5).mean(1)
    mistakes = {
        "the sum over the values instead of the mean": squares.sum(1),
        "the absolute error: the square is asked for": size.mean(1),
        "the root of the mean square: leave out the root": exact.sqrt(),
        "Huber's loss: the square is asked for": huber,
        "half the mean square: leave out the 1/2": exact / 2,
        "for x0 = 0 it costs nothing to say 0: is x0 the target? It is the noise": 0 * exact,
        "the target is x_t, it should be the noise": x_t.square().mean(1),
    }
    where = "the model says 0, the loss is not the mean square of the noise: "
    hint = ": is the noise of the loss the noise in x_t?"
    _compare(loss, exact, mistakes, where, hint, tol=1e-3)
    knowing = run(few, lambda _: noise.float())[0]
    mistakes = {"the model's answer is added to the noise, not subtracted": 4 * exact}
    _compare(knowing, 0 * exact, mistakes, "a model that knows the noise must cost 0: ", tol=1e-3)

    pictures = torch.randn(16, 3, 16, 16, generator=seeded(1))
    (loss, plain, t), x_t = run(0 * pictures), run(pictures)[1]
    a = at(AB, t, pictures)
    hint = ": does the coefficient of picture i multiply picture i (shape (B, 1, …, 1))?"
    _compare(x_t - plain, a.sqrt() * pictures, {}, "pictures, x0 in x_t: ", hint)
    exact = (plain / _scale(a)).square().flatten(1).mean(1)
    _compare(loss, exact, {}, "pictures, the loss: ", hint, tol=1e-3)
    weight = torch.ones((), requires_grad=True)
    loss = _call(fn, lambda x_t, t: weight * x_t, SCHEDULE, pictures, seeded(0))
    _demand(loss.requires_grad, NO_GRAPH)
    print("batch_loss is right")


def check_ddpm_step(fn):
    """Exercise 5, a step of DDPM: ``fn(schedule, x_t, eps, t, s, noise)`` returns x_s, with the small variance."""
    x_t, eps, z = _randn(3, 4, 3, seed=0)

    def package(t, s, z, **variance):
        return ddpm_step(SCHEDULE, x_t, eps, t, s, z, **variance)

    for t, s in ((500, 499), (500, 200), (1000, 980), (2, 1), (1, 0), (20, 0)):
        where = f"t = {t}, s = {s}: "
        calls = [(SCHEDULE, x_t, eps, t, s, w) for w in (z, z, 0 * z)]
        hint = f" at t = {t}, s = {s}"
        mine, again, mean = (_tensor(_call(fn, *c, **INTS), x_t.shape, hint) for c in calls)
        _demand(torch.equal(mine, again), REDRAWN)
        a_t, a_s, noise = AB[t], AB[s], mine - mean
        alpha = a_t / a_s
        beta, one = 1 - alpha, BETA[t]
        sigma = (beta * (1 - a_s) / (1 - a_t)).sqrt()
        last = "noise is added at the last step: at s = 0 the posterior variance is 0"
        _demand(s > 0 or noise.abs().max() < 1e-7, last)
        misread = _misread(t, s)
        step = "alpha_t leads from t - 1 to t; from s to t, alpha is alpha_bar_t / alpha_bar_s"
        mistakes = {
            "sigma z is missing": 0 * z,
            "z is multiplied by the variance, not by its square root": sigma**2 * z,
            "sigma is the large one, the root of beta; the small one is asked for": beta.sqrt() * z,
            step: (one * (1 - a_s) / (1 - a_t)).sqrt() * z,
        }
        mistakes |= {k: package(*pair, z) - package(*pair, 0 * z) for k, pair in misread.items()}
        factor = f", the factor of z is {(noise / z).mean():.5f}, expected {sigma:.5f}"
        _compare(noise, sigma * z, mistakes, f"{where}in sigma z: ", factor, _rounding(t))

        def with_factors(under_beta, under_all, beta=beta):
            return (x_t - beta / under_beta * eps) / under_all

        b = (1 - a_t).sqrt()
        mistakes = {
            "the square root of 1 - alpha_bar_t is missing": with_factors(b**2, alpha.sqrt()),
            "the square root of alpha is missing": with_factors(b, alpha),
            "both square roots are missing": with_factors(b**2, alpha),
            "the root of alpha_bar_t stands in place of that of alpha": with_factors(b, a_t.sqrt()),
            step: with_factors(b, (1 - one).sqrt(), one),
        }
        mistakes |= {mistake: package(*pair, 0 * z) for mistake, pair in misread.items()}
        _compare(mean, package(t, s, 0 * z), mistakes, where, ": the mean is wrong", _rounding(t))
    _single_precision(fn, x_t, eps, z)
    print("one step agrees for six pairs of timesteps, next to each other and far apart")


def _single_precision(fn, x_t, eps, z):
    """Raise unless a step of float32 pictures, as the reverse loop takes it, gives float32."""
    answer = _call(fn, SCHEDULE, x_t.float(), eps.float(), 500, 499, z.float())
    found = f"x_t is float32, so x_s must be, got {answer.dtype}"
    _demand(answer.dtype == torch.float32, f"{found}: cast back from float64")


def check_ddim_step(fn):
    """Exercise 5, a step of DDIM: ``fn(schedule, x_t, eps, t, s, noise, eta=0.0)`` returns x_s.

    Where eta is 0, the noise may be None.
    """
    x_t, eps, z = _randn(3, 4, 3, seed=0)

    def mean(a_t, a_s, sigma2, bare=None):
        values = (a_t, 1 - a_t, a_s, (1 - a_s - sigma2).clamp(min=0))
        a, b, c, d = (value if i == bare else value.sqrt() for i, value in enumerate(values))
        return c * (x_t - b * eps) / a + d * eps

    def small(a_t, a_s):
        return (1 - a_s) / (1 - a_t) * (1 - a_t / a_s)

    steps = ((200, 150, 1.0), (500, 400, 0.5), (1000, 980, 0.0), (20, 0, 1.0), (1, 0, 1.0))
    for t, s, eta in steps:
        a_t, a_s = AB[t], AB[s]
        sigma2, where = eta**2 * small(a_t, a_s), f"t = {t}, s = {s}, eta = {eta}: "
        root = "is a root of a negative number taken, or the variance the large one?"
        hint = f" at t = {t}, s = {s}, eta = {eta}: {root}"
        calls = [(SCHEDULE, x_t, eps, t, s, w) for w in (z, z, 0 * z)]
        answers = [_call(fn, *c, eta=eta, **INTS) for c in calls]
        mine, again, rest = (_tensor(answer, x_t.shape, hint) for answer in answers)
        _demand(torch.equal(mine, again), REDRAWN)
        noise = mine - rest
        none = noise.abs().max() < 1e-7
        _demand(s > 0 or none, "noise is added at the last step: at s = 0 sigma is 0")
        _demand(eta > 0 or none, "noise is added where eta is 0: sigma is 0 there")
        pairs = {mistake: (AB[i], AB[j]) for mistake, (i, j) in _misread(t, s).items()}
        large, root = (1 - a_t / a_s).sqrt(), small(a_t, a_s).sqrt()
        flipped = large**2 / root if s else 0
        mistakes = {
            "sigma z is missing": 0 * z,
            "sigma is the large one; the small one is asked for": eta * large * z,
            "z is multiplied by the variance, not by its square root": sigma2 * z,
            "eta stands under the square root: sigma is eta times the root": eta**0.5 * root * z,
            "t and s are swapped in (1 - alpha_bar_s) / (1 - alpha_bar_t)": eta * flipped * z,
        }
        mistakes |= {mistake: eta * small(*pair).sqrt() * z for mistake, pair in pairs.items()}
        factor = f", the factor of z is {(noise / z).mean():.4f}, expected {sigma2.sqrt():.4f}"
        _compare(noise, sigma2.sqrt() * z, mistakes, f"{where}in sigma z: ", factor, _rounding(t))
        whole = mean(a_t, a_s, 0 * sigma2)
        mistakes = {
            "sigma^2 is not taken off the old noise": whole,
            "sigma^2 is taken off under the root, not sigma behind it": whole - sigma2.sqrt() * eps,
        }
        names = ("alpha_bar_t", "1 - alpha_bar_t", "alpha_bar_s", "1 - alpha_bar_s - sigma^2")
        for i, name in enumerate(names):
            mistakes |= {f"the square root of {name} is missing": mean(a_t, a_s, sigma2, i)}
        mistakes |= {mistake: mean(*pair, eta**2 * small(*pair)) for mistake, pair in pairs.items()}
        exact = ddim_step(SCHEDULE, x_t, eps, t, s, 0 * z, eta=eta)
        hint = ": a factor of x0_hat or of eps is wrong"
        _compare(rest, exact, mistakes, where, hint, _rounding(t))
    plain = ddim_step(SCHEDULE, x_t, eps, 500, 499)
    default = _tensor(_call(fn, SCHEDULE, x_t, eps, 500, 499, z), x_t.shape)
    _compare(default, plain, {}, "without eta: ", ": the default of eta must be 0")
    hint = ": where eta is 0 there may be no noise, so do not touch it"
    default = _tensor(_call(fn, SCHEDULE, x_t, eps, 500, 499, None, hint=hint), x_t.shape)
    _compare(default, plain, {}, "without noise: ")
    _single_precision(fn, x_t, eps, z)
    print("one step agrees for five pairs of timesteps and three eta, with and without noise")


def check_count_evaluations(fn):
    """Exercise 5, the cost of sampling: ``fn(sampler)`` returns how often the sampler calls its network.

    It is called as ``sampler(eps_model, schedule, x_T, generator=g)``.
    """
    sizes = [1]

    def seven(eps_model, schedule, x_T, *, generator=None):
        for t in range(7, 0, -1):
            eps_model(x_T, torch.full((len(x_T),), t))
        return x_T

    def ddim(*arguments, **more):
        return sample_ddim(*arguments, steps=50, **more)

    total = 0
    samplers = {
        "DDIM with 50 steps": (ddim, 50),
        "seven calls": (seven, 7),
        "DDPM with 1000 steps": (sample_ddpm, 1000),
    }
    for name, (sampler, calls) in samplers.items():

        def watched(eps_model, schedule, x_T, sampler=sampler, **more):
            sizes.append(len(x_T))
            return sampler(eps_model, schedule, x_T, **more)

        mine, total = _number(_call(fn, watched), "the count"), total + calls
        mistakes = {
            "off by one: no call is made at t = 0": calls + 1,
            "a call for the whole batch is one evaluation": sizes[-1] * calls,
            "the count goes on from the sampler before: start at 0": total,
        }
        _compare(mine, calls, mistakes, f"{name}: ", tol=0)
    print("network evaluations: DDIM 50, DDPM 1000")


def check_frechet_distance(fn):
    """Exercise 6, the Fréchet distance of two Gaussians: ``fn(mean1, cov1, mean2, cov2)`` returns a float."""

    def root(matrix):
        values, vectors = torch.linalg.eigh(matrix)
        return vectors * values.clamp(min=0).sqrt() @ vectors.T

    real = ": the root of a product can be complex by rounding, take its real part"
    hint = {"hint": real, "when": "complex|overflow"}
    for d, rank in ((1, 1), (3, 3), (8, 20), (8, 3)):
        m1, m2 = _randn(2, d, seed=11)
        c1, c2 = (factor @ factor.T / rank for factor in _randn(2, d, rank, seed=12))
        where = f"D = {d}, rank {min(d, rank)}: "
        mine, itself = (_call(fn, m1, c1, *other, **hint) for other in ((m2, c2), (m1, c1)))
        _demand(isinstance(mine, float), f"{where}return a float, got {_kind(mine)}")
        _demand(math.isfinite(mine), f"{where}got {mine}; is a root of a negative number taken?")
        exact = frechet_distance(m1, c1, m2, c2)
        gap, traces = (m1 - m2).square().sum().item(), (c1.trace() + c2.trace()).item()
        without_root, product = gap + traces, c1 @ c2
        saved = without_root - exact  # twice the trace of the root
        entries, roots = product.diagonal().clamp(min=0).sqrt().sum(), (root(c1) @ root(c2)).trace()
        mistakes = {
            "the eigenvalues are summed without their root": without_root - 2 * product.trace(),
            "the root is taken entry by entry": without_root - 2 * entries,
            "two roots are multiplied, but they do not commute": without_root - 2 * roots,
            "the difference of the means is not squared": exact - gap + math.sqrt(gap),
            "the factor 2 in front of the root is missing": exact + saved / 2,
            "the sign of the root's trace is wrong": exact + 2 * saved,
            "the means are left out": exact - gap,
            "the traces are left out": exact - traces,
        }
        _compare(mine, exact, mistakes, where)
        message = f"{where}the distance of a Gaussian from itself is 0, got {itself:.2e}"
        _demand(abs(itself) < 1e-5 * traces, message)
    print("agrees for four pairs of Gaussians, one of them of low rank, and is 0 from itself")


def check_es_sampler(fn):
    """Exercise 7, Early-Stopped DDPM: ``fn(eps_model, schedule, proposals, *, stop_at, generator)``: the samples."""
    calls, proposals = [], 3 + _randn(40, 2, seed=2)

    def spy(x, t):
        _per_item(t, 40, "t", torch.int64)
        calls.append((t[0].item(), x.clone()))
        return torch.zeros_like(x)

    def run(model, stop_at, seed):
        answer = _call(fn, model, SCHEDULE, proposals, stop_at=stop_at, generator=seeded(seed))
        return _tensor(answer, proposals.shape)

    kept = run(spy, 0, 0)
    _demand(not calls, f"stop_at = 0 needs no network, yours was called {len(calls)} times")
    _compare(kept, proposals, {}, "stop_at = 0 must return the proposals unchanged: ")
    run(spy, 200, 0)
    visited = [t for t, _ in calls]
    _demand(visited[:1] != [1000], "the first call is at t = 1000: start at stop_at")
    found = f"got {len(visited)} from {visited[:1]} to {visited[-1:]}: off by one? (t = 0 is clean data)"
    _demand(visited == list(range(200, 0, -1)), f"200 calls at t = 200, ..., 1 expected, {found}")
    noise, rand = _randn(40, 2, seed=0), torch.rand(40, 2, generator=seeded(0), dtype=torch.float64)
    uniform = perturb_input(SCHEDULE, proposals, 200, rand)
    mistakes = _wrongly_noised(proposals, 200, noise) | {
        "the network saw proposals without noise": proposals,
        "the proposals are not used, this is the noise alone": noise,
        "the noise is uniform, it must be normal: torch.randn": uniform,
    }
    first, exact = calls[0][1].double(), perturb_input(SCHEDULE, proposals, 200, noise)
    _compare(first, exact, mistakes, "the first state: ", ": is its noise the first draw?")

    oracle = GaussianMixture([1.0], [[1.0, -1.0]], [0.3]).eps_model(SCHEDULE)

    def variant(step):
        g = seeded(1)
        noise = torch.randn(40, 2, generator=g, dtype=torch.float64)
        x = perturb_input(SCHEDULE, proposals, 20, noise)
        *_, last = reverse_process(oracle, SCHEDULE, x, timesteps(20, 20), step, generator=g)
        return last.x

    def never_silent(schedule, x_t, eps, t, s, noise):
        x_s = ddpm_step(schedule, x_t, eps, t, s, noise)
        return x_s if s else x_s + BETA[1].sqrt() * noise

    large = variant(partial(ddpm_step, variance="large"))
    mistakes = {
        "sigma is the large one; the small one is asked for": large,
        "the steps add no noise": variant(lambda *a: ddpm_step(*a[:5], 0 * a[5])),
        "noise is added at the last step": variant(never_silent),
    }
    mine, again = run(oracle, 20, 1), run(oracle, 20, 1)
    _demand(torch.equal(mine, again), UNSEEDED)
    exact = sample_es_ddpm(oracle, SCHEDULE, proposals, stop_at=20, generator=seeded(1))
    hint = ": the steps are not DDPM's with the small variance, or the draws' order differs"
    _compare(mine, exact, mistakes, hint=hint)
    print("200 calls from t = 200 on; the samples agree with the package's")


def _bent_score():
    """A score with a full Jacobian: the function, its matrix A, points, and the score and its Jacobian there."""
    A = torch.tensor([[-2.0, 1.0, 0.5], [0.3, -1.0, 0.0], [0.2, 0.7, 0.4]], dtype=torch.float64)
    x = _randn(6, 3, seed=2)
    jacobian = A + torch.diag_embed(torch.cos(x))
    return lambda y: y @ A.T + torch.sin(y), A, x, x @ A.T + torch.sin(x), jacobian


def check_scores_exact(fn):
    """Exercise 8, exact score matching: ``fn(score, x)`` returns ½‖s‖² + tr ∇s for each item."""
    score, _, x, s, jacobian = _bent_score()
    got = _tensor(_call(fn, score, x), (6,), ": one loss for each item")
    half, trace = s.square().sum(1) / 2, jacobian.diagonal(dim1=1, dim2=2).sum(1)
    rows = (
        "the gradient of s.sum() mixes all rows; take one row at a time and keep its diagonal entry"
    )
    mistakes = {
        f"you summed the whole Jacobian: {rows}": half + jacobian.sum((1, 2)),
        "the factor 1/2 is missing": 2 * half + trace,
        "the sign of the trace is wrong": half - trace,
        "the trace is missing": half,
    }
    _compare(got, half + trace, mistakes)
    _check_gradient(fn, x, 2 * x.square().sum(1).mean() - 3)
    print("the loss and its gradient are right")


class _Work(TorchDispatchMode):
    """Counts the numbers that are made by the operations inside, on whatever way they are called."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # or else torch imports its compiler here: two seconds

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        answer = function(*arguments, **(keywords or {}))
        self.numbers += answer.numel() if isinstance(answer, torch.Tensor) else 0
        return answer


def check_scores_sliced(fn):
    """Exercise 8, sliced score matching: ``fn(score, x, v)`` returns vᵀ∇s v + ½(vᵀs)² for each item."""
    score, A, x, s, jacobian = _bent_score()
    v = _randn(6, 3, seed=12)
    got = _tensor(_call(fn, score, x, v), (6,), ": one loss for each item")
    row, square = torch.einsum("bi,bij->bj", v, jacobian), (v * s).sum(1).square()
    curl = (row * v).sum(1)
    reduced, summed = curl + s.square().sum(1) / 2, row.sum(1) + square / 2
    mistakes = {
        "the factor 1/2 is missing": curl + square,
        "you return the reduced form: the square should be that of vᵀs, not of s": reduced,
        "the sign of the curvature is wrong": square / 2 - curl,
        "multiply by v a second time: the first product is the row vᵀ∇s, which you sum": summed,
    }
    _compare(got, curl + square / 2, mistakes)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)

    def linear(y):
        return y @ A.T

    every = [_tensor(_call(fn, linear, x, w.expand(6, 3)), (6,)) for w in signs]
    where = "the mean over all 8 sign vectors is not the exact loss: "
    _compare(torch.stack(every).mean(0), exact_score_matching(linear, x), {}, where)
    _check_gradient(fn, x, -v.square().sum(1).mean() + 2 * (v * x).sum(1).square().mean(), v)
    wide = _randn(2, 10, 300, seed=4)
    with _Work() as work:
        _call(fn, lambda y: torch.sin(y) - y, *wide)
    enough = "one product with v is enough, the gradient of vᵀs"
    _demand(work.numbers < 300 * wide[0].numel(), f"the whole Jacobian is computed: {enough}")
    print("the sliced loss is right, and its mean over all 8 sign vectors is the exact loss")


def _check_gradient(fn, x, exact, *more):
    """Compare the gradient in w of the mean loss of the score −w y, at w = 2."""
    weight = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    loss = _tensor(_call(fn, lambda y: -weight * y, x, *more), x.shape[:1]).mean()
    gradient = None
    if loss.requires_grad:
        (gradient,) = torch.autograd.grad(loss, weight, allow_unused=True)
    right = gradient is not None and math.isclose(gradient.item(), exact, rel_tol=1e-5)
    graph = "does the trace keep its graph (create_graph=True)?"
    _demand(right, f"the gradient in the weights is {gradient}, expected {exact:.4f}: {graph}")


def check_mixture_score(fn):
    """Exercise 9, the score of a mixture: ``fn(x, weights, means, variances, sigma)`` returns ∇log p_σ(x)."""
    parts = (MIXTURE.weights, MIXTURE.means, MIXTURE.variances)
    hint = ": divide by the variance, and keep w_k and c_k^(-d/2) in r_k"
    for sigma in (0.0, 1.0, 7.0):
        x = MIXTURE.sample(200, generator=seeded(1)) + torch.tensor([3.0, 1.0])
        mine, exact = _tensor(_call(fn, x, *parts, sigma), x.shape), MIXTURE.score(x, sigma)
        pulls = (MIXTURE.means - x[:, None]) / (MIXTURE.variances + sigma**2)[:, None]
        mistakes = {
            "the sign is wrong: the score points to where the density grows": -exact,
            "the weights w_k stand where the probabilities r_k(x) belong": MIXTURE.weights @ pulls,
            "sigma^2 is missing beside the variances": MIXTURE.score(x),
            "sigma is added to the variances: its square belongs there": MIXTURE.score(
                x, sigma**0.5
            ),
        }
        _compare(mine, exact, mistakes, f"sigma = {sigma}: ", hint, tol=1e-6)
    far = torch.tensor([[200.0, -200.0]])
    hint_far = ": far from the data every density is 0 in float32: take logarithms, then softmax"
    answer = _call(fn, far, *(y.float() for y in parts), 0.0, hint=hint_far)
    _tensor(answer, far.shape, hint_far)
    three = GaussianMixture([0.2, 0.3, 0.5], torch.eye(3), [0.5, 1.0, 2.0])
    x = _randn(50, 3, seed=2)
    mine = _tensor(_call(fn, x, three.weights, three.means, three.variances, 0.5), x.shape)
    where = "three components in three dimensions: "
    _compare(mine, three.score(x, 0.5), {}, where, hint, tol=1e-6)
    print("the score is right for two mixtures, with and without noise, near and far")


def check_mixture_dsm(fn):
    """Exercise 9, denoising score matching: ``fn(score, x, noise, sigma)`` of each item, for standard noise."""

    def score(x):
        return torch.sin(x.flip(1)) - x / 3

    def loss(there, target):
        return (there - target).square().sum(1) / 2

    x, noise = MIXTURE.sample(100, generator=seeded(3)), _randn(100, 2, seed=4)
    for sigma in (0.5, 3.0):
        mine = _tensor(_call(fn, score, x, noise, sigma), (100,), ": one loss for each item")
        exact = denoising_score_matching(score, x, sigma, generator=seeded(4))  # the same noise
        there, target = score(x + sigma * noise), -noise / sigma
        squared = loss(there, target / sigma)
        mistakes = {
            "the factor 1/2 is missing": 2 * exact,
            "the sign of the noise is wrong: the target is minus the noise": loss(there, -target),
            "the noise is standard: divide it by sigma, not by sigma^2": squared,
            "the noise in the target is not divided by sigma": loss(there, -noise),
            "the score is taken at the clean point": loss(score(x), target),
            "the noise is not scaled by sigma in the noised point": loss(score(x + noise), target),
            "sum over the coordinates, not mean": exact / 2,
        }
        _compare(mine, exact, mistakes, f"sigma = {sigma}: ")
    weight = torch.ones((), requires_grad=True)
    _demand(_call(fn, lambda y: -weight * y, x, noise, 1.0).requires_grad, NO_GRAPH)
    print("the loss is right at two levels")


def check_langevin_walks(fn):
    """Exercise 10, walks along a score: ``fn(score, x, step_size, steps, generator=None)`` returns every state.

    Without a generator there is no noise.
    """
    some = torch.tensor([[-2.0, 1.0], [3.0, 4.0]], dtype=torch.float64)
    shape = ": the states from the start to the end, (steps + 1, B, 2)"
    runs = ([], [seeded(0)], [seeded(0)])
    answers = [_call(fn, MIXTURE.score, some, 0.2, 3, *generator) for generator in runs]
    still, path, again = (_tensor(answer, (4, 2, 2), shape) for answer in answers)
    _demand(torch.equal(path, again), UNSEEDED)
    for states in (still, path):
        _compare(states[0], some, {}, "the first state must be the start itself: ")
    s = MIXTURE.score(some)
    mistakes = {
        "the ascent runs downhill: the sign of the score is wrong": -0.1 * s,
        "half the step size stands before the score, you took all of it": 0.2 * s,
    }
    _compare(still[1] - some, 0.1 * s, mistakes, "the first step without noise: ")

    many = torch.zeros(4000, 2, dtype=torch.float64)
    noise = _tensor(_call(fn, torch.zeros_like, many, 0.2, 2, seeded(1)), (3, 4000, 2)).diff(dim=0)
    first, second = noise
    draw = "draw z in the shape of x"
    _demand(first.std(0).min() > 0, f"all chains got the same noise, or none: {draw}")
    _demand((first[:, 0] != first[:, 1]).any(), f"both coordinates got the same noise: {draw}")
    again = torch.equal(first, second)
    _demand(not again, "both steps used the same noise: draw it anew in every step")
    found = f"the noise should have the mean 0, got {noise.mean():.2f}"
    _demand(abs(noise.mean()) < 0.05, f"{found}: torch.randn, not torch.rand")
    mistakes = {
        "the noise is multiplied by the step size: the square root is missing": 0.04,
        "the noise has the variance 2 alpha, which belongs to a step alpha before the score": 0.4,
    }
    _compare(noise.var(), 0.2, mistakes, "the variance of the noise of a step: ", tol=0.05)
    uniform = noise.abs().max() < 3 * math.sqrt(0.2)
    _demand(not uniform, "the noise is uniform: it must be normal, torch.randn")
    walk = partial(langevin, step_size=0.2, steps=3, trajectory=True)
    exact = walk(MIXTURE.score, some, generator=seeded(0))
    _compare(path, exact, {}, "the states differ from the library's: ")
    print("both walks are right")


def check_langevin_thousand(ascended, walked, share, mixture):
    """Exercise 10, from 1,000 starts: the ends of both walks in ``mixture``, and ``share(x)``.

    That is the share of the light mode and its standard error.
    """
    for name, x in (("ascended", ascended), ("walked", walked)):
        hint = f": {name} should hold 1,000 points of the plane, and no step may be too large"
        _tensor(x, (1000, 2), hint, name)
    slope = mixture.score(ascended).norm(dim=1).max().item()
    modes = "without noise all ends are modes, where the score is 0"
    _demand(slope < 1e-3, f"{modes}; the longest is {slope:.2g}: walk longer, and without noise")
    modes = [torch.cdist(x, mixture.means.to(x.dtype)).argmin(1) for x in (walked, ascended)]
    nearest = modes[0]
    spread = torch.stack([walked[nearest == k].var(0).mean() for k in (0, 1)]).double()
    expected = mixture.variances / (1 - 0.1 / (4 * mixture.variances))
    _demand((spread > 0.5).all(), "the ends of Langevin dynamics lie in a point: is there noise?")
    right = ((spread / expected - 1).abs() < 0.25).all()
    spreads = f"{spread.tolist()}, expected about {expected.tolist()}"
    hint = "is the noise too strong or too weak?"
    _demand(right, f"the variances within the modes are {spreads}: {hint}")
    w, v = ((k == mixture.weights.argmin()).double().mean().item() for k in modes)
    found = f"{w:.3f} of the walked ends lie at the light mode, but {v:.3f} of the ascended ones"
    _demand(abs(w - v) < 0.1, f"{found}: walk both from starts")

    light, equal = mixture.weights.min().item(), torch.tensor([0.5, 0.5])
    laws = {
        "draws of the mixture": (mixture, light),
        "draws of equal weights": (GaussianMixture(equal, mixture.means, mixture.variances), 0.5),
    }
    for name, (law, truth) in laws.items():
        answer = _call(share, law.sample(20_000, generator=seeded(2)))
        w, error = _pair(answer, "the share and its standard error")
        mistakes = {"this is the share of the heavy mode": 1 - truth}
        _compare(_number(w, "the share"), truth, mistakes, f"the share, for {name}: ", tol=0.1)
        one = math.sqrt(truth * (1 - truth))
        mistakes = {
            "this is the standard deviation of one point: divide by the square root of n": one,
            "the square root is missing": one**2 / 20_000,
        }
        error, exact = _number(error, "the standard error"), one / math.sqrt(20_000)
        _compare(error, exact, mistakes, f"the standard error, for {name}: ", tol=0.1)
    print("the ends and their shares are right")


def check_noise_conditional_loss(fn):
    """Exercise 11, the loss of all levels: ``fn(score, x, sigmas, generator)``, σ² times the denoising losses."""
    x, seen = MIXTURE.sample(6, generator=seeded(3)), []
    sigmas = torch.logspace(math.log10(20), 0, 20, dtype=torch.float64)

    def spy(y, s):
        _per_item(s, 6, "sigma")
        seen.append((_tensor(y, x.shape, name="the x of the score"), s))
        return MIXTURE.score(y, s)

    hint = ": the loss has one number a point"
    got, again = (_tensor(_call(fn, spy, x, sigmas, seeded(4)), (6,), hint) for _ in range(2))
    _demand(torch.equal(got, again), UNSEEDED)
    _demand(seen, "the score was not called")
    (point, used), g = seen[0], seeded(4)
    sigma = sigmas[torch.randint(20, (6,), generator=g)]
    state = g.get_state()
    noise = torch.randn(x.shape, generator=g, dtype=x.dtype)
    column = sigma[:, None]
    uniform = torch.rand(x.shape, generator=g.set_state(state), dtype=x.dtype)
    _compare(used, sigma, {}, "the levels: ", ": draw them first, one for each point")
    mistakes = {
        "the noise has the standard deviation sigma, not sigma^2": column**2 * noise,
        "the noise is not multiplied by sigma": noise,
        "the noise is uniform: it must be normal, torch.randn": column * uniform,
        "the score is taken at the clean point": 0 * noise,
    }
    hint = ": the score must be taken at x + sigma * noise, with the draws in the order of the task"
    _compare(point - x, column * noise, mistakes, "the noise in x: ", hint)
    exact = noise_conditional_score_matching(MIXTURE.score, x, sigmas, generator=seeded(4))
    flipped = (column * MIXTURE.score(point, sigma) - noise).square().sum(1) / 2
    mistakes = {
        "the weight sigma^2 is missing: small levels would drown the large ones": exact / sigma**2,
        "wrong sign: the target of the score is -noise / sigma": flipped,
        "the factor 1/2 is missing": 2 * exact,
        "sum over the coordinates, not mean": exact / 2,
    }
    _compare(got, exact, mistakes)
    weight = torch.ones((), requires_grad=True)
    _demand(_call(fn, lambda y, s: -weight * y, x, sigmas, seeded(4)).requires_grad, NO_GRAPH)
    print("the loss is right, and equal to the package's")


def check_annealed_langevin(fn):
    """Exercise 11, annealing: ``fn(score, x, sigmas, step_size, steps_per_level, generator)``: the last state."""
    levels, start = torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64), 4 * _randn(5, 2, seed=5)

    def score(x, sigma):
        _per_item(sigma, 5, "sigma")
        return MIXTURE.score(x, sigma)

    def variant(step=lambda sigma: 0.1 * sigma**2, drift=0.5, power=0.5, draw=torch.randn):
        g, x = seeded(6), start
        for sigma in levels:
            alpha = step(sigma)
            for _ in range(3):
                z = draw(x.shape, generator=g, dtype=x.dtype)
                x = x + drift * alpha * MIXTURE.score(x, sigma.expand(5)) + alpha**power * z
        return x

    with torch.no_grad():
        runs = [_call(fn, score, start, levels, 0.1, 3, seeded(6)) for _ in range(2)]
    got, again = (_tensor(run, start.shape) for run in runs)
    _demand(torch.equal(got, again), UNSEEDED)
    steps = {  # the last level is 1, the first 4
        "the step grows like sigma^2, you let it grow like sigma": lambda x: x / 10,
        "step_size is the step at the last level: divide by sigmas[-1]": lambda x: x**2 / 160,
        "the ratio is upside down: large levels need large steps": lambda x: 0.1 / x**2,
        "every level has the same step; scale it by (sigma / sigmas[-1])^2": lambda _: 0.1,
    }
    mistakes = {mistake: variant(step) for mistake, step in steps.items()} | {
        "the drift is alpha / 2 times the score, you use alpha": variant(drift=1.0),
        "the sign of the score is wrong": variant(drift=-0.5),
        "the noise has the standard deviation sqrt(alpha), you use alpha": variant(power=1.0),
        "the noise is uniform: it must be normal, torch.randn": variant(draw=torch.rand),
        "the start came back unchanged": start,
    }
    walk = partial(annealed_langevin, step_size=0.1, steps_per_level=3)
    exact = walk(MIXTURE.score, start, levels, generator=seeded(6))
    hint = ": is every level given steps_per_level steps, each with fresh noise?"
    _compare(got, exact, mistakes, hint=hint)
    print("the sampler is right, and equal to the package's")


def check_one_view_ve_score(fn):
    """Exercise 12, a score from a noise predictor: ``fn(eps_model, schedule, x, t)`` at the level λ_t, for an int t."""
    exact_eps, levels = MIXTURE.eps_model(SCHEDULE), ((1 - AB) / AB).sqrt()

    def model(x, t):
        _per_item(t, 50, "t", torch.int64)
        return exact_eps(x, t)

    def score(x, t, read):
        return -exact_eps(AB[read].sqrt() * x, t) / levels[read]

    for t in (300, 1, 1000):
        x = MIXTURE.sample(50, generator=seeded(t)) + levels[t] * _randn(50, 2, seed=t + 1)
        got = _tensor(_call(fn, model, SCHEDULE, x, t, **INTS), x.shape)
        expected = MIXTURE.score(x, levels[t].item())
        mistakes = {
            "x is not scaled to x_t": -exact_eps(x, t) / levels[t],
            "divided by sqrt(1 - alpha_bar), that is the score of x_t": expected / AB[t].sqrt(),
            "the sign is wrong": -expected,
            "the square root in sigma is missing": expected / levels[t],
        }
        for k in (-1, 1) if t == 300 else ():
            mistakes |= {f"alpha_bar is off by one: read at t {k:+d}": score(x, t, t + k)}
        _compare(got, expected, mistakes, f"t = {t}: ", tol=_rounding(t))
    print("the score agrees at three noise levels")


def check_one_view_heun(fn):
    """Exercise 12, a step of Heun's method: ``fn(f, u, here, there)`` returns the next u."""
    levels = []

    def growth(u, level):
        levels.append(float(level))
        return u * level

    got = _tensor(_call(fn, growth, torch.ones(1, 1, dtype=torch.float64), 2.0, 1.0), (1, 1)).item()
    mistakes = {  # the slopes are 2 at u = 1, and at Euler's point u = -1 again -1
        "the step is Euler's: the second slope is not used": -1.0,
        "the second slope is taken at u, not at Euler's point": -0.5,
        "the factor 1/2 is missing": 0.0,
    }
    _compare(got, 0.5, mistakes, "one step of du/dlambda = u * lambda: ")
    _demand(levels == [2.0, 1.0], f"f was called at the levels {levels}, expected [2.0, 1.0]")
    print("one step agrees")
