"""The samplers from a score against closed forms on Gaussians, plain loops with the same noise, and a mixture's
exact score.
"""

import math
from functools import partial

import numpy as np
import pytest
import torch

from dgm_helpers import seeded
from dgm_helpers.langevin import (
    ChainDiverged,
    annealed_langevin,
    gradient_ascent,
    langevin,
    metropolis_langevin,
)
from dgm_helpers.mixtures import GaussianMixture

S2 = 1.7  # the variance of the Gaussian below
BUMPS = GaussianMixture([0.3, 0.7], [[-1.0], [1.2]], [0.3, 0.5])


def randn(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def gaussian_score(x, sigma=None):
    """The score of N(0, S2), or of that plus noise of standard deviation sigma."""
    return -x / (S2 if sigma is None else S2 + sigma.square().reshape(-1, *[1] * (x.ndim - 1)))


def gaussian_log_prob(x):
    return -x.square().flatten(1).sum(1) / (2 * S2)


def cubic_score(x, sigma=None):
    """The score of exp(−‖x‖₄⁴/4), or for a noise level a score that depends on it."""
    return (
        -(x**3)
        if sigma is None
        else -(x**3) / (1 + sigma.square().reshape(-1, *[1] * (x.ndim - 1)))
    )


# --- against closed forms ---


@pytest.mark.parametrize("step_size", [0.1, 1.5, 5.0])
def test_gradient_ascent_contracts_a_gaussian_as_derived(step_size):
    x, steps = 3 + randn(10, 2), 25
    path = gradient_ascent(
        lambda x: -(x - 3) / S2, x, step_size=step_size, steps=steps, trajectory=True
    )
    power = torch.arange(steps + 1, dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(
        path, 3 + (1 - step_size / (2 * S2)) ** power * (x - 3), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("ratio", [0.1, 1.0, 3.0])
def test_langevin_has_the_variance_of_its_discretised_chain(ratio):
    """x' = ax + √α z with a = 1 − α/(2s²): from V₀ = 0 the variance is V(1 − a²ⁿ), V = α/(1 − a²) = s²/(1 − α/(4s²)).

    Within 4 standard errors of a sample variance of 200,000 chains, √(2/n) = 0.3%; V is 2.6%, 33% and 300% above s².
    """
    n, step_size = 200_000, ratio * S2
    a, stationary = 1 - ratio / 2, S2 / (1 - ratio / 4)
    for steps in (3, 80):
        x = langevin(
            gaussian_score,
            torch.zeros(n, 1, dtype=torch.float64),
            step_size=step_size,
            steps=steps,
            generator=seeded(1),
        )
        expected = stationary * (1 - a ** (2 * steps))
        assert abs(x.var().item() / expected - 1) < 4 * math.sqrt(2 / n)
        assert abs(x.mean().item()) < 4 * math.sqrt(expected / n)
    assert expected == pytest.approx(stationary, rel=1e-3)


def antisymmetric_means(x, y):
    """f(x)g(y) − g(x)f(y) for several f and g, in standard errors: 0 if (x, y) and (y, x) have the same law."""
    pairs = [
        (x, y),
        (x**2, y**2),
        (x**3, y**3),
        (x.sin(), y.sin()),
        ((x > 0).double(), (y > 0).double()),
        (x**0, y**0),
    ]
    out = []
    for i, (fx, fy) in enumerate(pairs):
        for gx, gy in pairs[i + 1 :]:
            product = fx * gy - gx * fy
            out.append(product.mean().abs() / (product.std() / math.sqrt(len(x))))
    return torch.stack(out)


@pytest.mark.parametrize("step_size", [0.3, 1.0])
def test_the_adjusted_chain_is_in_detailed_balance(step_size):
    """One step from exact draws: (start, end) and (end, start) have the same law. The unadjusted chain fails the
    same test.
    """
    x = BUMPS.sample(100_000, generator=seeded(2))
    y, rate = metropolis_langevin(
        BUMPS.log_prob, BUMPS.score, x, step_size=step_size, steps=1, generator=seeded(3)
    )
    assert (y == x).double().mean().item() == pytest.approx(1 - rate)
    assert antisymmetric_means(x[:, 0], y[:, 0]).max() < 4
    y = langevin(BUMPS.score, x, step_size=step_size, steps=1, generator=seeded(3))
    assert antisymmetric_means(x[:, 0], y[:, 0]).max() > 8


def test_the_adjusted_chain_keeps_the_density_at_a_step_where_the_unadjusted_one_does_not():
    n, step_size, steps = 20_000, 1.0, 25
    x = BUMPS.sample(n, generator=seeded(4))
    adjusted, rate = metropolis_langevin(
        BUMPS.log_prob, BUMPS.score, x, step_size=step_size, steps=steps, generator=seeded(5)
    )
    plain = langevin(BUMPS.score, x, step_size=step_size, steps=steps, generator=seeded(5))
    variance = BUMPS.covariance.item()
    errors = []
    for y in (adjusted, plain):
        squares = (y - BUMPS.mean).square()
        errors.append(abs(squares.mean() - variance) / (squares.std() / math.sqrt(n)))
        left = BUMPS.weights @ torch.special.ndtr(
            -BUMPS.means[:, 0] / BUMPS.variances.sqrt()
        )  # the probability of x < 0
        errors.append(abs((y < 0).double().mean() - left) / (left * (1 - left) / n).sqrt())
    assert max(errors[:2]) < 4 and errors[2] > 8
    assert 0.3 < rate < 0.9


@pytest.mark.parametrize("step_size", [0.3, 2.0, 5.0])
def test_acceptance_rate_on_a_gaussian_is_the_integral(step_size):
    """For N(0, 1) the ratio is exp(−(α/8)(y² − x²)); its mean over x and z by the trapezoid rule."""
    grid = torch.linspace(-9, 9, 901, dtype=torch.float64)
    weight = torch.exp(-grid.square() / 2) / math.sqrt(2 * math.pi) * 0.02
    x = grid[:, None]
    y = (1 - step_size / 2) * x + math.sqrt(step_size) * grid
    expected = (
        weight @ torch.exp((-step_size / 8 * (y.square() - x.square())).clamp(max=0)) @ weight
    )
    n = 100_000
    start = randn(n, 1, seed=6)
    arguments = {"step_size": step_size, "steps": 1, "generator": seeded(7)}
    _, rate = metropolis_langevin(
        lambda x: -x.square().sum(1) / 2, lambda x: -x, start, **arguments
    )
    assert abs(rate - expected.item()) < 4 * math.sqrt(rate * (1 - rate) / n)


def test_the_adjusted_chain_stays_where_the_density_is_positive():
    """A half normal: log p = −∞ left of 0, where the score is not even finite."""

    def log_prob(x):
        return torch.where(x[:, 0] > 0, -x[:, 0].square() / 2, -math.inf)

    def score(x):
        return torch.where(x > 0, -x, math.nan)

    x, _ = metropolis_langevin(
        log_prob,
        score,
        randn(20_000, 1, seed=8).abs(),
        step_size=0.5,
        steps=20,
        generator=seeded(9),
    )
    assert (x > 0).all()
    assert abs(x.mean().item() - math.sqrt(2 / math.pi)) < 4 * math.sqrt((1 - 2 / math.pi) / 20_000)


def share_of_second(mixture, x):
    middle, along = mixture.means.mean(0), mixture.means[1] - mixture.means[0]
    return ((x - middle) @ along > 0).double().mean().item()


def test_annealed_langevin_finds_the_weights_of_the_modes_and_plain_langevin_does_not():
    """The light mode's share lags behind the falling levels: by quadrature it ends 0.005 too high, half a standard
    error of 1,500 chains.
    """
    mixture, n = GaussianMixture.from_student_number(810_100_007), 1500
    truth = mixture.weights[1].item()
    error = math.sqrt(truth * (1 - truth) / n)
    start, sigmas = 20 * randn(n, 2, seed=10), torch.logspace(math.log10(20), 0, 20)
    x = annealed_langevin(
        mixture.score, start, sigmas, step_size=0.2, steps_per_level=100, generator=seeded(11)
    )
    assert abs(share_of_second(mixture, x) - truth) < 3 * error
    plain = langevin(mixture.score, start, step_size=0.2, steps=300, generator=seeded(11))
    assert (
        abs(share_of_second(mixture, plain) - truth) > 20 * error
    )  # the start's half and half, kept


# --- against plain loops ---


SIGMAS = [4.0, 1.5, 0.5]
SAMPLERS = {
    "ascent": partial(gradient_ascent, step_size=0.3, steps=6),
    "langevin": partial(langevin, step_size=0.3, steps=6),
    "annealed": partial(annealed_langevin, sigmas=SIGMAS, step_size=0.02, steps_per_level=2),
}


def sample(name, score, x, seed=12, **options):
    if name != "ascent":
        options["generator"] = seeded(seed)
    return SAMPLERS[name](score, x, **options)


@pytest.mark.parametrize("shape", [(5, 1), (5, 2), (5, 2, 3, 3)])
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_batch_is_its_chains_one_by_one(name, shape):
    start, g = randn(*shape), seeded(12)
    noises = [torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(6)]
    path = sample(name, cubic_score, start, trajectory=True)
    for b in range(5):
        for k, value in enumerate(
            start[b].flatten().tolist()
        ):  # the score acts on each coordinate alone
            expected = [value]
            for i in range(6):
                sigma = SIGMAS[i // 2] if name == "annealed" else 0.0
                alpha = 0.02 * sigma**2 / SIGMAS[-1] ** 2 if name == "annealed" else 0.3
                value = value - alpha / 2 * value**3 / (1 + sigma**2)
                value += (
                    math.sqrt(alpha) * noises[i][b].flatten()[k].item() if name != "ascent" else 0.0
                )
                expected.append(value)
            torch.testing.assert_close(
                path[:, b].reshape(7, -1)[:, k],
                torch.tensor(expected, dtype=torch.float64),
                rtol=1e-10,
                atol=1e-10,
            )


@pytest.mark.parametrize("shape", [(6, 1), (6, 2, 2)])
def test_an_adjusted_batch_is_its_chains_one_by_one(shape):
    start, g, alpha = randn(*shape), seeded(13), 0.8
    draws = [
        (
            torch.randn(shape, generator=g, dtype=torch.float64),
            torch.rand(6, generator=g, dtype=torch.float64),
        )
        for _ in range(8)
    ]

    def log_prob(x):
        return -x.pow(4).flatten(1).sum(1) / 4

    x, rate = metropolis_langevin(
        log_prob, cubic_score, start, step_size=alpha, steps=8, generator=seeded(13)
    )
    accepted = 0
    for b in range(6):
        chain = start[b : b + 1]
        for z, u in draws:
            proposal = chain + alpha / 2 * cubic_score(chain) + math.sqrt(alpha) * z[b]
            forward = (proposal - chain - alpha / 2 * cubic_score(chain)).square().sum()
            backward = (chain - proposal - alpha / 2 * cubic_score(proposal)).square().sum()
            ratio = torch.exp(
                log_prob(proposal) - log_prob(chain) - (backward - forward) / (2 * alpha)
            )
            if u[b] < ratio:
                chain, accepted = proposal, accepted + 1
        torch.testing.assert_close(x[b : b + 1], chain, rtol=1e-10, atol=1e-10)
    assert rate == accepted / 48 and 0 < accepted < 48


@pytest.mark.parametrize("name", SAMPLERS)
def test_trajectory_runs_from_the_start_to_the_result(name):
    start = randn(5, 2)
    path, last = (sample(name, gaussian_score, start, trajectory=t) for t in (True, False))
    assert path.shape == (7, 5, 2)
    assert torch.equal(path[0], start) and torch.equal(path[-1], last)
    assert path.untyped_storage().nbytes() == 7 * start.untyped_storage().nbytes()


def test_one_level_is_plain_langevin():
    x = randn(5, 2)
    annealed = annealed_langevin(
        cubic_score, x, [2.0], step_size=0.1, steps_per_level=9, generator=seeded(14)
    )
    plain = langevin(lambda x: -(x**3) / 5, x, step_size=0.1, steps=9, generator=seeded(14))
    torch.testing.assert_close(annealed, plain)


@pytest.mark.parametrize("name", [*SAMPLERS, "adjusted"])
def test_no_gradients_no_change_of_the_start_and_the_dtype_is_kept(name):
    start = randn(5, 2).float().requires_grad_()
    before, weight, seen = start.detach().clone(), torch.ones(2, requires_grad=True), []

    def score(x, sigma=None):
        seen.append((x.dtype, sigma))
        return weight * -x.double()

    if name == "adjusted":
        x, _ = metropolis_langevin(
            gaussian_log_prob, score, start, step_size=0.3, steps=6, generator=seeded(0)
        )
    else:
        x = sample(name, score, start)
    assert x.dtype == torch.float32 and not x.requires_grad and torch.equal(start, before)
    assert {dtype for dtype, _ in seen} == {torch.float32}
    if name == "annealed":
        assert [sigma.tolist() for _, sigma in seen] == [[s] * 5 for s in SIGMAS for _ in range(2)]


@pytest.mark.parametrize("name", SAMPLERS)
def test_same_seed_same_samples_and_the_global_generator_is_left_alone(name):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    x = randn(5, 2)
    assert torch.equal(sample(name, gaussian_score, x), sample(name, gaussian_score, x))
    assert torch.equal(before, torch.random.get_rng_state())
    if name != "ascent":
        assert not torch.equal(
            sample(name, gaussian_score, x), sample(name, gaussian_score, x, seed=99)
        )


@pytest.mark.parametrize("name", [*SAMPLERS, "adjusted"])
def test_a_careless_score_changes_neither_the_start_nor_the_chain(name):
    start = randn(5, 2)
    before = start.clone()

    def careless(x, *sigma):
        for level in sigma:
            level.zero_()
        return x.neg_()

    def careless_log_prob(x):
        return -x.square_().sum(1) / 2

    if name == "adjusted":
        one, other = (
            metropolis_langevin(
                log_prob, score, start, step_size=0.3, steps=6, generator=seeded(3)
            )[0]
            for log_prob, score in (
                (careless_log_prob, careless),
                (lambda x: -x.square().sum(1) / 2, lambda x: -x),
            )
        )
    else:
        one, other = sample(name, careless, start), sample(name, lambda x, *sigma: -x, start)
    assert torch.equal(one, other) and torch.equal(start, before)
    one.zero_()
    assert torch.equal(start, before)


def test_numpy_numbers_are_numbers():
    x = randn(5, 2)
    one = langevin(
        lambda x: -x, x, step_size=np.float64(0.25), steps=np.int64(3), generator=seeded(1)
    )
    assert torch.equal(one, langevin(lambda x: -x, x, step_size=0.25, steps=3, generator=seeded(1)))
    levels = np.array([2.0, 1.0])
    one = annealed_langevin(
        cubic_score, x, levels, step_size=0.01, steps_per_level=2, generator=seeded(1)
    )
    assert torch.equal(
        one,
        annealed_langevin(
            cubic_score, x, [2, 1], step_size=0.01, steps_per_level=2, generator=seeded(1)
        ),
    )


# --- chains that blow up ---


@pytest.mark.parametrize("name", ["ascent", "langevin", "annealed"])
def test_a_chain_that_blows_up_is_stopped_at_its_step_and_the_state_before_is_kept(name):
    """α = 8s² multiplies by −3 a step, so a float32 overflows after some 80 of them."""
    x = torch.ones(4, 2, dtype=torch.float32)
    size = {"step_size": 8.0}

    def run(steps):
        if name == "ascent":
            return gradient_ascent(lambda x: -x, x, steps=steps, **size)
        if name == "langevin":
            return langevin(lambda x: -x, x, steps=steps, generator=seeded(0), **size)
        return annealed_langevin(
            lambda x, sigma: -x,
            x,
            [1.0001, 1.0],
            steps_per_level=steps,
            generator=seeded(0),
            **size,
        )

    with pytest.raises(
        ChainDiverged,
        match="of 4 chains became NaN or infinite at step [78][0-9]; a smaller step_size may help",
    ) as caught:
        run(100)
    error = caught.value
    assert (
        isinstance(error, ArithmeticError)
        and error.x.isfinite().all()
        and error.x.abs().max() > 1e37
    )
    if name != "annealed":
        assert torch.equal(run(error.step - 1), error.x)


def test_the_error_counts_the_chains_and_the_steps_of_all_levels():
    def score(x, sigma):
        bad = (sigma < 1) & (torch.arange(3) == 1)
        return torch.where(bad[:, None], math.nan, -x)

    x = randn(3, 2)
    with pytest.raises(
        ChainDiverged, match="1 of 3 chains became NaN or infinite at step 9;"
    ) as caught:
        annealed_langevin(
            score,
            x,
            [2.0, 1.0, 0.5],
            step_size=0.1,
            steps_per_level=4,
            generator=seeded(0),
            trajectory=True,
        )
    two = annealed_langevin(
        score, x, [2.0, 1.0], step_size=0.4, steps_per_level=4, generator=seeded(0)
    )
    assert caught.value.step == 9
    torch.testing.assert_close(caught.value.x, two)


def test_an_adjusted_chain_refuses_wild_proposals_but_not_nan():
    x = 1 + randn(5, 1).abs()
    arguments = {"step_size": 100.0, "steps": 10, "generator": seeded(0)}
    stayed, rate = metropolis_langevin(lambda x: -x.pow(4).sum(1) / 4, cubic_score, x, **arguments)
    assert torch.equal(stayed, x) and rate == 0
    for nan_score, nan_log_prob in ((True, False), (False, True)):
        calls = []

        def score(y):
            calls.append(y)
            return y * math.nan if nan_score and len(calls) == 3 else -y

        def log_prob(y):
            return gaussian_log_prob(y) * (math.nan if nan_log_prob and len(calls) == 2 else 1)

        with pytest.raises(
            ChainDiverged, match="5 of 5 chains became NaN or infinite at step 2"
        ) as caught:
            metropolis_langevin(log_prob, score, x, step_size=0.1, steps=10, generator=seeded(0))
        assert caught.value.step == 2 and caught.value.x.isfinite().all()


# --- bad input ---


def bad(sampler, **changes):
    arguments = {"score": lambda x, *sigma: -x, "x": torch.zeros(3, 2), "step_size": 0.1}
    arguments["steps_per_level" if sampler is annealed_langevin else "steps"] = 5
    if sampler is not gradient_ascent:
        arguments["generator"] = seeded(0)
    if sampler is annealed_langevin:
        arguments["sigmas"] = [2.0, 1.0]
    if sampler is metropolis_langevin:
        arguments["log_prob"] = gaussian_log_prob
    if "steps" in changes and sampler is annealed_langevin:
        changes["steps_per_level"] = changes.pop("steps")
    return sampler(**(arguments | changes))


@pytest.mark.parametrize(
    "sampler", [gradient_ascent, langevin, annealed_langevin, metropolis_langevin]
)
@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"x": [[0.0]]}, TypeError, "x must be a floating-point tensor, got list"),
        ({"x": torch.zeros(3)}, ValueError, "x must have a batch axis"),
        ({"x": torch.full((3, 2), math.inf)}, ValueError, "x must be finite"),
        ({"step_size": 0.0}, ValueError, "step_size must be a finite number above 0, got 0.0"),
        ({"step_size": -1}, ValueError, "step_size must be a finite number above 0, got -1"),
        ({"step_size": math.nan}, ValueError, "step_size must be a finite number above 0, got nan"),
        ({"step_size": math.inf}, ValueError, "step_size must be a finite number above 0, got inf"),
        (
            {"step_size": "0.1"},
            TypeError,
            "step_size must be a finite number above 0, got str '0.1'",
        ),
        (
            {"step_size": True},
            TypeError,
            "step_size must be a finite number above 0, got bool True",
        ),
        ({"steps": 0}, ValueError, "steps(_per_level)? must be an int of at least 1, got 0"),
        ({"steps": -3}, ValueError, "steps(_per_level)? must be an int of at least 1, got -3"),
        (
            {"steps": 2.5},
            TypeError,
            "steps(_per_level)? must be an int of at least 1, got float 2.5",
        ),
        ({"steps": "5"}, TypeError, "steps(_per_level)? must be an int of at least 1, got str '5'"),
        ({"score": None}, TypeError, "score must be a callable, got None"),
        (
            {"score": lambda x, *sigma: x[:, 0]},
            ValueError,
            r"score must return a floating-point tensor of shape \(3, 2\), got .*\(3,\)",
        ),
        (
            {"score": lambda x, *sigma: 0.0},
            ValueError,
            r"score must return a floating-point tensor of shape \(3, 2\), got float",
        ),
    ],
)
def test_bad_arguments(sampler, changes, error, message):
    with pytest.raises(error, match=message):
        bad(sampler, **dict(changes))


