"""The checks of the exercises: each takes what a student wrote and says which mistake it sees.

A check is named after the ``grade_id`` of its exercise. It prints one line if the answer is right. Otherwise it raises
AssertionError with what came, what was expected and, where the value gives it away, the mistake. Every value is compared with the
right one first, up to rounding, and only then with those of the mistakes: no right answer is taken for a mistake. An unfinished
answer keeps its NotImplementedError.
"""

import math
from functools import partial
from numbers import Real
from unittest import mock

import numpy as np
import torch

from .diffusion import at, gaussian_kl, perturb_input, posterior
from .fid import frechet_distance
from .langevin import annealed_langevin, langevin
from .mixtures import GaussianMixture
from .samplers import ddim_step, ddpm_step, reverse_process, sample_ddim, sample_ddpm, sample_es_ddpm
from .schedules import NoiseSchedule, timesteps
from .score_matching import denoising_score_matching, exact_score_matching, noise_conditional_score_matching

SCHEDULE = NoiseSchedule.linear()
AB, ALPHA, BETA = SCHEDULE.alpha_bar, SCHEDULE.alpha, SCHEDULE.beta
MIXTURE = GaussianMixture.from_student_number(810_100_007)
NOISINGS = {  # a formula of x_t: the table to read at t, and what is done to a = table[t] and to 1 - a
    "both square roots are missing": (AB, torch.clone, torch.clone),
    "the square root of 1 - alpha_bar is missing": (AB, torch.sqrt, torch.clone),
    "the square root of alpha_bar is missing": (AB, torch.clone, torch.sqrt),
    "off by one: you use t - 1": (torch.cat([AB[:1], AB[:-1]]), torch.sqrt, torch.sqrt),
    "off by one: you use t + 1": (torch.cat([AB[1:], AB[-1:]]), torch.sqrt, torch.sqrt),
    "the product runs to T, not to t": (AB[-1].expand(1001), torch.sqrt, torch.sqrt),
    "alpha in place of alpha_bar": (ALPHA, torch.sqrt, torch.sqrt),
}
REDRAWN = "two calls with the same arguments differ: the noise is given, do not draw it anew"


def _require(ok, message):
    if not ok:
        raise AssertionError(message)


def _kind(value):
    if value is None:
        return "None (is a return missing?)"
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{type(value).__name__} of {value.dtype}, shape {tuple(shape)}"


def _call(fn, *arguments, hint=""):
    """The answer of the student's function, which may neither fail nor change its arguments."""
    given = [a.clone() if isinstance(a, torch.Tensor) else a for a in arguments]
    try:
        answer = fn(*given)
    except (AssertionError, NotImplementedError):
        raise
    except Exception as error:
        raise AssertionError(f"your function raised {type(error).__name__}: {error}{hint}") from error
    for i, (before, after) in enumerate(zip(arguments, given, strict=True), 1):
        changed = isinstance(before, torch.Tensor) and not torch.equal(before, after)
        _require(not changed, f"your function changed its argument {i} in place: make a new tensor instead")
    return answer


def _tensor(answer, shape, hint="", name="the result"):
    """The answer in float64, if it is a finite float tensor of the given shape."""
    right = isinstance(answer, torch.Tensor) and answer.is_floating_point() and answer.shape == shape
    more = hint if isinstance(answer, torch.Tensor) else ""
    _require(right, f"{name} must be a float tensor of shape {tuple(shape)}, got {_kind(answer)}{more}")
    _require(answer.isfinite().all(), f"{name} holds NaN or infinity{hint}")
    return answer.double()


def _number(answer, name="the result"):
    """The answer as a float, if it is one finite number."""
    if isinstance(answer, (torch.Tensor, np.ndarray)) and math.prod(answer.shape) == 1:
        answer = answer.item()
    _require(isinstance(answer, Real), f"{name} must be a number, got {_kind(answer)}")
    _require(math.isfinite(answer), f"{name} must be finite, got {answer}")
    return float(answer)


def _pair(answer, names):
    right = isinstance(answer, (tuple, list)) and len(answer) == 2
    _require(right, f"return two values, {names}, got {_kind(answer)}")
    return answer


def _per_item(value, n, name, dtype=None):
    """Raise unless a model was given one timestep or level for each of n items."""
    right = isinstance(value, torch.Tensor) and value.shape == (n,) and value.dtype == (dtype or value.dtype)
    _require(right, f"the model must get {name} as a {dtype or 'float'} tensor of shape ({n},), one for each item, got {_kind(value)}")


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
        _require(not fits(value), f"{where}{mistake}; {found}")
    raise AssertionError(f"{where}{found}{hint}")


def _seeded(seed):
    return torch.Generator().manual_seed(seed)


def _randn(*shape, seed):
    return torch.randn(shape, generator=_seeded(seed), dtype=torch.float64)


