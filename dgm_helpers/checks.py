"""The checks of the exercises: each takes what a student wrote and says which mistake it sees.

A check is named after the ``grade_id`` of its exercise. It prints one line if the answer is right. Otherwise it
raises AssertionError with what came, what was expected and, where the value gives it away, the mistake. Every value
is compared with the right one first, up to rounding, and only then with those of the usual mistakes, which are stored:
no right answer is taken for a mistake. An unfinished answer keeps its NotImplementedError. An answer that takes a
schedule is tried with a second one, which no lab has.

While it runs, an answer cannot call the package's own solution of the exercise, has 60 seconds, can neither end the
kernel nor ask for input, and on Linux has 4 GiB of memory. Warnings and what it writes to stderr cost nothing.
"""

import inspect
import math
import re
from functools import partial
from numbers import Real

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ._mistakes import MISTAKES
from ._trial import Stopped, Unfinished, WrongAnswer, exercise, refusal
from .arguments import seeded
from .bound import gaussian_kl
from .diffusion import perturb_input, posterior, simple_loss
from .fid import _trace_of_root, frechet_distance
from .langevin import annealed_langevin, gradient_ascent, langevin
from .mixtures import GaussianMixture
from .samplers import ddim_step, ddpm_step, sample_ddim, sample_ddpm, sample_es_ddpm
from .schedules import NoiseSchedule, at
from .score_matching import (
    denoising_score_matching,
    exact_score_matching,
    noise_conditional_score_matching,
    sliced_score_matching,
)

SCHEDULE = NoiseSchedule.linear()
AB, ALPHA = SCHEDULE.alpha_bar, SCHEDULE.alpha
OTHER = NoiseSchedule.linear(730, 3e-4, 0.035)  # no lab has it
GLOBAL = "the lab's own schedule is read, not the one that is given: use the argument schedule"
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
        raise WrongAnswer(message)


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
    except (Stopped, WrongAnswer):
        raise
    except BaseException as error:
        if isinstance(error, NotImplementedError) and not error.args:
            raise Unfinished("this exercise is not solved yet") from None
        more = hint if re.search(when, str(error)) else ""
        raise WrongAnswer(refusal(fn, error, more)) from None
    for i, (before, after) in enumerate(zip(arguments, given, strict=True), 1):
        changed = isinstance(before, torch.Tensor) and not torch.equal(before, after)
        if changed:
            name = _argument(fn, i)
            found = f"your function changed its argument {name} in place"
            raise WrongAnswer(f"{found}: make a new tensor instead")
    return answer


def _argument(fn, i):
    """The name of the i-th argument of a function, or i where it has no name."""
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        return i
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return named[i - 1] if i <= len(named) else i


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


def _fits(mine, value, tol):
    """Whether two tensors are the same up to rounding."""
    return (mine - value).abs().max() <= tol * value.abs().max() + min(tol, 1e-5) / 10


def _found(mine, exact):
    """The two numbers that differ most, with as many digits as it takes to see that."""
    mine, exact = torch.broadcast_tensors(mine, exact)
    worst = (mine - exact).abs().argmax()
    a, b = mine.flatten()[worst].item(), exact.flatten()[worst].item()
    digits = next((d for d in range(6, 17) if f"{a:.{d}g}" != f"{b:.{d}g}"), 17)
    return f"got {a:.{digits}g}, expected {b:.{digits}g}"


def _compare(mine, exact, mistakes, where="", hint="", tol=1e-5):
    """Accept what is ``exact`` up to rounding; else name the mistake whose value it has, or say what came."""
    mine, exact = (torch.as_tensor(v, dtype=torch.float64).detach() for v in (mine, exact))
    if _fits(mine, exact, tol):
        return
    found = _found(mine, exact)
    for mistake, value in mistakes.items():
        same = _fits(mine, torch.as_tensor(value, dtype=torch.float64), tol)
        _demand(not same, f"{where}{mistake}; {found}")
    raise WrongAnswer(f"{where}{found}{hint}")


def _probe(values):
    """Five of the values, from the first to the last: what is stored of a mistake."""
    return values.flatten()[torch.linspace(0, values.numel() - 1, 5).long()]


def _judge(name, mine, exact, where="", hint="", tol=1e-5):
    """As :func:`_compare`, with the mistakes that are stored for an exercise and this place of its check."""
    mine, exact = (torch.as_tensor(v, dtype=torch.float64).detach() for v in (mine, exact))
    if _fits(mine, exact, tol):
        return
    found = _found(mine, exact)
    for mistake, place, value in MISTAKES[name]:
        value = torch.tensor(value, dtype=torch.float64)
        same = place == where and _fits(_probe(mine), value, tol)
        _demand(not same, f"{where}{mistake}; {found}")
    raise WrongAnswer(f"{where}{found}{hint}")


def _terms(mine, exact, when="", **parts):
    """Which factors are wrong, if an answer is a sum of factors times the ``parts``; ``when`` says of what."""
    basis = torch.stack([part.flatten() for part in parts.values()], 1)
    both = torch.stack([mine.flatten(), exact.flatten()], 1).double()
    factors = torch.linalg.lstsq(basis, both).solution
    if not _fits(basis @ factors, both, 1e-4):
        why = "is something clipped, or a bracket missing?"
        return f": it is not a sum of factors times {' and '.join(parts)} ({why})"
    rows = zip(parts, factors.tolist(), strict=True)
    wrong = [
        f"the factor of {part} is {a:.5g}, expected {b:.5g}"
        for part, (a, b) in rows
        if abs(a - b) > 1e-4 * abs(b) + 1e-6
    ]
    return f": {when}" + " and ".join(wrong) if wrong else ""