@pytest.mark.parametrize("sampler", [langevin, annealed_langevin, metropolis_langevin])
def test_bad_generator(sampler):
    for other, got in ((0, "int 0"), (None, "None")):
        with pytest.raises(TypeError, match=f"generator must be a torch.Generator, .*got {got}"):
            bad(sampler, generator=other)


@pytest.mark.parametrize(
    "sigmas, message",
    [
        ([], r"sigmas must have shape \(L,\) with L >= 1, got \(0,\)"),
        (1.0, r"sigmas must have shape \(L,\)"),
        ([2.0, 0.0], "sigmas must be positive and finite in torch.float32, got values in 0.0…2.0"),
        (
            [2.0, -1.0],
            "sigmas must be positive and finite in torch.float32, got values in -1.0…2.0",
        ),
        ([1e60, 1.0], "sigmas must be positive and finite in torch.float32, got values in 1.0…1e"),
        ([math.inf, 1.0], "sigmas must be finite"),
        ([1.0, 2.0], r"sigmas must be strictly falling, got \[1.0, 2.0\]"),
        ([2.0, 2.0], "sigmas must be strictly falling"),
        ([3.0, 1.0, 2.0], "sigmas must be strictly falling"),
    ],
)
def test_bad_sigmas(sigmas, message):
    with pytest.raises(ValueError, match=message):
        bad(annealed_langevin, sigmas=sigmas)


@pytest.mark.parametrize(
    "log_prob, message",
    [
        (
            lambda x: x,
            r"log_prob must return a floating-point tensor of shape \(3,\), got .*\(3, 2\)",
        ),
        (lambda x: 0.0, r"log_prob must return a floating-point tensor of shape \(3,\), got float"),
        (lambda x: torch.zeros(3).long(), "log_prob must return a floating-point tensor"),
        (
            lambda x: torch.full((3,), -math.inf),
            "log_prob must be finite where the chains start, got -inf",
        ),
    ],
)
def test_bad_log_prob(log_prob, message):
    with pytest.raises(ValueError, match=message):
        bad(metropolis_langevin, log_prob=log_prob)