def check_linear_schedule(fn):
    """Exercise 1, linear schedule: ``fn(T, beta_1, beta_T)`` returns α and ᾱ from index 0 to T."""
    mine, names = [], ("alpha", "alpha_bar")
    for name, array in zip(names, _pair(_call(fn, 1000, 1e-4, 0.02), "alpha and alpha_bar"), strict=True):
        array = np.asarray(array)
        got = f"shape {array.shape} and {array.dtype}"
        _require(array.shape == (1001,) and array.dtype == np.float64, f"{name} needs T + 1 = 1001 entries in float64, got {got}")
        mine.append(torch.from_numpy(array))
    own = {
        "alpha": {"alpha holds beta": BETA[1:]},
        "alpha_bar": {
            "alpha_bar is alpha; take the running product": ALPHA[1:],
            "every entry is the product to T, not to t": AB[-1].expand(1000),
            "alpha_bar is the product of beta, not of 1 - beta": BETA[1:].cumprod(0),
        },
    }
    for name, array, exact in zip(names, mine, (ALPHA, AB), strict=True):
        mistakes = own[name] | {
            f"{name} is off by one: t holds t - 1": exact[:-1],
            f"{name} is off by one: t holds t + 1": torch.cat([exact[2:], array[-1:]]),
            f"you return the square root of {name}": exact[1:].sqrt(),
        }
        _compare(array[1:], exact[1:], mistakes, hint=f" in {name}: is it the product of 1 - beta?", tol=1e-9)
        _require(array[0] == 1, f"{name}[0] must be 1 (no noise yet), got {array[0]}")
    print(f"alpha_bar_T = {mine[1][-1]:.4e}")


def _wrongly_noised(x0, t, noise):
    """What each of the mistakes of one-shot noising makes of x0."""
    return {name: f(at(a, t, x0)) * x0 + g(1 - at(a, t, x0)) * noise for name, (a, f, g) in NOISINGS.items()}


def check_perturb_input(fn):
    """Exercise 1, one-shot noising: ``fn(alpha_bar, x0, t, noise)`` returns x_t."""
    t = torch.tensor([0, 1, 10, 300, 700, 1000])
    x0, noise = _randn(2, 6, 3, 4, 4, seed=1).float()
    hint = "; alpha_bar[t] needs the shape (B, 1, 1, 1)"
    answer, again = (_call(fn, AB, x0, t, noise, hint=hint) for _ in range(2))
    mine = _tensor(answer, x0.shape, hint)
    _require(answer.dtype == x0.dtype, f"expected {x0.dtype}, got {answer.dtype}: cast back from float64")
    _require(torch.equal(answer, again), REDRAWN)
    hint = ": compare with the closed form term by term"
    _compare(mine, perturb_input(SCHEDULE, x0, t, noise), _wrongly_noised(x0, t, noise), hint=hint)
    print("x_t agrees with the closed form at t =", t.tolist())


def check_posterior(fn):
    """Exercise 2, the posterior: ``fn(alpha_bar, x0, x_t, t)`` returns mean and variance of q(x_{t−1} | x_t, x_0)."""
    x0, x_t = _randn(2, 5, 2, seed=1)

    def exact(t):
        here = torch.full((5,), t)
        mean, variance = posterior(SCHEDULE, x0, x_t, here, here - 1)
        return mean, variance[0].item()

    for t in (2, 300, 1000, 1):
        mean, variance = _pair(_call(fn, AB, x0, x_t, t), "mean and variance")
        mean, variance = _tensor(mean, x_t.shape, name="the mean"), _number(variance, "the variance")
        a_t, a_s, alpha = AB[t], AB[t - 1], ALPHA[t]

        def weighted(a, b):
            return (a * (1 - alpha) * x0 + b * (1 - a_s) * x_t) / (1 - a_t)

        right_mean, right_variance = exact(t)
        shifted = {f"alpha_bar is off by one: read at t {k:+d}": exact(t + k) for k in (-1, 1) if 1 <= t + k <= 1000}
        mistakes = {
            "the square root of alpha_bar is missing at x0": weighted(a_s, alpha.sqrt()),
            "the square root of alpha_t is missing at x_t": weighted(a_s.sqrt(), alpha),
            "both square roots are missing": weighted(a_s, alpha),
        } | {mistake: values[0] for mistake, values in shifted.items()}
        last = ": at t = 1 the earlier state is x0 itself, so the mean must be x0 and the variance 0"
        hint = last if t == 1 else ": Bayes' rule fails, the square is not completed"
        _compare(mean, right_mean, mistakes, f"mean at t = {t}: ", hint)
        mistakes = {
            "you return beta_t, the variance of the forward step": 1 - alpha,
            "you return the standard deviation, not the variance": math.sqrt(right_variance),
        } | {mistake: values[1] for mistake, values in shifted.items()}
        _compare(variance, right_variance, mistakes, f"variance at t = {t}: ", hint)
    print("Bayes' rule holds at t = 2, 300, 1000")


def check_gaussian_kl(fn):
    """Exercise 3, the divergence of two Gaussians: ``fn(mu_1, v_1, mu_2, v_2)`` in nats."""

    def kl(*numbers):
        return gaussian_kl(*(torch.tensor([[u]], dtype=torch.float64) for u in numbers)).item()

    for mu_1, v_1, mu_2, v_2 in ((0.5, 0.2, -1.0, 3.0), (0.0, 1.0, 1.0, 1.0), (0.0, 4.0, 0.0, 1.0)):
        exact = kl(mu_1, v_1, mu_2, v_2)
        mistakes = {
            "the arguments are swapped: q comes first": kl(mu_2, v_2, mu_1, v_1),
            "the factor 1/2 is missing": 2 * exact,
            "in nats, please, not in bits": exact / math.log(2),
            "the variances are taken for standard deviations": kl(mu_1, v_1**2, mu_2, v_2**2),
        }
        where = f"N({mu_1}, {v_1}) from N({mu_2}, {v_2}): "
        _compare(_number(_call(fn, mu_1, v_1, mu_2, v_2)), exact, mistakes, where)
    itself = _number(_call(fn, 0.3, 2.0, 0.3, 2.0))
    _require(abs(itself) < 1e-9, f"equal laws have divergence 0, got {itself:.2e}")
    print("the divergence is right for three pairs of Gaussians")