def _with_another_schedule(mine, exact):
    """Raise unless an answer for the schedule OTHER is ``exact(OTHER)``."""
    where, hint = f"another schedule, T = {OTHER.T}: ", ": read all from the argument schedule"
    _compare(mine, exact(OTHER), {GLOBAL: exact(SCHEDULE)}, where, hint)


def _randn(*shape, seed):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


EARLY = "make beta in float64 from the start, by np.linspace or with dtype=torch.float64"


def _array(answer, name, n):
    """The answer as a float64 tensor (n,), if it is an array, a list or a tensor of that."""
    try:
        array = answer.detach().numpy() if isinstance(answer, torch.Tensor) else np.asarray(answer)
    except ValueError:
        array = np.asarray(None)
    right = array.shape == (n,) and array.dtype == np.float64
    got = _kind(answer) if array.dtype == object else f"shape {array.shape} and {array.dtype}"
    needs = f"{name} needs T + 1 = {n} entries in float64, as a NumPy array"
    early = f": {EARLY}" if array.dtype == np.float32 else ""
    _demand(right, f"{needs}, got {got}{early}")
    return torch.from_numpy(array.copy())


@exercise(NoiseSchedule.linear)
def check_linear_schedule(fn):
    """Exercise 1, linear schedule: ``fn(T, beta_1, beta_T)`` returns α and ᾱ from index 0 to T."""
    for T, beta_1, beta_T in ((1000, 1e-4, 0.02), (10, 0.01, 0.3), (300, 0.002, 0.03)):
        schedule = NoiseSchedule.linear(T, beta_1, beta_T)
        answer = _pair(_call(fn, T, beta_1, beta_T), "alpha and alpha_bar")
        names, exact = ("alpha", "alpha_bar"), (schedule.alpha, schedule.alpha_bar)
        mine = [_array(a, name, T + 1) for a, name in zip(answer, names, strict=True)]
        hints = "it is 1 - beta, with beta evenly spaced", "is it the product of 1 - beta?"
        for name, array, right, hint in zip(names, mine, exact, hints, strict=True):
            where = f"T = {T}, beta from {beta_1} to {beta_T}: "
            hint = f" in {name}: {hint}"
            rough = not _fits(array, right, 1e-9) and _fits(array, right, 1e-6)
            single = f"{where}{name} has the precision of float32; {_found(array, right)}: {EARLY}"
            _demand(not rough, single)
            for part in (slice(1, T), slice(1, T + 1)):  # off by one may end with any number
                _judge("linear-schedule", array[part], right[part], where, hint, tol=1e-9)
            _demand(array[0] == 1, f"{name}[0] must be 1 (no noise yet), got {array[0]}")
        if T == 1000:
            end = mine[1][-1]
    return f"alpha and alpha_bar agree for three schedules; alpha_bar_T = {end:.4e}"


@exercise(perturb_input)
def check_perturb_input(fn):
    """Exercise 1, one-shot noising: ``fn(schedule, x0, t, noise)`` returns x_t, for t of int64 (B,)."""
    reshape = "; alpha_bar[t] needs the shape (B, 1, …, 1), with as many axes as x0"
    whole = "; t holds a timestep for each item: index with all of it, alpha_bar[t]"
    pictures, points = (3, 4, 4), (2,)
    for shape, t in ((pictures, [700, 1, 300, 999, 10]), (points, [1000, 0, 5])):
        t = torch.tensor(t)
        x0, noise = _randn(2, len(t), *shape, seed=len(t)).float()

        def run(noise):
            try:
                return _call(fn, SCHEDULE, x0, t, noise, hint=reshape, when=SHAPES)
            except WrongAnswer as error:
                one = re.search("to Scalar|only (integer|one)|scalar ind", str(error))
                raise WrongAnswer(f"{error}{whole if one else ''}") from None

        answer, again, still = run(noise), run(noise), run(0 * noise)
        mine = _tensor(answer, x0.shape, reshape)
        found = f"expected {x0.dtype}, got {answer.dtype}"
        _demand(answer.dtype == x0.dtype, f"{found}: cast back from float64")
        _demand(torch.equal(answer, again), REDRAWN)
        _demand(not torch.equal(answer, still), "the noise that is given is not used")
        exact, where = perturb_input(SCHEDULE, x0, t, noise).double(), f"t = {t.tolist()}: "
        i = (mine - exact).abs().flatten(1).amax(1).argmax()
        hint = _terms(mine[i], exact[i], x0=x0[i].double(), noise=noise[i].double())
        _judge("perturb-input", mine, exact, where, f" at t = {t[i]}{hint}")
    t = torch.tensor([300, 700, 50])
    given = x0, t, noise
    mine = _tensor(_call(fn, OTHER, *given), x0.shape)
    _with_another_schedule(mine, lambda schedule: perturb_input(schedule, *given))
    return "x_t agrees with the closed form, for pictures and for points"


