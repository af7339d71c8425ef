"""The noise schedule: published values, invariances, and every documented bad input."""

import math

import numpy as np
import pytest
import torch

from dgm_helpers.schedules import SPACINGS, NoiseSchedule, timesteps

SCHEDULES = {
    "linear": NoiseSchedule.linear(),
    "cosine": NoiseSchedule.cosine(),
    "linear-50": NoiseSchedule.linear(50, 0.002, 0.4),
    "cosine-10": NoiseSchedule.cosine(10),
    "linear-1": NoiseSchedule.linear(1),
}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


def test_linear_has_the_published_values():
    schedule = NoiseSchedule.linear()
    assert schedule.T == 1000
    assert schedule.beta[1].item() == pytest.approx(1e-4, rel=1e-12)
    assert schedule.beta[1000].item() == pytest.approx(0.02, rel=1e-12)
    assert schedule.alpha_bar[1000].item() == pytest.approx(4.0358e-5, rel=1e-5)
    steps = schedule.beta[1:].diff()
    assert torch.allclose(steps, torch.full_like(steps, (0.02 - 1e-4) / 999), rtol=1e-9)


def test_linear_alpha_bar_is_the_product_in_plain_python():
    schedule, product = NoiseSchedule.linear(20, 0.01, 0.3), 1.0
    for t in range(1, 21):
        product *= 1 - (0.01 + (0.3 - 0.01) * (t - 1) / 19)
        assert schedule.alpha_bar[t].item() == pytest.approx(product, rel=1e-12)