def check_batch_loss(fn):
    """Exercise 4, the loss of a batch: ``fn(eps_model, schedule, x0, generator)`` returns one loss for each picture."""
    times = []

    def run(model, x0):
        hint = ". Reshape a coefficient of each picture to (B, 1, …, 1)"
        return _tensor(_call(fn, model, SCHEDULE, x0, _seeded(0), hint=hint), x0.shape[:1], ": one loss per picture is expected")

    def zero(x_t, t):
        _per_item(t, len(x0), "t", torch.int64)
        times.append(t)
        return torch.zeros_like(x_t)

    def oracle(x0, table, signal, scale, x_t, t):
        """The noise in x_t, for one who knows x0 and the formula of x_t."""
        a = at(table, t, x_t)
        return (x_t - signal(a) * x0) / scale(1 - a).clamp(min=1e-9)

    x0 = torch.full((20_000, 4), 3.0)
    size = run(zero, x0).mean().item()
    _require(times, "eps_model was not called")
    costs = f"the answer 0 must cost 1 on average, got {size:.2f}"
    _require(abs(size - 4) > 0.2, f"{costs}: the sum over the values instead of the mean?")
    _require(abs(size - 1) < 0.05, f"{costs}: is the noise standard normal? (uniform noise in [0, 1) gives 1/3)")
    t, distinct = times[0], len(times[0].unique())
    _require(distinct > 1, "every picture needs its own t, got one t for the whole batch")
    _require(t.min() > 0, "t = 0 was drawn, but t = 0 is clean data: draw from 1…T")
    _require(t.max() == 1000, f"t must reach T = 1000, the largest was {t.max()}")
    _require(distinct == 1000, f"every picture needs its own t, uniform in 1…T, got {distinct} different ones")
    for x0 in (x0, torch.randn(16, 3, 16, 16, generator=_seeded(1))):
        loss = run(partial(oracle, x0, AB, torch.sqrt, torch.sqrt), x0)
        if loss.max() < 1e-5:
            continue
        for mistake, formula in NOISINGS.items():
            wrong = run(partial(oracle, x0, *formula), x0).median()
            _require(wrong > 1e-9, f"x_t is not √alpha_bar x0 + √(1 - alpha_bar) noise: {mistake}")
        raise AssertionError(
            f"a model that knows the noise must cost 0, got {loss.mean():.2f} for x0 of shape {tuple(x0.shape)}: is the noise of the loss "
            "the noise in x_t, and does the coefficient of picture i multiply picture i (shape (B, 1, …, 1))?"
        )
    print("batch_loss is right")


def check_ddpm_step(fn):
    """Exercise 5, a step of DDPM: ``fn(alpha_bar, x_t, eps, t, z)`` returns x_{t−1}, with the small variance."""
    x_t, eps, z = _randn(3, 4, 3, seed=0)

    def package(t, z, **variance):
        here = torch.full((4,), t)
        return ddpm_step(SCHEDULE, x_t, eps, here, here - 1, z, **variance)

    for t in (2, 1, 500, 1000):
        where = f"t = {t}: "
        mine, again, mean = (_tensor(_call(fn, AB, x_t, eps, t, w), x_t.shape, f" at t = {t}") for w in (z, z, 0 * z))
        _require(torch.equal(mine, again), REDRAWN)
        beta, a_t, noise = BETA[t], AB[t], mine - mean
        sigma = (beta * (1 - AB[t - 1]) / (1 - a_t)).sqrt()
        shifts = {f"alpha_bar is off by one, read one place too {place}": t + k for k, place in ((-1, "early"), (1, "late"))}
        shifts = {mistake: u for mistake, u in shifts.items() if 1 <= u <= 1000}
        _require(t > 1 or noise.abs().max() < 1e-7, "noise is added at the last step: at t = 1 the posterior variance is 0")
        mistakes = {mistake: package(u, z) - package(u, 0 * z) for mistake, u in shifts.items()}
        mistakes |= {
            "z is multiplied by the variance, not by its square root": sigma**2 * z,
            "sigma is the large one, sqrt(beta_t); the small one is asked for": beta.sqrt() * z,
        }
        factor = f", the factor of z is {(noise / z).mean():.5f}, expected {sigma:.5f}"
        _compare(noise, sigma * z, mistakes, f"{where}in sigma z: ", factor)
        mistakes = {mistake: package(u, 0 * z) for mistake, u in shifts.items()} | {
            "the square root of 1 - alpha_bar is missing": (x_t - beta / (1 - a_t) * eps) / (1 - beta).sqrt(),
            "the square root of alpha is missing": (x_t - beta / (1 - a_t).sqrt() * eps) / (1 - beta),
            "both square roots are missing": (x_t - beta / (1 - a_t) * eps) / (1 - beta),
        }
        _compare(mean, package(t, 0 * z), mistakes, where, ": the mean is wrong")
    print("one step agrees at t = 1000, 500, 2 and 1")