def _rounding(t):
    """The tolerance at t: where 1 - alpha_bar is small, it has few digits in float32, which is right as well."""
    return 1e-5 if t > 50 else 2e-3


@exercise(posterior)
def check_posterior(fn):
    """Exercise 2, the posterior: ``fn(schedule, x0, x_t, t, s)`` returns mean and variance of q(x_s | x_t, x_0)."""
    x0, x_t = _randn(2, 5, 2, seed=1)
    for t, s in ((500, 200), (500, 499), (1000, 900), (2, 1), (1, 0), (30, 0)):
        answer = _pair(_call(fn, SCHEDULE, x0, x_t, t, s, **INTS), "mean and variance")
        ratio = ": is alpha_bar_t / alpha_bar_s upside down?"
        mean, variance = _tensor(answer[0], x_t.shape, ratio, "the mean"), answer[1]
        if getattr(variance, "shape", None) == (5, 1) and (variance == variance[0]).all():
            variance = variance[0]  # one for each item is right as well
        variance = _number(variance, "the variance")
        right_mean, right_variance = posterior(SCHEDULE, x0, x_t, t, s)
        where, tol = f"at t = {t}, s = {s}: ", _rounding(t)
        last = ": at s = 0 the state is x0 itself, so the mean must be x0 and the variance 0"
        hint = _terms(mean, right_mean, x0=x0, x_t=x_t) if s else last
        _judge("posterior", mean, right_mean, f"mean {where}", hint, tol)
        hint = "" if s else last
        _judge("posterior", variance, right_variance, f"variance {where}", hint, tol)
    given = x0, x_t, 365, 146
    answer = _pair(_call(fn, OTHER, *given), "mean and variance")
    for i, value in enumerate(answer):
        _with_another_schedule(value, lambda schedule, i=i: posterior(schedule, *given)[i])
    return "Bayes' rule holds for six pairs s < t, next to each other and far apart"


@exercise(gaussian_kl)
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
        mine = _tensor(_call(fn, *case), (5,), hint)
        _judge("gaussian-kl", mine, gaussian_kl(*case), f"{name}: ")
    itself = _tensor(_call(fn, m1, v1, m1, v1), (5,), hint).abs().max()
    _demand(itself < 1e-5, f"equal laws have divergence 0, got {itself:.2e}")
    return "the divergence is right for points and pictures, and 0 for equal laws"


BANDS = torch.tensor([0, 1, 2, 5, 20, 100, 200, 400, 600, 800, 1000])


def _is_flat(squares, t):
    """Whether the mean of the squares of normal numbers, a row for each t, is the same in all bands of t."""
    mean, band = squares.mean(), torch.bucketize(t, BANDS)
    parts = [squares[band == k] for k in band.unique()]
    return all(abs(part.mean() / mean - 1) < 7 * math.sqrt(2 / part.numel()) for part in parts)