def test_cosine_follows_its_formula_where_beta_is_not_clipped():
    schedule = NoiseSchedule.cosine(100)

    def f(t):
        return math.cos((t / 100 + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in range(100):
        assert schedule.alpha_bar[t].item() == pytest.approx(f(t) / f(0), rel=1e-10)
    assert schedule.beta[100].item() == pytest.approx(0.999, rel=1e-12)


@every_schedule
def test_invariances(schedule):
    T, a = schedule.T, schedule.alpha_bar
    assert a.shape == schedule.alpha.shape == schedule.beta.shape == schedule.snr.shape == (T + 1,)
    assert (
        a.dtype
        == schedule.alpha.dtype
        == schedule.beta.dtype
        == schedule.snr.dtype
        == torch.float64
    )
    assert (
        a[0] == 1
        and schedule.alpha[0] == 1
        and schedule.beta[0] == 0
        and schedule.snr[0] == math.inf
    )
    assert (schedule.beta[1:] > 0).all() and (schedule.beta[1:] < 1).all()
    assert (schedule.snr.diff()[1:] < 0).all()
    assert torch.allclose(schedule.alpha.cumprod(0), a, rtol=1e-12)
    assert torch.allclose(schedule.snr[1:] / (1 + schedule.snr[1:]), a[1:], rtol=1e-12)


@every_schedule
def test_the_variance_recursion_ends_in_one_minus_alpha_bar(schedule):
    variance = torch.zeros((), dtype=torch.float64)
    for t in range(1, schedule.T + 1):
        variance = schedule.alpha[t] * variance + schedule.beta[t]
        assert variance.item() == pytest.approx(1 - schedule.alpha_bar[t].item(), rel=1e-10)


def test_the_schedule_is_frozen():
    given = torch.tensor([1.0, 0.5, 0.2], dtype=torch.float64)
    schedule = NoiseSchedule(given)
    with pytest.raises(AttributeError):
        schedule.alpha_bar = torch.ones(6)
    given[1] = 0.9
    for values in (schedule.alpha_bar, schedule.alpha, schedule.beta, schedule.snr):
        values.zero_()
    assert schedule.alpha_bar.tolist() == [1.0, 0.5, 0.2] and schedule.alpha.tolist() == [
        1.0,
        0.5,
        0.4,
    ]


def test_numpy_integers_are_integers():
    assert NoiseSchedule.linear(np.int64(50), np.float64(0.002), np.float32(0.5)).T == 50
    assert torch.equal(
        NoiseSchedule.cosine(np.int32(10)).alpha_bar, NoiseSchedule.cosine(10).alpha_bar
    )
    assert torch.equal(timesteps(np.int64(1000), np.uint8(10)), timesteps(1000, 10))


@pytest.mark.parametrize("schedule", [NoiseSchedule.linear(), NoiseSchedule.cosine()])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(
    ("T", "n"), [(1000, 1), (1000, 10), (1000, 37), (1000, 999), (1000, 1000), (1, 1), (7, 5)]
)
def test_timesteps_fall_strictly_from_T_to_0(T, n, spacing, schedule):
    tau = timesteps(T, n, spacing, schedule=schedule)
    assert tau.dtype == torch.int64 and tau.shape == (n + 1,)
    assert tau[0] == T and tau[-1] == 0 and (tau.diff() < 0).all()


def test_timesteps_values():
    assert timesteps(1000, 4).tolist() == [1000, 750, 500, 250, 0]
    assert timesteps(1000, 4, "quadratic").tolist() == [1000, 562, 250, 62, 0]
    assert timesteps(200, 4).tolist() == [200, 150, 100, 50, 0]
    assert timesteps(5, 5, "quadratic").tolist() == [5, 4, 3, 2, 1, 0]


def test_karras_timesteps_are_the_nearest_to_evenly_spaced_seventh_roots_of_the_noise_level():
    """Karras et al. 2022, equation 5, with the schedule's own lowest and highest level, and the nearest timesteps."""
    schedule = NoiseSchedule.linear()
    levels = ((1 - schedule.alpha_bar) / schedule.alpha_bar).sqrt()
    for T, n in ((1000, 10), (600, 20)):
        low, high = levels[1] ** (1 / 7), levels[T] ** (1 / 7)
        wanted = [(high + i / (n - 1) * (low - high)) ** 7 for i in range(n)]
        nearest = [(levels[1:] ** (1 / 7) - w ** (1 / 7)).abs().argmin().item() + 1 for w in wanted]
        got = timesteps(T, n, "karras", schedule=schedule).tolist()
        assert got == [*nearest, 0] and len(set(got)) == n + 1


def test_karras_timesteps_need_a_schedule_that_reaches_T():
    with pytest.raises(TypeError, match="^schedule must be a NoiseSchedule, got None"):
        timesteps(10, 5, "karras")
    with pytest.raises(ValueError, match="^T must be an int in 1…10, got 11"):
        timesteps(11, 5, "karras", schedule=NoiseSchedule.linear(10))


@pytest.mark.parametrize("alpha_bar", [[1.0, 0.5], torch.tensor([1.0, 0.5]), torch.tensor([1, 0])])
def test_alpha_bar_of_another_type_is_refused(alpha_bar):
    with pytest.raises(TypeError, match="alpha_bar must be a float64 tensor"):
        NoiseSchedule(alpha_bar)


@pytest.mark.parametrize(
    "values",
    [
        [1.0],
        [[1.0, 0.5]],
        [0.9, 0.5],
        [1.0, 1.0],
        [1.0, 0.5, 0.6],
        [1.0, 0.0],
        [1.0, -0.1],
        [1.0, math.nan],
    ],
    ids=["no step", "matrix", "starts below 1", "flat", "rises", "reaches 0", "negative", "nan"],
)
def test_alpha_bar_of_other_values_is_refused(values):
    with pytest.raises(ValueError, match="alpha_bar must"):
        NoiseSchedule(torch.tensor(values, dtype=torch.float64))


MAKERS = {
    "linear": NoiseSchedule.linear,
    "cosine": NoiseSchedule.cosine,
    "timesteps": lambda T: timesteps(T, 1),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_bad_T_is_refused(make):
    for T in (0, -3, 10**12):
        with pytest.raises(ValueError, match=f"^T must be an int in 1…10000000, got {T}$"):
            make(T)
    for T in (10.0, "10", None, True, [10]):
        with pytest.raises(
            TypeError, match="^T must be an int in 1…10000000, got (float|str|None|bool|list)"
        ):
            make(T)


def test_a_T_that_is_too_large_for_float64_is_named():
    with pytest.raises(
        ValueError,
        match="^T must be smaller for this schedule: at T = 100000 alpha_bar is too small",
    ):
        NoiseSchedule.linear(100_000)


@pytest.mark.parametrize(
    ("beta_1", "beta_T", "named"),
    [
        (0, 0.02, "beta_1"),
        (-0.1, 0.02, "beta_1"),
        (math.nan, 0.02, "beta_1"),
        (1e-20, 0.02, "beta_1"),
        (0.02, 1e-4, "beta_T"),
        (1e-4, 1, "beta_T"),
        (1e-4, math.nan, "beta_T"),
    ],
)
def test_bad_betas_are_refused(beta_1, beta_T, named):
    with pytest.raises(ValueError, match=f"^{named} must be .*, got"):
        NoiseSchedule.linear(10, beta_1, beta_T)


def test_numbers_given_as_strings_are_refused():
    with pytest.raises(
        TypeError, match="^beta_1 must be a finite number above 0 and below 1, got str '0.01'"
    ):
        NoiseSchedule.linear(10, "0.01")
    with pytest.raises(TypeError, match="^beta_T must be a finite number"):
        NoiseSchedule.linear(10, 0.01, "0.02")


@pytest.mark.parametrize("n", [0, -1, 11])
def test_bad_n_is_refused(n):
    with pytest.raises(
        ValueError, match=rf"^n \(the number of steps\) must be an int in 1…10, got {n}$"
    ):
        timesteps(10, n)


@pytest.mark.parametrize("n", [2.0, "5", None, True])
def test_n_of_another_type_is_refused(n):
    with pytest.raises(TypeError, match=r"^n \(the number of steps\) must be an int in 1…10, got"):
        timesteps(10, n)


def test_unknown_spacing_is_refused():
    with pytest.raises(
        ValueError,
        match="^spacing must be one of 'uniform', 'quadratic', 'karras', got str 'cubic'",
    ):
        timesteps(10, 5, "cubic")