def check_ddim_step(fn):
    """Exercise 5, a step of DDIM: ``fn(alpha_bar, x_t, eps, t, s, z, eta)`` returns x_s."""
    x_t, eps, z = _randn(3, 4, 3, seed=0)

    def mean(a_t, a_s, sigma2, bare=None):
        values = (a_t, 1 - a_t, a_s, (1 - a_s - sigma2).clamp(min=0))
        a, b, c, d = (value if i == bare else value.sqrt() for i, value in enumerate(values))
        return c * (x_t - b * eps) / a + d * eps

    def small(a_t, a_s):
        return (1 - a_s) / (1 - a_t) * (1 - a_t / a_s)

    for t, s, eta in ((200, 150, 1.0), (500, 400, 0.5), (1000, 980, 0.0), (20, 0, 1.0)):
        a_t, a_s = AB[t], AB[s]
        sigma2, where = eta**2 * small(a_t, a_s), f"t = {t}, s = {s}, eta = {eta}: "
        hint = f" at t = {t}, s = {s}, eta = {eta}: is a root of a negative number taken, or the variance the large one?"
        mine, again, rest = (_tensor(_call(fn, AB, x_t, eps, t, s, w, eta), x_t.shape, hint) for w in (z, z, 0 * z))
        _require(torch.equal(mine, again), REDRAWN)
        noise = mine - rest
        _require(s > 0 or noise.abs().max() < 1e-7, "noise is added at the last step: at s = 0 sigma is 0")
        pairs = {f"alpha_bar is off by one, read at {i} and {j}": (AB[i], AB[j]) for i, j in ((t - 1, s), (t, s + 1), (t - 1, s + 1))}
        pairs[f"alpha_bar is read at {t} and {t - 1}: the step leads to s"] = a_t, AB[t - 1]
        mistakes = {
            "sigma is the large one; the small one is asked for": eta * (1 - a_t / a_s).sqrt() * z,
            "z is multiplied by the variance, not by its square root": sigma2 * z,
            "eta stands under the square root: sigma is eta times the root": math.sqrt(eta) * small(a_t, a_s).sqrt() * z,
        }
        mistakes |= {mistake: eta * small(*pair).sqrt() * z for mistake, pair in pairs.items()}
        factor = f", the factor of z is {(noise / z).mean():.4f}, expected {sigma2.sqrt():.4f}"
        _compare(noise, sigma2.sqrt() * z, mistakes, f"{where}in sigma z: ", factor)
        mistakes = {"sigma^2 is not taken off the old noise": mean(a_t, a_s, 0 * sigma2)}
        names = ("alpha_bar_t", "1 - alpha_bar_t", "alpha_bar_s", "1 - alpha_bar_s - sigma^2")
        mistakes |= {f"the square root of {name} is missing": mean(a_t, a_s, sigma2, i) for i, name in enumerate(names)}
        mistakes |= {mistake: mean(*pair, eta**2 * small(*pair)) for mistake, pair in pairs.items()}
        exact = ddim_step(SCHEDULE, x_t, eps, torch.full((4,), t), torch.full((4,), s), 0 * z, eta=eta)
        _compare(rest, exact, mistakes, where, ": a factor of x0_hat or of eps is wrong")
    print("one step agrees for four pairs of timesteps and three eta")


def check_count_evaluations(fn):
    """Exercise 5, the cost of sampling: ``fn(sampler)`` returns how often the sampler calls its network."""
    for name, sampler, steps in (("DDIM", partial(sample_ddim, steps=50), 50), ("DDPM", sample_ddpm, 1000)):
        mistakes = {
            "off by one: no call is made at t = 0": steps + 1,
            "a call for the whole batch is one evaluation": 2 * steps,
        }
        _compare(_number(_call(fn, sampler), "the count"), steps, mistakes, f"{name} with {steps} steps: ", tol=0)
    print("network evaluations: DDIM 50, DDPM 1000")