@exercise(simple_loss)
def check_batch_loss(fn):
    """Exercise 4, the loss of a batch: ``fn(eps_model, schedule, x0, generator)`` returns one loss for each picture."""

    def run(x0, answer=torch.zeros_like, seed=0, schedule=SCHEDULE):
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
        more = {"hint": reshape, "when": SHAPES}
        if schedule is not SCHEDULE:
            more = {"hint": f"; here T = {schedule.T}: draw t from 1…T", "when": "out of bounds"}
        loss = _call(fn, model, schedule, x0, seeded(seed), **more)
        loss = _tensor(loss, x0.shape[:1], ": one loss per picture is expected")
        _demand(seen, "eps_model was not called")
        return loss, *seen[-1]

    _, x_t, t = run(torch.zeros(20_000, 4))
    distinct = len(t.unique())
    _demand(distinct > 1, "every picture needs its own t, got one t for the whole batch")
    _demand(t.min() > 0, "t = 0 was drawn, but t = 0 is clean data: draw from 1…T")
    _demand(t.max() == 1000, f"t must reach T = 1000, the largest was {t.max()}")
    uniform = "every picture needs its own t, uniform in 1…T"
    tenths = torch.bincount((t - 1) // 100)
    found = f"{tenths.tolist()} of 20,000 fell into the ten tenths"
    _demand((tenths - 2000).abs().max() < 250, f"{uniform}, got {found}")
    _demand(distinct == 1000, f"{uniform}, got {distinct} different ones of 20,000")

    few = torch.zeros(1000, 4)
    first, again, other, moved = run(few), run(few), run(few, seed=1), run(few + 3)
    _demand(all(map(torch.equal, first, again)), UNSEEDED)
    anew = (
        "two generators give the same draws: do not seed it inside, every batch would be the same"
    )
    _demand(not all(map(torch.equal, first[1:], other[1:])) or not x_t.any(), anew)
    fixed = "t does not change from call to call: draw it from the generator"
    _demand(not torch.equal(first[2], other[2]), fixed)
    signal = moved[1] - first[1]  # of the same draws: 3 times the factor of x0

    def fits(table, factor, scale):
        near = (signal - 3 * factor(table[first[2]])[:, None]).abs().max() < 1e-5
        scales = scale(table[t])
        some = scales > 0
        return near and _is_flat((x_t[some] / scales[some, None]).square(), t[some])

    if not fits(AB, torch.sqrt, _scale):
        formula = "x_t is not √alpha_bar x0 + √(1 - alpha_bar) noise: "
        _demand(x_t.any(), f"{formula}the model got x0, noise it first")
        _demand(signal.any(), f"{formula}the model got noise without x0")
        highest = x_t == x_t.max()
        _demand(highest.sum() < 10, f"{formula}x_t is clipped, noise may lie outside")
        for mistake, noising in NOISINGS.items():
            _demand(not fits(*noising), formula + mistake)
        right = perturb_input(SCHEDULE, few + 3, first[2], 0 * few)
        i = (signal - right).abs().amax(1).argmax()
        found = f"at t = {first[2][i]} you multiply x0 by {signal[i, 0] / 3:.4g}"
        hint = f"{found}, expected {right[i, 0] / 3:.4g}; compare it term by term"
        raise WrongAnswer(formula + hint)
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
    }
    knowing = run(few, lambda _: noise.float())[0]
    ratio, order = loss / exact, t.argsort()
    twins = ratio[order].diff()[t[order].diff() == 0]  # pictures with the same t
    of_t = twins.abs().max() < 1e-3 * ratio.mean() < ratio.std()
    weighted = "the loss of a picture is multiplied by a weight: every t counts alike"
    _demand(not of_t or knowing.abs().max() > 1e-5, weighted)
    if _fits(loss, x_t.square().mean(1), 1e-3):
        target = "x_t" if _fits(moved[0], moved[1].square().mean(1), 1e-3) else "scaled noise"
        _demand(False, f"the target is {target}, it should be the noise")
    where = "the model says 0, the loss is not the mean square of the noise: "
    hint = ": is the noise of the loss the noise in x_t?"
    _compare(loss, exact, mistakes, where, hint, tol=1e-3)
    mistakes = {"the model's answer is added to the noise, not subtracted": 4 * exact}
    _compare(knowing, 0 * exact, mistakes, "a model that knows the noise must cost 0: ", tol=1e-3)

    pictures = torch.randn(16, 3, 16, 16, generator=seeded(1))
    (loss, plain, t), x_t = run(0 * pictures), run(pictures)[1]
    a = at(AB, t, pictures)
    hint = ": does the coefficient of picture i multiply picture i (shape (B, 1, …, 1))?"
    _compare(x_t - plain, a.sqrt() * pictures, {}, "pictures, x0 in x_t: ", hint)
    exact = (plain / _scale(a)).square().flatten(1).mean(1)
    _compare(loss, exact, {}, "pictures, the loss: ", hint, tol=1e-3)
    loss, x_t, t = run(few, schedule=OTHER)
    longest = f"another schedule, T = {OTHER.T}: t must end there, the largest was {t.max()}"
    _demand(t.max() <= OTHER.T, longest)
    signal = run(few + 3, schedule=OTHER)[1] - x_t
    _with_another_schedule(signal, lambda schedule: 3 * at(schedule.alpha_bar, t, signal).sqrt())
    exact = (x_t / _scale(OTHER.alpha_bar[t])[:, None]).square().mean(1)
    where = f"another schedule, T = {OTHER.T}, the loss: "
    hint = ": read the factor of the noise from the argument schedule"
    _compare(loss, exact, {}, where, hint, tol=1e-3)
    weight = torch.ones((), requires_grad=True)
    loss = _call(fn, lambda x_t, t: weight * x_t, SCHEDULE, pictures, seeded(0))
    _demand(loss.requires_grad, NO_GRAPH)
    return "batch_loss is right"


PUT_IN = "in the sum of x_t and eps that is left after x0_hat is put in, "


@exercise(ddpm_step, ddim_step)
def check_ddpm_step(fn):
    """Exercise 5, a step of DDPM: ``fn(schedule, x_t, eps, t, s, noise)`` returns x_s, with the small variance."""
    x_t, eps, z = _randn(3, 4, 3, seed=0)
    for t, s in ((500, 200), (500, 499), (1000, 980), (2, 1), (1, 0), (20, 0)):
        where = f"t = {t}, s = {s}: "
        calls = [(SCHEDULE, x_t, eps, t, s, w) for w in (z, z, 0 * z)]
        hint = f" at t = {t}, s = {s}: is alpha_bar_t / alpha_bar_s upside down?"
        mine, again, mean = (_tensor(_call(fn, *c, **INTS), x_t.shape, hint) for c in calls)
        _demand(torch.equal(mine, again), REDRAWN)
        noise = mine - mean
        last = "noise is added at the last step: at s = 0 the posterior variance is 0"
        _demand(s > 0 or noise.abs().max() < 1e-7, last)
        right_mean = ddpm_step(SCHEDULE, x_t, eps, t, s, 0 * z)
        right_noise = ddpm_step(SCHEDULE, x_t, eps, t, s, z) - right_mean
        hint = _terms(noise, right_noise, z=z)
        _judge("ddpm-step", noise, right_noise, f"{where}in sigma z: ", hint, _rounding(t))
        hint = _terms(mean, right_mean, PUT_IN, x_t=x_t, eps=eps)
        _judge("ddpm-step", mean, right_mean, f"{where}in the mean: ", hint, _rounding(t))
    given = x_t, eps, 365, 146, z
    mine = _tensor(_call(fn, OTHER, *given), x_t.shape)
    _with_another_schedule(mine, lambda schedule: ddpm_step(schedule, *given))
    _single_precision(fn, x_t, eps, z)
    return "one step agrees for six pairs of timesteps, next to each other and far apart"


def _single_precision(fn, x_t, eps, z):
    """Raise unless a step of float32 pictures, as the reverse loop takes it, gives float32."""
    answer = _call(fn, SCHEDULE, x_t.float(), eps.float(), 500, 499, z.float())
    found = f"x_t is float32, so x_s must be, got {answer.dtype}"
    _demand(answer.dtype == torch.float32, f"{found}: cast back from float64")


@exercise(ddim_step)
def check_ddim_step(fn):
    """Exercise 5, a step of DDIM: ``fn(schedule, x_t, eps, t, s, noise, eta=0.0)`` returns x_s.

    Where eta is 0, the noise may be None.
    """
    x_t, eps, z = _randn(3, 4, 3, seed=0)
    steps = ((500, 200, 0.3), (2, 1, 0.3), (1000, 980, 0.0), (20, 0, 1.0), (1, 0, 1.0))
    for t, s, eta in steps:
        where = f"t = {t}, s = {s}, eta = {eta}: "
        root = "is a root of a negative number taken, or alpha_bar_t / alpha_bar_s upside down?"
        hint = f" at t = {t}, s = {s}, eta = {eta}: {root}"
        calls = [(SCHEDULE, x_t, eps, t, s, w) for w in (z, z, 0 * z)]
        answers = [_call(fn, *c, eta=eta, **INTS) for c in calls]
        mine, again, rest = (_tensor(answer, x_t.shape, hint) for answer in answers)
        _demand(torch.equal(mine, again), REDRAWN)
        noise = mine - rest
        none = noise.abs().max() < 1e-7
        _demand(s > 0 or none, "noise is added at the last step: at s = 0 sigma is 0")
        _demand(eta > 0 or none, "noise is added where eta is 0: sigma is 0 there")
        right_rest = ddim_step(SCHEDULE, x_t, eps, t, s, 0 * z, eta=eta)
        right_noise = ddim_step(SCHEDULE, x_t, eps, t, s, z, eta=eta) - right_rest
        hint = _terms(noise, right_noise, z=z)
        _judge("ddim-step", noise, right_noise, f"{where}in sigma z: ", hint, _rounding(t))
        hint = _terms(rest, right_rest, PUT_IN, x_t=x_t, eps=eps)
        _judge("ddim-step", rest, right_rest, where, hint, _rounding(t))
    given = x_t, eps, 365, 146, z
    mine = _tensor(_call(fn, OTHER, *given, eta=0.3), x_t.shape)
    _with_another_schedule(mine, lambda schedule: ddim_step(schedule, *given, eta=0.3))
    plain = ddim_step(SCHEDULE, x_t, eps, 500, 499)
    default = _tensor(_call(fn, SCHEDULE, x_t, eps, 500, 499, z), x_t.shape)
    _compare(default, plain, {}, "without eta: ", ": the default of eta must be 0")
    hint = ": where eta is 0 there may be no noise, so do not touch it"
    default = _tensor(_call(fn, SCHEDULE, x_t, eps, 500, 499, None, hint=hint), x_t.shape)
    _compare(default, plain, {}, "without noise: ")
    _single_precision(fn, x_t, eps, z)
    return "one step agrees for five pairs of timesteps and three eta, with and without noise"


@exercise()
def check_count_evaluations(fn):
    """Exercise 5, the cost of sampling: ``fn(sampler)`` returns how often the sampler calls its network.

    It is called as ``sampler(eps_model, schedule, x_T, generator=g)``.
    """

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
    hidden = (
        "; the samplers do not tell how many steps they take: count the calls of your eps_model"
    )
    for name, (sampler, calls) in samplers.items():
        sizes, times = [torch.empty(1, 1)], [0]

        def watched(eps_model, schedule, x_T, sampler=sampler, sizes=sizes, times=times, **more):
            def model(x, t):
                times.append(t.flatten()[0].item())
                return eps_model(x, t)

            sizes.append(x_T)
            return sampler(model, schedule, x_T, **more)

        answer = _call(fn, watched, hint=hidden, when="steps|keywords|attribute|code")
        mine, total = _number(answer, "the count"), total + calls
        runs, last = len(sizes) - 1, sizes[-1]
        mistakes = {
            "off by one: no call is made at t = 0": calls + 1,
            "off by one: the first and the last call count, too": calls - 1,
            "a call for the whole batch is one evaluation": len(last) * calls,
            "the numbers of the batch are counted, not the calls": last.numel() * calls,
            "the count goes on from the sampler before: start at 0": total,
            "the sampler runs twice, and both runs are counted": 2 * calls if runs == 2 else -1,
            "the sampler's runs are counted: count the calls of its network": runs,
            "the timesteps are added up: count the calls": sum(times),
            "this is T, the largest t, not the number of calls": 1000,
            "this is the number of steps of another sampler": 50,
        }
        _compare(mine, calls, mistakes, f"{name}: ", ": count the calls of your eps_model", tol=0)
    return "network evaluations: DDIM 50, DDPM 1000"