def check_frechet_distance(fn):
    """Exercise 6, the Fréchet distance of two Gaussians: ``fn(mean1, cov1, mean2, cov2)`` returns a float."""

    def root(matrix):
        values, vectors = torch.linalg.eigh(matrix)
        return vectors * values.clamp(min=0).sqrt() @ vectors.T

    for d, rank in ((1, 1), (3, 3), (8, 20), (8, 3)):
        m1, m2 = _randn(2, d, seed=11)
        c1, c2 = (factor @ factor.T / rank for factor in _randn(2, d, rank, seed=12))
        where = f"D = {d}, rank {min(d, rank)}: "
        mine, itself = _call(fn, m1, c1, m2, c2), _call(fn, m1, c1, m1, c1)
        _require(isinstance(mine, float), f"{where}return a float, got {_kind(mine)}")
        _require(math.isfinite(mine), f"{where}got {mine}; is a root of a negative number taken?")
        exact = frechet_distance(m1, c1, m2, c2)
        gap, traces = (m1 - m2).square().sum().item(), (c1.trace() + c2.trace()).item()
        without_root, product = gap + traces, c1 @ c2
        saved = without_root - exact  # twice the trace of the root
        mistakes = {
            "the eigenvalues are summed without their root": without_root - 2 * product.trace(),
            "the root is taken entry by entry": without_root - 2 * product.diagonal().clamp(min=0).sqrt().sum(),
            "two roots are multiplied, but they do not commute": without_root - 2 * (root(c1) @ root(c2)).trace(),
            "the difference of the means is not squared": exact - gap + math.sqrt(gap),
            "the factor 2 in front of the root is missing": exact + saved / 2,
            "the sign of the root's trace is wrong": exact + 2 * saved,
            "the means are left out": exact - gap,
            "the traces are left out": exact - traces,
        }
        _compare(mine, exact, mistakes, where)
        _require(abs(itself) < 1e-5 * traces, f"{where}the distance of a Gaussian from itself is 0, got {itself:.2e}")
    print("agrees for four pairs of Gaussians, one of them of low rank, and is 0 from itself")