@exercise(frechet_distance, _trace_of_root)
def check_frechet_distance(fn):
    """Exercise 6, the Fréchet distance of two Gaussians: ``fn(mean1, cov1, mean2, cov2)`` returns a float."""
    real = ": the root of a product can be complex by rounding, take its real part"
    hint = {"hint": real, "when": "complex|overflow"}
    for d, rank in ((3, 3), (1, 1), (8, 20), (8, 3)):
        m1, m2 = _randn(2, d, seed=11)
        c1, c2 = (factor @ factor.T / rank for factor in _randn(2, d, rank, seed=12))
        where = f"D = {d}, rank {min(d, rank)}: "
        mine, itself = (_call(fn, m1, c1, *other, **hint) for other in ((m2, c2), (m1, c1)))
        _demand(isinstance(mine, float), f"{where}return a float, got {_kind(mine)}")
        _demand(math.isfinite(mine), f"{where}got {mine}; is a root of a negative number taken?")
        _judge("frechet-distance", mine, frechet_distance(m1, c1, m2, c2), where)
        message = f"{where}the distance of a Gaussian from itself is 0, got {itself:.2e}"
        _demand(abs(itself) < 1e-5 * (c1.trace() + c2.trace()), message)
    return "agrees for four pairs of Gaussians, one of them of low rank, and is 0 from itself"


@exercise(sample_es_ddpm)
def check_es_sampler(fn):
    """Exercise 7, Early-Stopped DDPM: ``fn(eps_model, schedule, proposals, *, stop_at, generator)``: the samples."""
    calls, proposals = [], 3 + _randn(40, 2, seed=2)

    def spy(x, t):
        _per_item(t, 40, "t", torch.int64)
        calls.append((t[0].item(), x.clone()))
        return torch.zeros_like(x)

    def run(model, stop_at, seed, schedule=SCHEDULE):
        answer = _call(fn, model, schedule, proposals, stop_at=stop_at, generator=seeded(seed))
        return _tensor(answer, proposals.shape)

    kept = run(spy, 0, 0)
    _demand(not calls, f"stop_at = 0 needs no network, yours was called {len(calls)} times")
    _compare(kept, proposals, {}, "stop_at = 0 must return the proposals unchanged: ")
    run(spy, 200, 0)
    visited = [t for t, _ in calls]
    _demand(visited[:1] != [1000], "the first call is at t = 1000: start at stop_at")
    up = "the first call is at t = 1: go down from stop_at to 1"
    _demand(visited[:1] != [1], up)
    found = f"got {len(visited)} from {visited[:1]} to {visited[-1:]}: off by one? (t = 0 is clean data)"
    _demand(visited == list(range(200, 0, -1)), f"200 calls at t = 200, ..., 1 expected, {found}")
    oracle = GaussianMixture([1.0], [[1.0, -1.0]], [0.3]).eps_model(SCHEDULE)
    mine, again = run(oracle, 20, 1), run(oracle, 20, 1)
    _demand(torch.equal(mine, again), UNSEEDED)
    noise = _randn(40, 2, seed=0)
    first, exact = calls[0][1].double(), perturb_input(SCHEDULE, proposals, 200, noise)
    hint = _terms(first, exact, proposals=proposals, noise=noise)
    hint = f"{hint}; is its noise the first draw?"
    _judge("es-sampler", first, exact, "the first state: ", hint)

    def samples(schedule):
        return sample_es_ddpm(oracle, schedule, proposals, stop_at=20, generator=seeded(1))

    exact = samples(SCHEDULE)
    hint = ": the steps are not DDPM's with the small variance, or the draws' order differs"
    _judge("es-sampler", mine, exact, "the samples: ", hint)
    _with_another_schedule(run(oracle, 20, 1, OTHER), samples)
    return "200 calls from t = 200 on; the samples agree with the package's"


def _bent_score():
    """A score with a full Jacobian, its matrix A, and points."""
    A = torch.tensor([[-2.0, 1.0, 0.5], [0.3, -1.0, 0.0], [0.2, 0.7, 0.4]], dtype=torch.float64)
    x = _randn(6, 3, seed=2)
    return lambda y: y @ A.T + torch.sin(y), A, x


@exercise(exact_score_matching)
def check_scores_exact(fn):
    """Exercise 8, exact score matching: ``fn(score, x)`` returns ½‖s‖² + tr ∇s for each item."""
    score, _, x = _bent_score()
    got = _tensor(_call(fn, score, x), (6,), ": one loss for each item")
    _judge("scores-exact", got, exact_score_matching(score, x))
    _check_gradient(fn, x, 2 * x.square().sum(1).mean() - 3)
    return "the loss and its gradient are right"


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


@exercise(sliced_score_matching)
def check_scores_sliced(fn):
    """Exercise 8, sliced score matching: ``fn(score, x, v)`` returns vᵀ∇s v + ½(vᵀs)² for each item."""
    score, A, x = _bent_score()
    v = _randn(6, 3, seed=12)
    got = _tensor(_call(fn, score, x, v), (6,), ": one loss for each item")
    c = v * (2 * torch.randint(2, x.shape, generator=seeded(12), dtype=x.dtype) - 1)
    exact = sliced_score_matching(lambda y: c * score(c * y), x / c, generator=seeded(12))
    _judge("scores-sliced", got, exact)  # the package draws signs, but in other coordinates
    every = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)

    def linear(y):
        return y @ A.T

    every = [_tensor(_call(fn, linear, x, w.expand(6, 3)), (6,)) for w in every]
    where = "the mean over all 8 sign vectors is not the exact loss: "
    _compare(torch.stack(every).mean(0), exact_score_matching(linear, x), {}, where)
    _check_gradient(fn, x, -v.square().sum(1).mean() + 2 * (v * x).sum(1).square().mean(), v)
    wide = _randn(2, 10, 300, seed=4)
    with _Work() as work:
        _call(fn, lambda y: torch.sin(y) - y, *wide)
    enough = "one product with v is enough, the gradient of vᵀs"
    _demand(work.numbers < 300 * wide[0].numel(), f"the whole Jacobian is computed: {enough}")
    return "the sliced loss is right, and its mean over all 8 sign vectors is the exact loss"


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


@exercise(GaussianMixture.score, GaussianMixture.log_prob)
def check_mixture_score(fn):
    """Exercise 9, the score of a mixture: ``fn(x, weights, means, variances, sigma)`` returns ∇log p_σ(x)."""
    parts = (MIXTURE.weights, MIXTURE.means, MIXTURE.variances)
    hint = ": divide by the variance, and keep w_k and c_k^(-d/2) in r_k"
    x = 2 * _randn(200, 2, seed=1)  # between the modes, where both count
    for sigma in (2.0, 0.0, 7.0):
        mine = _tensor(_call(fn, x, *parts, sigma), x.shape)
        _judge("mixture-score", mine, MIXTURE.score(x, sigma), f"sigma = {sigma}: ", hint, tol=1e-6)
    far = torch.tensor([[200.0, -200.0]])
    hint_far = ": far from the data every density is 0 in float32: take logarithms, then softmax"
    answer = _call(fn, far, *(y.float() for y in parts), 0.0, hint=hint_far)
    _tensor(answer, far.shape, hint_far)
    three = GaussianMixture([0.2, 0.3, 0.5], torch.eye(3), [0.5, 1.0, 2.0])
    x = _randn(50, 3, seed=2)
    mine = _tensor(_call(fn, x, three.weights, three.means, three.variances, 0.5), x.shape)
    where = "three components in three dimensions: "
    _judge("mixture-score", mine, three.score(x, 0.5), where, hint, tol=1e-6)
    return "the score is right for two mixtures, with and without noise, near and far"


@exercise(denoising_score_matching)
def check_mixture_dsm(fn):
    """Exercise 9, denoising score matching: ``fn(score, x, noise, sigma)`` of each item, for standard noise."""

    def score(x):
        return torch.sin(x.flip(1)) - x / 3

    x, noise = MIXTURE.sample(100, generator=seeded(3)), _randn(100, 2, seed=4)
    for sigma in (0.6, 3.0):
        mine = _tensor(_call(fn, score, x, noise, sigma), (100,), ": one loss for each item")
        exact = denoising_score_matching(score, x, sigma, generator=seeded(4))  # the same noise
        _judge("mixture-dsm", mine, exact, f"sigma = {sigma}: ")
    weight = torch.ones((), requires_grad=True)
    _demand(_call(fn, lambda y: -weight * y, x, noise, 1.0).requires_grad, NO_GRAPH)
    return "the loss is right at two levels"


@exercise(gradient_ascent, langevin, annealed_langevin)
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
    ascent = gradient_ascent(MIXTURE.score, some, step_size=0.2, steps=3, trajectory=True)
    _judge("langevin-walks", still[1], ascent[1], "the first step without noise: ")
    _judge("langevin-walks", still, ascent, "the steps without noise: ")

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
        "the noise has the variance alpha / 2: the half belongs to the score only": 0.1,
        "the noise is not multiplied by the root of the step size": 1.0,
    }
    _compare(noise.var(), 0.2, mistakes, "the variance of the noise of a step: ", tol=0.05)
    uniform = noise.abs().max() < 3 * math.sqrt(0.2)
    _demand(not uniform, "the noise is uniform: it must be normal, torch.randn")
    exact = langevin(
        MIXTURE.score, some, step_size=0.2, steps=3, generator=seeded(0), trajectory=True
    )
    _judge("langevin-walks", path, exact, "the states differ from the library's: ")
    return "both walks are right"


@exercise()
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
    both = torch.bincount(nearest, minlength=2).min() > 20
    _demand(both, "the ends of Langevin dynamics lie at one mode only: walk from starts")
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
        mistakes = {
            "this is the share of the heavy mode": 1 - truth,
            "this is the weight of the mixture: count the points": light,
            "the share is in percent: it lies between 0 and 1": 100 * truth,
            "this is a number of points: divide it by len(x)": 20_000 * truth,
        }
        _compare(_number(w, "the share"), truth, mistakes, f"the share, for {name}: ", tol=0.1)
        one = math.sqrt(truth * (1 - truth))
        mistakes = {
            "this is the standard deviation of one point: divide by the square root of n": one,
            "the square root is missing": one**2 / 20_000,
            "you divide by n: divide by the square root of n": one / 20_000,
            "this is the error for 1,000 points: use len(x)": one / math.sqrt(1000),
            "the factor 1 - w is missing": math.sqrt(truth / 20_000),
            "this is twice the standard error": 2 * one / math.sqrt(20_000),
        }
        error, exact = _number(error, "the standard error"), one / math.sqrt(20_000)
        _compare(error, exact, mistakes, f"the standard error, for {name}: ", tol=0.1)
    return "the ends and their shares are right"