def check_es_sampler(fn):
    """Exercise 7, Early-Stopped DDPM: ``fn(eps_model, schedule, proposals, stop_at, generator)`` returns the samples."""
    calls, proposals = [], 3 + _randn(40, 2, seed=2)

    def spy(x, t):
        _per_item(t, 40, "t", torch.int64)
        calls.append((t[0].item(), x.clone()))
        return torch.zeros_like(x)

    def run(model, stop_at, seed):
        return _tensor(_call(fn, model, SCHEDULE, proposals, stop_at, _seeded(seed)), proposals.shape)

    kept = run(spy, 0, 0)
    _require(not calls, f"stop_at = 0 needs no network, yours was called {len(calls)} times")
    _compare(kept, proposals, {}, "stop_at = 0 must return the proposals unchanged: ")
    run(spy, 200, 0)
    visited = [t for t, _ in calls]
    _require(visited[:1] != [1000], "the first call is at t = 1000: start at stop_at")
    found = f"200 calls at t = 200, ..., 1 expected, got {len(visited)} from {visited[:1]} to {visited[-1:]}"
    _require(visited == list(range(200, 0, -1)), f"{found}: off by one? (t = 0 is clean data)")
    t, noise = torch.full((40,), 200), _randn(40, 2, seed=0)
    uniform = torch.rand(40, 2, generator=_seeded(0), dtype=torch.float64)
    mistakes = _wrongly_noised(proposals, t, noise) | {
        "the network saw proposals without noise": proposals,
        "the noise is uniform, it must be normal: torch.randn": perturb_input(SCHEDULE, proposals, t, uniform),
        "the proposals must be multiplied by sqrt(alpha_bar) before noise is added": proposals + (1 - AB[200]).sqrt() * noise,
    }
    first = _tensor(calls[0][1], proposals.shape, name="the first x of the network")
    _compare(first, perturb_input(SCHEDULE, proposals, t, noise), mistakes, "the first state: ", ": is its noise the first draw?")

    oracle = GaussianMixture([1.0], [[1.0, -1.0]], [0.3]).eps_model(SCHEDULE)

    def variant(step):
        g = _seeded(1)
        x = perturb_input(SCHEDULE, proposals, t // 10, torch.randn(40, 2, generator=g, dtype=torch.float64))
        return list(reverse_process(oracle, SCHEDULE, x, timesteps(20, 20), step, generator=g))[-1].x

    mistakes = {  # a step is given schedule, x_t, eps, t, s, noise
        "sigma is the large one; the small one is asked for": variant(partial(ddpm_step, variance="large")),
        "the steps add no noise": variant(lambda *a: ddpm_step(*a[:5], 0 * a[5])),
        "noise is added at the last step": variant(lambda *a: ddpm_step(*a) + (a[4][0] == 0) * BETA[1].sqrt() * a[5]),
    }
    exact = sample_es_ddpm(oracle, SCHEDULE, proposals, stop_at=20, generator=_seeded(1))
    hint = ": the steps are not DDPM's with the small variance, or the draws' order differs"
    _compare(run(oracle, 20, 1), exact, mistakes, hint=hint)
    print("200 calls from t = 200 on; the samples agree with the package's")


def _bent_score():
    """A score with a full Jacobian: the function, its matrix A, points, and the score and its Jacobian there."""
    A = torch.tensor([[-2.0, 1.0, 0.5], [0.3, -1.0, 0.0], [0.2, 0.7, 0.4]], dtype=torch.float64)
    x = _randn(6, 3, seed=2)
    return lambda y: y @ A.T + torch.sin(y), A, x, x @ A.T + torch.sin(x), A + torch.diag_embed(torch.cos(x))


def check_scores_exact(fn):
    """Exercise 8, exact score matching: ``fn(score, x)`` returns ½‖s‖² + tr ∇s for each item."""
    score, _, x, s, jacobian = _bent_score()
    got = _tensor(_call(fn, score, x), (6,), ": one loss for each item")
    half, trace = s.square().sum(1) / 2, jacobian.diagonal(dim1=1, dim2=2).sum(1)
    mistakes = {
        "you summed the whole Jacobian: the gradient of s.sum() mixes all rows; take one row at a time and keep its diagonal entry": (
            half + jacobian.sum((1, 2))
        ),
        "the factor 1/2 is missing": 2 * half + trace,
        "the sign of the trace is wrong": half - trace,
        "the trace is missing": half,
    }
    _compare(got, half + trace, mistakes)
    weight = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    loss = _tensor(_call(fn, lambda y: -weight * y, x), (6,)).mean()
    gradient = torch.autograd.grad(loss, weight, allow_unused=True)[0] if loss.requires_grad else None
    exact = (weight * x.square().sum(1).mean() - 3).item()
    right = gradient is not None and math.isclose(gradient.item(), exact, rel_tol=1e-5)
    graph = "does the trace keep its graph (create_graph=True)?"
    _require(right, f"the gradient in the weights is {gradient}, expected {exact:.4f}: {graph}")
    print("the loss and its gradient are right")


def check_scores_sliced(fn):
    """Exercise 8, sliced score matching: ``fn(score, x, v)`` returns vᵀ∇s v + ½(vᵀs)² for each item."""
    score, A, x, s, jacobian = _bent_score()
    v = _randn(6, 3, seed=12)
    with mock.patch.object(torch.autograd, "grad", wraps=torch.autograd.grad) as grad:
        got = _tensor(_call(fn, score, x, v), (6,), ": one loss for each item")
    _require(grad.call_count <= 1, f"{grad.call_count} backward passes; the point of slicing is that one is enough")
    row, square = torch.einsum("bi,bij->bj", v, jacobian), (v * s).sum(1).square()
    curl = (row * v).sum(1)
    mistakes = {
        "the factor 1/2 is missing": curl + square,
        "you return the reduced form: the square should be that of vᵀs, not of s": curl + s.square().sum(1) / 2,
        "multiply by v a second time: the first product gives the row vᵀ∇s, which must be multiplied by v, not summed": (
            row.sum(1) + square / 2
        ),
    }
    _compare(got, curl + square / 2, mistakes)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    every = torch.stack([_tensor(_call(fn, lambda y: y @ A.T, x, w.expand(6, 3)), (6,)) for w in signs]).mean(0)
    _compare(every, exact_score_matching(lambda y: y @ A.T, x), {}, "the mean over all 8 sign vectors is not the exact loss: ")
    print("the sliced loss is right, and its mean over all 8 sign vectors is the exact loss")


def check_mixture_score(fn):
    """Exercise 9, the score of a mixture: ``fn(x, weights, means, variances, sigma)`` returns ∇log p_σ(x)."""
    parts = (MIXTURE.weights, MIXTURE.means, MIXTURE.variances)
    hint = ": divide by the variance, and keep w_k and c_k^(-d/2) in r_k"
    for sigma in (0.0, 1.0, 7.0):
        x = MIXTURE.sample(200, generator=_seeded(1)) + torch.tensor([3.0, 1.0])
        mine, exact = _tensor(_call(fn, x, *parts, sigma), x.shape), MIXTURE.score(x, sigma)
        pulls = (MIXTURE.means - x[:, None]) / (MIXTURE.variances + sigma**2)[:, None]
        mistakes = {
            "the sign is wrong: the score points to where the density grows": -exact,
            "the weights w_k stand where the probabilities r_k(x) belong": (MIXTURE.weights[:, None] * pulls).sum(1),
            "sigma^2 is missing beside the variances": MIXTURE.score(x),
            "sigma is added to the variances: its square belongs there": MIXTURE.score(x, math.sqrt(sigma)),
        }
        _compare(mine, exact, mistakes, f"sigma = {sigma}: ", hint, tol=1e-6)
    far = torch.tensor([[200.0, -200.0]])
    logarithms = ": far from the data every density is 0 in float32, and 0/0 is NaN: take logarithms, then softmax"
    _tensor(_call(fn, far, *(y.float() for y in parts), 0.0, hint=logarithms), far.shape, logarithms)
    three = GaussianMixture([0.2, 0.3, 0.5], torch.eye(3), [0.5, 1.0, 2.0])
    x = _randn(50, 3, seed=2)
    mine = _tensor(_call(fn, x, three.weights, three.means, three.variances, 0.5), x.shape)
    _compare(mine, three.score(x, 0.5), {}, "three components in three dimensions: ", hint, tol=1e-6)
    print("the score is right for two mixtures, with and without noise, near and far")


def check_mixture_dsm(fn):
    """Exercise 9, denoising score matching: ``fn(score, x, noise, sigma)`` returns the loss of each item, for standard noise."""

    def score(x):
        return torch.sin(x.flip(1)) - x / 3

    def half_square(y):
        return y.square().sum(1) / 2

    x, noise = MIXTURE.sample(100, generator=_seeded(3)), _randn(100, 2, seed=4)
    for sigma in (0.5, 3.0):
        mine = _tensor(_call(fn, score, x, noise, sigma), (100,), ": one loss for each item")
        exact = denoising_score_matching(score, x, sigma, generator=_seeded(4))  # draws the same noise
        there = score(x + sigma * noise)
        mistakes = {
            "the factor 1/2 is missing": 2 * exact,
            "the sign of the noise is wrong: the target is minus the noise": half_square(there - noise / sigma),
            "the noise is standard: divide it by sigma, not by sigma^2": half_square(there + noise / sigma**2),
            "the noise in the target is not divided by sigma": half_square(there + noise),
            "the score is taken at the clean point": half_square(score(x) + noise / sigma),
            "the noise is not scaled by sigma in the noised point": half_square(score(x + noise) + noise / sigma),
            "sum over the coordinates, not mean": exact / 2,
        }
        _compare(mine, exact, mistakes, f"sigma = {sigma}: ")
    print("the loss is right at two levels")


def check_langevin_walks(fn):
    """Exercise 10, walks along a score: ``fn(score, x, step_size, steps, generator)`` returns every state; None means no noise."""
    some = torch.tensor([[-2.0, 1.0], [3.0, 4.0]], dtype=torch.float64)
    shape = ": the states from the start to the end, (steps + 1, B, 2)"
    still, path = (_tensor(_call(fn, MIXTURE.score, some, 0.2, 3, g), (4, 2, 2), shape) for g in (None, _seeded(0)))
    for states in (still, path):
        _compare(states[0], some, {}, "the first state must be the start itself: ")
    s = MIXTURE.score(some)
    mistakes = {
        "the ascent runs downhill: the sign of the score is wrong": -0.1 * s,
        "half the step size stands before the score, you took all of it": 0.2 * s,
    }
    _compare(still[1] - some, 0.1 * s, mistakes, "the first step without noise: ")

    many = torch.zeros(4000, 2, dtype=torch.float64)
    noise = _tensor(_call(fn, torch.zeros_like, many, 0.2, 2, _seeded(1)), (3, 4000, 2)).diff(dim=0)
    _require(noise[0].std(0).min() > 0, "all chains got the same noise, or none: draw z in the shape of x")
    _require((noise[0, :, 0] != noise[0, :, 1]).any(), "both coordinates got the same noise: draw z in the shape of x")
    _require(not torch.equal(noise[0], noise[1]), "both steps used the same noise: draw it anew in every step")
    _require(abs(noise.mean()) < 0.05, f"the noise should have the mean 0, got {noise.mean():.2f}: torch.randn, not torch.rand")
    mistakes = {
        "the noise is multiplied by the step size: the square root is missing": 0.04,
        "the noise has the variance 2 alpha, which belongs to a step alpha before the score": 0.4,
    }
    _compare(noise.var(), 0.2, mistakes, "the variance of the noise of a step: ", tol=0.05)
    _require(noise.abs().max() > 3 * math.sqrt(0.2), "the noise is uniform: it must be normal, torch.randn")
    exact = langevin(MIXTURE.score, some, step_size=0.2, steps=3, generator=_seeded(0), trajectory=True)
    _compare(path, exact, {}, "the states differ from the library's: ")
    print("both walks are right")


def check_langevin_thousand(ascended, walked, share, mixture):
    """Exercise 10, from 1,000 starts: the ends of both walks in ``mixture``, and ``share(x)``, the light mode's share and its error."""
    for name, x in (("ascended", ascended), ("walked", walked)):
        _tensor(x, (1000, 2), f": {name} should hold 1,000 points of the plane, and no step may be too large", name)
    slope = mixture.score(ascended).norm(dim=1).max().item()
    modes = "without noise all ends are modes, where the score is 0"
    _require(slope < 1e-3, f"{modes}; the longest is {slope:.2g}: walk longer, and without noise")
    nearest = torch.cdist(walked, mixture.means.to(walked.dtype)).argmin(1)
    spread = torch.stack([walked[nearest == k].var(0).mean() for k in (0, 1)]).double()
    expected = mixture.variances / (1 - 0.1 / (4 * mixture.variances))
    _require((spread > 0.5).all(), "the ends of Langevin dynamics lie in a point: is there noise?")
    right = ((spread / expected - 1).abs() < 0.25).all()
    found = f"the variances within the modes are {spread.tolist()}, expected about {expected.tolist()}"
    _require(right, f"{found}: is the noise too strong or too weak?")

    truth = mixture.weights.min().item()
    w, error = _pair(_call(share, mixture.sample(20_000, generator=_seeded(2))), "the share and its standard error")
    mistakes = {"this is the share of the heavy mode": 1 - truth}
    _compare(_number(w, "the share"), truth, mistakes, "the share, for draws of the mixture: ", tol=0.1)
    variance = truth * (1 - truth)
    mistakes = {
        "this is the standard deviation of one point: divide by the square root of n": math.sqrt(variance),
        "the square root is missing": variance / 20_000,
    }
    _compare(_number(error, "the standard error"), math.sqrt(variance / 20_000), mistakes, "the standard error: ", tol=0.1)
    print("the ends and their shares are right")


def check_noise_conditional_loss(fn):
    """Exercise 11, the loss of all levels: ``fn(score, x, sigmas, generator)`` returns σ² times the denoising loss of each point."""
    x, sigmas, seen = MIXTURE.sample(6, generator=_seeded(3)), torch.logspace(math.log10(20), 0, 20, dtype=torch.float64), []

    def spy(y, s):
        _per_item(s, 6, "sigma")
        seen.append((_tensor(y, x.shape, name="the x of the score"), s))
        return MIXTURE.score(y, s)

    got = _tensor(_call(fn, spy, x, sigmas, _seeded(4)), (6,), ": the loss has one number a point")
    _require(seen, "the score was not called")
    (point, used), g = seen[0], _seeded(4)
    sigma = sigmas[torch.randint(20, (6,), generator=g)]
    state = g.get_state()
    noise = torch.randn(x.shape, generator=g, dtype=x.dtype)
    column, uniform = sigma[:, None], torch.rand(x.shape, generator=g.set_state(state), dtype=x.dtype)
    _compare(used, sigma, {}, "the levels: ", ": draw them first, one for each point")
    mistakes = {
        "the noise has the standard deviation sigma, not sigma^2": column**2 * noise,
        "the noise is not multiplied by sigma": noise,
        "the noise is uniform: it must be normal, torch.randn": column * uniform,
        "the score is taken at the clean point": 0 * noise,
    }
    order = ": the score must be taken at x + sigma * noise, with the draws in the order of the task"
    _compare(point - x, column * noise, mistakes, "the noise in x: ", order)
    exact = noise_conditional_score_matching(MIXTURE.score, x, sigmas, generator=_seeded(4))
    flipped = (column * MIXTURE.score(point, sigma) - noise).square().sum(1) / 2
    mistakes = {
        "the weight sigma^2 is missing: small levels would drown the large ones": exact / sigma**2,
        "wrong sign: the target of the score is -noise / sigma": flipped,
        "the factor 1/2 is missing": 2 * exact,
        "sum over the coordinates, not mean": exact / 2,
    }
    _compare(got, exact, mistakes)
    print("the loss is right, and equal to the package's")


def check_annealed_langevin(fn):
    """Exercise 11, annealing: ``fn(score, x, sigmas, step_size, steps_per_level, generator)`` returns the last state."""
    levels, start = torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64), 4 * _randn(5, 2, seed=5)

    def score(x, sigma):
        _per_item(sigma, 5, "sigma")
        return MIXTURE.score(x, sigma)

    def variant(step=lambda sigma: 0.1 * sigma**2, drift=0.5, power=0.5, draw=torch.randn):
        g, x = _seeded(6), start
        for sigma in levels:
            alpha = step(sigma)
            for _ in range(3):
                z = draw(x.shape, generator=g, dtype=x.dtype)
                x = x + drift * alpha * MIXTURE.score(x, sigma.expand(5)) + alpha**power * z
        return x

    with torch.no_grad():
        got = _tensor(_call(fn, score, start, levels, 0.1, 3, _seeded(6)), start.shape)
    mistakes = {
        "the step grows like sigma^2, you let it grow like sigma": variant(lambda sigma: 0.1 * sigma),
        "step_size is the step at the last level: divide by sigmas[-1]": variant(lambda sigma: 0.1 * (sigma / 4) ** 2),
        "the ratio is upside down: large levels need large steps": variant(lambda sigma: 0.1 / sigma**2),
        "every level has the same step; it must be scaled by (sigma / sigmas[-1])^2": variant(lambda sigma: 0.1 * sigma**0),
        "the drift is alpha / 2 times the score, you use alpha": variant(drift=1.0),
        "the sign of the score is wrong": variant(drift=-0.5),
        "the noise has the standard deviation sqrt(alpha), you use alpha": variant(power=1.0),
        "the noise is uniform: it must be normal, torch.randn": variant(draw=torch.rand),
        "the start came back unchanged": start,
    }
    exact = annealed_langevin(MIXTURE.score, start, levels, step_size=0.1, steps_per_level=3, generator=_seeded(6))
    _compare(got, exact, mistakes, hint=": is every level given steps_per_level steps, each with fresh noise?")
    print("the sampler is right, and equal to the package's")