@exercise(noise_conditional_score_matching)
def check_noise_conditional_loss(fn):
    """Exercise 11, the loss of all levels: ``fn(score, x, sigmas, generator)``, σ² times the denoising losses."""
    x, seen = MIXTURE.sample(40, generator=seeded(3)), []
    sigmas = torch.logspace(math.log10(20), 0, 20, dtype=torch.float64)

    def spy(y, s):
        _per_item(s, 40, "sigma")
        seen.append((_tensor(y, x.shape, name="the x of the score"), s))
        return MIXTURE.score(y, s)

    hint = ": the loss has one number a point"
    got, again = (_tensor(_call(fn, spy, x, sigmas, seeded(4)), (40,), hint) for _ in range(2))
    _demand(torch.equal(got, again), UNSEEDED)
    _demand(seen, "the score was not called")
    mine = seen[0]
    exact = noise_conditional_score_matching(spy, x, sigmas, generator=seeded(4))
    right = seen[-1]
    _demand(len(mine[1].unique()) > 1, "all points got the same level: draw one for each point")
    inside = torch.cdist(mine[1][:, None].double(), sigmas[:, None]).amin(1) < 1e-6
    _demand(inside.all(), "what the score gets are not levels of sigmas: give it sigma, no index")
    hint = ": draw them first, one for each point"
    _judge("noise-conditional-loss", mine[1], right[1], "the levels: ", hint)
    hint = ": the score must be taken at x + sigma * noise, with the draws in the order of the task"
    _judge("noise-conditional-loss", mine[0] - x, right[0] - x, "the noise in x: ", hint)
    _judge("noise-conditional-loss", got, exact)
    weight = torch.ones((), requires_grad=True)
    _demand(_call(fn, lambda y, s: -weight * y, x, sigmas, seeded(4)).requires_grad, NO_GRAPH)
    return "the loss is right, and equal to the package's"


@exercise(annealed_langevin)
def check_annealed_langevin(fn):
    """Exercise 11, annealing: ``fn(score, x, sigmas, step_size, steps_per_level, generator)``: the last state."""
    levels, start = torch.tensor([4.0, 2.0, 0.5], dtype=torch.float64), 4 * _randn(5, 2, seed=5)
    seen = []

    def score(x, sigma):
        _per_item(sigma, 5, "sigma")
        seen.append(sigma.tolist())
        return MIXTURE.score(x, sigma)

    with torch.no_grad():
        runs = [_call(fn, score, start, levels, 0.1, 3, seeded(6)) for _ in range(2)]
    got, again = (_tensor(run, start.shape) for run in runs)
    _demand(torch.equal(got, again), UNSEEDED)
    used = [level for level in levels.tolist() for _ in range(3)] * 2
    rising = "the levels rise: begin with the largest, sigmas[0]"
    _demand(seen[:9] != [[s] * 5 for s in used[8::-1]], rising)
    walk = partial(annealed_langevin, step_size=0.1, steps_per_level=3)
    exact = walk(MIXTURE.score, start, levels, generator=seeded(6))
    hint = ": is every level given steps_per_level steps, each with fresh noise?"
    _judge("annealed-langevin", got, exact, hint=hint)
    calls = [s[0] for s in seen]
    found = f"it was called at {calls[:9]}"
    _demand(calls == used, f"the score must be called once for each step, {found}")
    return "the sampler is right, and equal to the package's"


def _ve_score(model, schedule, x, t):
    """The answer of exercise 12, whatever the model says."""
    a = schedule.alpha_bar[t]
    return -model(a.sqrt() * x, torch.full((len(x),), t)) / ((1 - a) / a).sqrt()


@exercise()
def check_one_view_ve_score(fn):
    """Exercise 12, a score from a noise predictor: ``fn(eps_model, schedule, x, t)`` at the level λ_t, for an int t."""
    exact_eps, levels = MIXTURE.eps_model(SCHEDULE), SCHEDULE.snr**-0.5

    def model(x, t):
        _per_item(t, 50, "t", torch.int64)
        return exact_eps(x, t)

    for t in (300, 1, 1000):
        x = MIXTURE.sample(50, generator=seeded(t)) + levels[t] * _randn(50, 2, seed=t + 1)
        got = _tensor(_call(fn, model, SCHEDULE, x, t, **INTS), x.shape)
        expected = MIXTURE.score(x, levels[t].item())
        _judge("one-view-ve-score", got, expected, f"t = {t}: ", tol=_rounding(t))
    mine = _tensor(_call(fn, model, OTHER, x, 365), x.shape)
    _with_another_schedule(mine, lambda schedule: _ve_score(model, schedule, x, 365))
    return "the score agrees at three noise levels"


@exercise()
def check_one_view_heun(fn):
    """Exercise 12, a step of Heun's method: ``fn(f, u, here, there)`` returns the next u."""
    levels = []

    def growth(u, level):
        levels.append(float(level))
        return u * level + 1

    got = _tensor(_call(fn, growth, torch.ones(1, 1, dtype=torch.float64), 2.0, 1.5), (1, 1))
    exact = torch.tensor([[0.1875]])
    _judge("one-view-heun", got, exact, "one step of du/dlambda = u * lambda + 1: ")
    _demand(levels == [2.0, 1.5], f"f was called at the levels {levels}, expected [2.0, 1.5]")
    return "one step agrees"