def check_one_view_ve_score(fn):
    """Exercise 12, a score from a noise predictor: ``fn(eps_model, alpha_bar, x, t)`` returns the score at the level λ_t."""
    exact_eps, levels = MIXTURE.eps_model(SCHEDULE), ((1 - AB) / AB).sqrt()

    def model(x, t):
        _per_item(t, 50, "t", torch.int64)
        return exact_eps(x, t)

    def score(x, t, read):
        return -exact_eps(AB[read].sqrt() * x, torch.full((50,), t)) / levels[read]

    for t in (1, 300, 1000):
        x = MIXTURE.sample(50, generator=_seeded(t)) + levels[t] * _randn(50, 2, seed=t + 1)
        got, expected = _tensor(_call(fn, model, AB, x, t), x.shape), MIXTURE.score(x, levels[t].item())
        mistakes = {
            "x is not scaled to x_t": -exact_eps(x, torch.full((50,), t)) / levels[t],
            "divided by sqrt(1 - alpha_bar), that is the score of x_t": expected / AB[t].sqrt(),
            "the sign is wrong": -expected,
            "the square root in sigma is missing": expected / levels[t],
        }
        mistakes |= {f"alpha_bar is off by one: read at t {k:+d}": score(x, t, t + k) for k in (-1, 1) if 1 <= t + k <= 1000}
        _compare(got, expected, mistakes, f"t = {t}: ")
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
    _require(levels == [2.0, 1.0], f"f was called at the levels {levels}, expected [2.0, 1.0]")
    print("one step agrees")
