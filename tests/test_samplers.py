"""The samplers against exact oracles: Gaussian data, where DDIM is an affine map, and a Gaussian mixture."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch

from dgm_helpers import seeded
from dgm_helpers.diffusion import perturb_input, posterior
from dgm_helpers.fid import fid
from dgm_helpers.mixtures import GaussianMixture
from dgm_helpers.samplers import (
    clipped,
    ddim_step,
    ddpm_step,
    epsilon_scaled,
    guided,
    invert_ddim,
    multistep,
    reverse_process,
    sample_ddim,
    sample_ddpm,
    sample_es_ddpm,
)
from dgm_helpers.schedules import SPACINGS, NoiseSchedule, timesteps

SCHEDULE = NoiseSchedule.linear()
SHORT = NoiseSchedule.linear(20, 0.01, 0.3)
MEAN, VARIANCE = 1.5, 0.04
WEIGHTS = torch.tensor([0.2, 0.8], dtype=torch.float64)
MEANS = torch.tensor([[-5.0, 5.0], [5.0, -5.0]], dtype=torch.float64)
SPREAD = torch.tensor([1.0, 2.0], dtype=torch.float64)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def check_mixture(x):
    """The weights, means and covariances of the two modes, within four standard errors."""
    in_first = x[:, 0] < x[:, 1]  # the modes lie 14 apart: no overlap
    weight = in_first.double().mean().item()
    assert abs(weight - 0.2) < 4 * math.sqrt(0.2 * 0.8 / len(x))
    for mode, rows in enumerate((in_first, ~in_first)):
        points, v = x[rows], SPREAD[mode].item()
        m = len(points)
        assert (points.mean(0) - MEANS[mode]).abs().max() < 4 * math.sqrt(v / m) + 0.02
        covariance = points.T.cov()
        assert (covariance.diag() / v - 1).abs().max() < 4 * math.sqrt(
            2 / m
        ) + 0.03  # 3%: discretisation
        assert abs(covariance[0, 1].item()) < 4 * v / math.sqrt(m)


# The two exact predictors are written out, so that the samplers are tested without the package's own oracle.


def gaussian_eps(x, t, schedule=SCHEDULE):
    """The exact noise predictor of N(MEAN, VARIANCE) data: −√(1−ᾱ) times the score of the noised Gaussian."""
    a = schedule.alpha_bar[t].reshape(-1, *[1] * (x.ndim - 1))
    return (1 - a).sqrt() * (x - a.sqrt() * MEAN) / (a * VARIANCE + 1 - a)


def mixture_eps(x, t):
    """The exact noise predictor of a mixture of two isotropic Gaussians in the plane."""
    a = SCHEDULE.alpha_bar[t][:, None]
    v = a * SPREAD + 1 - a
    away = x[:, None] - a.sqrt()[..., None] * MEANS
    log_p = WEIGHTS.log() - v.log() - away.square().sum(-1) / (2 * v)
    return (1 - a).sqrt() * ((log_p.softmax(1) / v)[..., None] * away).sum(1)


@pytest.mark.parametrize("steps", [1, 7, 50, 1000])
def test_ddim_on_gaussian_data_is_the_known_affine_map(steps):
    x_T = normal(5, 2)
    scale, shift = 1.0, 0.0  # x_s = scale · x_T + shift, composed step by step from the closed form
    taus = timesteps(1000, steps)
    for t, s in zip(taus[:-1], taus[1:], strict=True):
        a_t, a_s = SCHEDULE.alpha_bar[t].item(), SCHEDULE.alpha_bar[s].item()
        v_t = a_t * VARIANCE + 1 - a_t
        gain = (math.sqrt(a_s * a_t) * VARIANCE + math.sqrt((1 - a_s) * (1 - a_t))) / v_t
        scale, shift = gain * scale, gain * (shift - math.sqrt(a_t) * MEAN) + math.sqrt(a_s) * MEAN
    x = sample_ddim(gaussian_eps, SCHEDULE, x_T, steps=steps)
    torch.testing.assert_close(x, scale * x_T + shift, rtol=1e-10, atol=1e-10)


def test_ddim_with_all_steps_nearly_keeps_the_gaussian():
    """The probability flow's exact map is x_T ↦ MEAN + √VARIANCE x_T when the noised variance at T is 1: point by
    point, no noise.
    """
    x_T = torch.linspace(-3, 3, 25, dtype=torch.float64)[:, None]
    x = sample_ddim(gaussian_eps, SCHEDULE, x_T, steps=1000)
    assert (x - (MEAN + math.sqrt(VARIANCE) * x_T)).abs().max() < 0.02 * math.sqrt(VARIANCE) * 3


def test_ddpm_on_gaussian_data_has_the_variance_of_its_linear_recursion():
    """Each DDPM step is affine plus independent noise, so the sampled variance follows a scalar recursion exactly."""
    for variance in ("small", "large"):
        mean, var = 0.0, 1.0
        for t in range(1000, 0, -1):
            a_t, a_s = SCHEDULE.alpha_bar[t].item(), SCHEDULE.alpha_bar[t - 1].item()
            beta, v_t = 1 - a_t / a_s, a_t * VARIANCE + 1 - a_t
            gain = (1 - beta / v_t) / math.sqrt(1 - beta)
            mean = gain * (mean - math.sqrt(a_t) * MEAN) + math.sqrt(a_s) * MEAN
            noise = beta * (1 - a_s) / (1 - a_t) if variance == "small" else beta * (t > 1)
            var = gain**2 * var + noise
        n = 5_000
        x = sample_ddpm(
            gaussian_eps, SCHEDULE, normal(n, 1), variance=variance, generator=seeded(1)
        )
        assert abs(x.mean().item() - mean) < 4 * math.sqrt(var / n)
        assert abs(x.var().item() / var - 1) < 4 * math.sqrt(2 / n)


@pytest.mark.parametrize(
    "sampler",
    [sample_ddpm, partial(sample_ddim, steps=200), partial(sample_ddim, steps=200, eta=1.0)],
)
def test_mixture_samples_match_weights_means_and_covariances(sampler):
    check_mixture(sampler(mixture_eps, SCHEDULE, normal(5_000, 2), generator=seeded(2)))


@pytest.mark.parametrize("steps", [10, 1000])
def test_eta_1_is_ancestral_ddpm(steps):
    x_T = normal(64, 2)
    paths = [
        [
            state.x
            for state in reverse_process(
                mixture_eps, SCHEDULE, x_T, timesteps(1000, steps), step, generator=seeded(3)
            )
        ]
        for step in (ddpm_step, partial(ddim_step, eta=1.0))
    ]
    assert max((a - b).abs().max().item() for a, b in zip(*paths, strict=True)) < 1e-6


def test_same_seed_same_samples_and_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    a, b = (
        sample_ddpm(mixture_eps, SCHEDULE, normal(4, 2), steps=20, generator=seeded(7))
        for _ in range(2)
    )
    assert torch.equal(a, b)
    assert torch.equal(before, torch.random.get_rng_state())


def test_points_and_pictures_are_drawn_by_the_same_function():
    x_T = normal(3, 2, 4, 4)
    x = sample_ddim(gaussian_eps, SCHEDULE, x_T, steps=5)
    y = sample_ddim(gaussian_eps, SCHEDULE, x_T.flatten(1), steps=5)
    torch.testing.assert_close(x.flatten(1), y)


def test_inversion_returns_to_the_data_as_steps_grow():
    x0 = MEAN + math.sqrt(VARIANCE) * normal(100, 1)
    errors = []
    for steps in (50, 200, 1000):
        x_T = invert_ddim(gaussian_eps, SCHEDULE, x0, steps=steps)
        errors.append(
            (sample_ddim(gaussian_eps, SCHEDULE, x_T, steps=steps) - x0).abs().max().item()
        )
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_clipping_clips_the_implied_clean_data():
    x0, t = torch.full((1, 3), 2.0, dtype=torch.float64), 500
    x_t = perturb_input(SCHEDULE, x0, t, torch.ones_like(x0))
    eps = clipped(lambda x, u: torch.ones_like(x), SCHEDULE)(x_t, t)
    a = SCHEDULE.alpha_bar[500]
    torch.testing.assert_close((x_t - (1 - a).sqrt() * eps) / a.sqrt(), torch.ones_like(x0))


# ---- early-stopped DDPM ----


def forbidden(x, t):
    raise AssertionError("the network was called")


@pytest.mark.parametrize("steps", [None, 0])
def test_stopping_at_0_returns_the_proposals_without_a_call(steps):
    proposals = normal(3, 2, 4)
    assert torch.equal(
        sample_es_ddpm(forbidden, SCHEDULE, proposals, stop_at=0, steps=steps, generator=seeded(0)),
        proposals,
    )


@pytest.mark.parametrize(
    "stop_at, steps, taus", [(200, 4, [200, 150, 100, 50]), (3, None, [3, 2, 1]), (1000, 1, [1000])]
)
def test_the_network_is_called_steps_times_from_stop_at_on(stop_at, steps, taus):
    called = []

    def eps_model(x, t):
        called.append(t.unique().item())
        return gaussian_eps(x, t)

    x = sample_es_ddpm(
        eps_model, SCHEDULE, torch.zeros(5, 1), stop_at=stop_at, steps=steps, generator=seeded(0)
    )
    assert called == taus and x.shape == (5, 1)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("stop_at, steps", [(1, None), (50, None), (400, 200), (1000, 250)])
def test_proposals_that_are_data_give_data_for_any_stop(stop_at, steps, eta):
    n = 5_000
    first = torch.rand(n, generator=seeded(1)) < WEIGHTS[0]
    k = (~first).long()
    data = MEANS[k] + SPREAD[k].sqrt()[:, None] * normal(n, 2, seed=2)
    x = sample_es_ddpm(
        mixture_eps, SCHEDULE, data, stop_at=stop_at, steps=steps, eta=eta, generator=seeded(3)
    )
    check_mixture(x)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_wrong_gaussian_proposals_come_out_as_the_affine_recursion_says(eta):
    """N(0, 1) proposals for N(MEAN, VARIANCE) data: mean and variance step by step, from the stop on."""
    stop_at, steps, n = 100, 20, 20_000
    a = SCHEDULE.alpha_bar[stop_at].item()
    mean, var = 0.0, a * 1.0 + 1 - a
    taus = timesteps(stop_at, steps).tolist()
    for t, s in zip(taus[:-1], taus[1:], strict=True):
        a_t, a_s = SCHEDULE.alpha_bar[t].item(), SCHEDULE.alpha_bar[s].item()
        sigma2 = eta**2 * (1 - a_s) / (1 - a_t) * (1 - a_t / a_s)
        slope = math.sqrt(1 - a_t) / (a_t * VARIANCE + 1 - a_t)  # of the noise estimate
        gain = (
            math.sqrt(a_s / a_t) * (1 - math.sqrt(1 - a_t) * slope)
            + math.sqrt(1 - a_s - sigma2) * slope
        )
        mean = gain * (mean - math.sqrt(a_t) * MEAN) + math.sqrt(a_s) * MEAN
        var = gain**2 * var + sigma2
    proposals = normal(n, 1, seed=4)
    x = sample_es_ddpm(
        gaussian_eps,
        SCHEDULE,
        proposals,
        stop_at=stop_at,
        steps=steps,
        eta=eta,
        generator=seeded(5),
    )
    assert abs(x.mean().item() - mean) < 4 * math.sqrt(var / n)
    assert abs(x.var().item() / var - 1) < 4 * math.sqrt(2 / n)


def test_stopping_at_T_is_ddim_from_a_start_that_has_almost_forgotten_the_proposals():
    """The start is √ᾱ_T x + √(1 − ᾱ_T) z with the generator's first draws z: for x = 3 it lies 0.019 from z."""
    z = normal(50, 2, seed=6)
    es = sample_es_ddpm(
        mixture_eps,
        SCHEDULE,
        torch.full_like(z, 3.0),
        stop_at=1000,
        steps=50,
        eta=0.0,
        generator=seeded(6),
    )
    a = SCHEDULE.alpha_bar[-1]
    start = a.sqrt() * 3 + (1 - a).sqrt() * z
    assert (start - z).abs().max() < 0.02
    torch.testing.assert_close(
        es, sample_ddim(mixture_eps, SCHEDULE, start, steps=50), rtol=1e-12, atol=1e-12
    )


def test_the_same_seed_gives_the_same_early_stopped_samples():
    a, b = (
        sample_es_ddpm(mixture_eps, SCHEDULE, normal(4, 2), stop_at=30, generator=seeded(8))
        for _ in range(2)
    )
    assert torch.equal(a, b)


@pytest.mark.parametrize(
    "limits, error, message",
    [
        ((1.0, -1.0), ValueError, "high must be a finite number above 1.0, got -1.0"),
        ((1.0, 1.0), ValueError, "high must be a finite number above 1.0, got 1.0"),
        ((math.nan, 1.0), ValueError, "low must be a finite number, got nan"),
        ((-1.0, math.inf), ValueError, "high must be a finite number above -1.0, got inf"),
        (("-1", 1.0), TypeError, "low must be a finite number, got str '-1'"),
        ((-1.0, None), TypeError, "high must be a finite number above -1.0, got None"),
    ],
)
def test_clipping_to_other_limits_is_refused(limits, error, message):
    with pytest.raises(error, match=f"^{message}"):
        clipped(gaussian_eps, SCHEDULE, *limits)


def test_clipping_keeps_to_its_own_limits():
    x_t, t = normal(50, 2), 800
    a = SCHEDULE.alpha_bar[t]
    eps = clipped(gaussian_eps, SCHEDULE, low=0.25, high=0.5)(x_t, torch.full((50,), t))
    x0_hat = (x_t - (1 - a).sqrt() * eps) / a.sqrt()
    assert x0_hat.min() > 0.25 - 1e-9 and x0_hat.max() < 0.5 + 1e-9
    for wrong in (None, 5):
        with pytest.raises(TypeError, match="eps_model must be a callable"):
            clipped(wrong, SCHEDULE)
    with pytest.raises(TypeError, match="schedule must be a NoiseSchedule"):
        clipped(gaussian_eps, SCHEDULE.alpha_bar)


@pytest.mark.parametrize("steps", [1, 5, 20, 100])
def test_samples_of_a_clipped_model_are_pictures_for_the_distance(steps):
    """x̂_0 → ε̂ → x̂_0 rounds: values such as 1.0000013 are pictures in [−1, 1] to the distance between sets."""
    model = clipped(lambda x, t: 0.5 * x, SCHEDULE)
    x_T = torch.randn(16, 3, 4, 4, generator=seeded(0))
    for x in (
        sample_ddim(model, SCHEDULE, x_T, steps=steps),
        sample_ddpm(model, SCHEDULE, x_T, steps=steps, generator=seeded(1)),
    ):
        assert x.abs().max() < 1 + 1e-4
        assert math.isfinite(
            fid(
                torch.zeros_like(x),
                x,
                features=lambda pictures: pictures.flatten(1)[:, :4].contiguous(),
            )
        )


# ---- guidance ----


def constant(value):
    return lambda x, t: torch.full_like(x, value)


def test_guidance_is_the_line_through_the_two_predictors():
    x, t = normal(4, 2), torch.tensor([1, 10, 500, 1000])
    unconditional, conditional = mixture_eps(x, t), gaussian_eps(x, t)
    for scale in (0, 0.0, 1, 1.5, 4, -1, np.float64(2), np.int64(3)):
        torch.testing.assert_close(
            guided(gaussian_eps, mixture_eps, scale)(x, t),
            (1 - scale) * unconditional + scale * conditional,
            rtol=1e-12,
            atol=1e-12,
        )
    assert torch.equal(guided(gaussian_eps, mixture_eps, 0)(x, t), unconditional)
    torch.testing.assert_close(
        guided(gaussian_eps, mixture_eps, 1)(x, t), conditional, rtol=1e-14, atol=1e-14
    )
    assert guided(constant(1.0), constant(0.0), 3.0)(x.float(), t).dtype == torch.float32


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_the_exact_scores_of_a_class_and_of_all_are_guided_to_either(scale):
    """Scale 1 draws the class, scale 0 the mixture of both: exactly the starts' images under either exact predictor."""
    both = GaussianMixture(WEIGHTS, MEANS, SPREAD)
    one = GaussianMixture([1.0], MEANS[:1], SPREAD[:1])
    model = guided(one.eps_model(SCHEDULE), both.eps_model(SCHEDULE), scale)
    x = sample_ddim(model, SCHEDULE, normal(2_000, 2), steps=100)
    in_first = x[:, 0] < x[:, 1]
    if scale == 0:
        check_mixture(x)
    else:
        assert in_first.all()
        assert (x.mean(0) - MEANS[0]).abs().max() < 4 * math.sqrt(1 / 2_000) + 0.02
        assert (x.var(0) - 1).abs().max() < 4 * math.sqrt(2 / 2_000) + 0.03


def test_guidance_of_gaussians_follows_its_closed_form():
    """With N(m, v) given the class and N(0, v) without it, the guided score is that of N(w m, v): for w = 3 the mean
    is 3 m.
    """

    def exact(mean):
        return GaussianMixture([1.0], [[mean]], [0.5]).eps_model(SCHEDULE)

    x_T = normal(20, 1)
    guided_to, straight = (
        sample_ddim(model, SCHEDULE, x_T, steps=50)
        for model in (guided(exact(1.0), exact(0.0), 3.0), exact(3.0))
    )
    torch.testing.assert_close(guided_to, straight, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((None, gaussian_eps, 1.0), TypeError, "conditional must be a callable, got None"),
        ((gaussian_eps, 3, 1.0), TypeError, "unconditional must be a callable, got int 3"),
        (
            (gaussian_eps, gaussian_eps, math.nan),
            ValueError,
            "scale must be a finite number, got nan",
        ),
        (
            (gaussian_eps, gaussian_eps, "2"),
            TypeError,
            "scale must be a finite number, got str '2'",
        ),
    ],
)
def test_guidance_by_other_things_is_refused(arguments, error, message):
    with pytest.raises(error, match=f"^{message}"):
        guided(*arguments)


def test_guidance_says_which_predictor_answers_wrongly():
    x, t = torch.zeros(2, 1), torch.tensor([3, 3])
    for wrong, message in (
        (lambda x, t: None, "must return"),
        (lambda x, t: x / 0, "returned NaN or infinity at t = "),
    ):
        with pytest.raises(ValueError, match=f"^conditional {message}"):
            guided(wrong, constant(0.0), 2.0)(x, t)
        with pytest.raises(ValueError, match=f"^unconditional {message}"):
            guided(constant(0.0), wrong, 2.0)(x, t)


# ---- the start, the timesteps, the generator ----

EVERY_SAMPLER = {
    "ddpm": partial(sample_ddpm, steps=5),
    "ddim": partial(sample_ddim, steps=5),
    "ddim with noise": partial(sample_ddim, steps=5, eta=0.5),
    "early stopped": partial(sample_es_ddpm, stop_at=8, steps=4),
    "early stopped, no noise": partial(sample_es_ddpm, stop_at=8, steps=4, eta=0.0),
    "inversion": lambda model, schedule, x, generator, **options: invert_ddim(
        model, schedule, x, steps=5, **options
    ),
}
every_sampler = pytest.mark.parametrize("sample", EVERY_SAMPLER.values(), ids=EVERY_SAMPLER)


@every_sampler
@pytest.mark.parametrize("shape", [(3, 1), (2, 3, 4, 4), (0, 2), (4, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_start_decides_the_shape_and_the_dtype(sample, shape, dtype):
    seen = set()

    def model(x, t):
        seen.add((x.dtype, tuple(x.shape), t.dtype, tuple(t.shape)))
        return x / 2

    start = torch.randn(shape, generator=seeded(0)).to(dtype)
    x = sample(model, SHORT, start, generator=seeded(1))
    assert x.shape == shape and x.dtype == dtype and x.isfinite().all()
    assert seen == {(dtype, shape, torch.int64, shape[:1])}


@every_sampler
def test_a_careless_model_changes_neither_the_start_nor_the_samples(sample):
    """It writes into what it is given, and returns that same tensor; the start may be one row, repeated."""

    def careless(x, t):
        t.zero_()
        return x.mul_(0.5)

    for start in (normal(4, 2), normal(1, 2).expand(4, 2), normal(2, 4).T):
        copy = start.clone()
        right = sample(lambda x, t: x * 0.5, SHORT, start, generator=seeded(1))
        x = sample(careless, SHORT, start, generator=seeded(1))
        assert torch.equal(x, right) and torch.equal(start, copy)
        x.zero_()
        assert torch.equal(start, copy)


def test_early_stopping_at_0_gives_a_copy():
    proposals = normal(3, 2)
    sample_es_ddpm(forbidden, SHORT, proposals, stop_at=0, generator=seeded(0)).zero_()
    assert torch.equal(proposals, normal(3, 2))


def test_a_careless_step_changes_no_state_and_no_answer_of_the_model():
    answer = normal(4, 2)

    def careless(schedule, x_t, eps, t, s, noise):
        return x_t.sub_(eps.mul_(0.1))

    x_T = normal(4, 2, seed=1)
    states = list(reverse_process(lambda x, t: answer, SHORT, x_T, [20, 10, 5, 0], careless))
    for i, state in enumerate(states, 1):
        torch.testing.assert_close(state.x, x_T - 0.1 * i * answer)
    assert torch.equal(answer, normal(4, 2)) and torch.equal(x_T, normal(4, 2, seed=1))


def test_a_list_of_timesteps_is_as_good_as_a_tensor():
    x_T, taus = normal(3, 2), [1000, 400, 30, 0]
    runs = [
        [
            (state.t, state.x)
            for state in reverse_process(mixture_eps, SCHEDULE, x_T, these, ddim_step)
        ]
        for these in (
            torch.tensor(taus),
            taus,
            tuple(taus),
            np.array(taus),
            [np.int64(t) for t in taus],
            range(1000, -1, -250),
        )
    ]
    assert [t for t, _ in runs[0]] == [400, 30, 0] and all(type(t) is int for t, _ in runs[0])
    assert [t for t, _ in runs[-1]] == [750, 500, 250, 0]
    for run in runs[1:-1]:
        assert all(
            t == u and torch.equal(x, y) for (t, x), (u, y) in zip(run, runs[0], strict=True)
        )


def test_states_carry_the_time_the_picture_and_the_estimate_that_led_there():
    x_T = normal(3, 2)
    x, t = x_T, 20
    for state in reverse_process(
        partial(gaussian_eps, schedule=SHORT), SHORT, x_T, timesteps(20, 4), ddim_step
    ):
        a = SHORT.alpha_bar[t]
        eps = gaussian_eps(x, torch.full((3,), t), SHORT)
        torch.testing.assert_close(state.x0_hat, (x - (1 - a).sqrt() * eps) / a.sqrt())
        x, t = state.x, state.t
    assert t == 0
    torch.testing.assert_close(state.x, state.x0_hat)


@pytest.mark.parametrize("generator", [None, seeded(3)], ids=["none", "one"])
def test_a_step_gets_ints_and_noise_only_where_there_is_a_generator(generator):
    seen, noises = [], seeded(3)

    def step(schedule, x_t, eps, t, s, noise):
        assert type(t) is int and type(s) is int and schedule is SHORT
        seen.append((t, s))
        if generator is None:
            assert noise is None
        else:
            assert torch.equal(noise, torch.randn(x_t.shape, generator=noises, dtype=x_t.dtype))
        return x_t

    list(
        reverse_process(
            constant(0.0), SHORT, normal(3, 2), [20, 7, 1, 0], step, generator=generator
        )
    )
    assert seen == [(20, 7), (7, 1), (1, 0)]


@every_sampler
@pytest.mark.parametrize("spacing", SPACINGS)
def test_spacing_reaches_every_sampler(sample, spacing):
    called = []

    def model(x, t):
        called.append(t[0].item())
        return x / 2

    sample(model, SHORT, normal(2, 1), generator=seeded(0), spacing=spacing)
    if sample is EVERY_SAMPLER["inversion"]:
        expected = [
            max(t, 1) for t in timesteps(20, 5, spacing, schedule=SHORT).flip(0)[:-1].tolist()
        ]
    elif "early" in next(name for name in EVERY_SAMPLER if EVERY_SAMPLER[name] is sample):
        expected = timesteps(8, 4, spacing, schedule=SHORT)[:-1].tolist()
    else:
        expected = timesteps(20, 5, spacing, schedule=SHORT)[:-1].tolist()
    assert called == expected
    with pytest.raises(
        ValueError,
        match="^spacing must be one of 'uniform', 'quadratic', 'karras', got str 'cubic'",
    ):
        sample(forbidden, SHORT, normal(2, 1), generator=seeded(0), spacing="cubic")


def test_ddim_asks_for_a_generator_only_where_it_draws():
    x_T, used = normal(3, 2), seeded(4)
    state = used.get_state()
    assert torch.equal(
        sample_ddim(mixture_eps, SCHEDULE, x_T),
        sample_ddim(mixture_eps, SCHEDULE, x_T, generator=used),
    )
    assert torch.equal(used.get_state(), state)
    with pytest.raises(
        TypeError, match="^generator must be a torch.Generator, such as seeded.*got None"
    ):
        sample_ddim(forbidden, SCHEDULE, x_T, eta=0.1)
    for sample in (sample_ddim, sample_ddpm):
        with pytest.raises(TypeError, match="^generator must be a torch.Generator, .*got int 0"):
            sample(forbidden, SCHEDULE, x_T, generator=0)
    with pytest.raises(TypeError, match="^generator must be a torch.Generator"):
        sample_ddpm(forbidden, SCHEDULE, x_T, generator=None)


def test_numpy_numbers_are_numbers():
    x_T = normal(3, 2)
    one = sample_ddim(
        mixture_eps, SCHEDULE, x_T, steps=np.int64(5), eta=np.float32(0.5), generator=seeded(1)
    )
    assert torch.equal(
        one, sample_ddim(mixture_eps, SCHEDULE, x_T, steps=5, eta=0.5, generator=seeded(1))
    )
    one = sample_es_ddpm(
        mixture_eps,
        SCHEDULE,
        x_T,
        stop_at=np.int32(50),
        steps=np.uint8(5),
        eta=1,
        generator=seeded(1),
    )
    assert torch.equal(
        one, sample_es_ddpm(mixture_eps, SCHEDULE, x_T, stop_at=50, steps=5, generator=seeded(1))
    )


@pytest.mark.parametrize(
    "step",
    [ddpm_step, partial(ddpm_step, variance="large"), ddim_step, partial(ddim_step, eta=0.7)],
)
def test_a_step_by_itself_takes_an_int_or_a_timestep_for_each_item(step):
    x, eps, noise = normal(4, 3), normal(4, 3, seed=1), normal(4, 3, seed=2)
    t, s = torch.tensor([20, 15, 3, 1]), torch.tensor([19, 2, 1, 0])
    together = step(SHORT, x, eps, t, s, noise)
    for i in range(4):
        row = slice(i, i + 1)
        torch.testing.assert_close(
            together[row], step(SHORT, x[row], eps[row], t[i].item(), s[i].item(), noise[row])
        )
    for dtype in (torch.float32, torch.float16):
        assert step(SHORT, x.to(dtype), eps.to(dtype), 5, 4, noise.to(dtype)).dtype == dtype
        assert step(SHORT, x.to(dtype), eps.to(dtype), t, s, noise.to(dtype)).dtype == dtype


def test_the_last_ddpm_step_is_the_posterior_s_mean_without_noise():
    x, eps, noise = normal(4, 3), normal(4, 3, seed=1), normal(4, 3, seed=2)
    a = SHORT.alpha_bar[6]
    x0_hat = (x - (1 - a).sqrt() * eps) / a.sqrt()
    for variance in ("small", "large"):
        torch.testing.assert_close(ddpm_step(SHORT, x, eps, 6, 0, noise, variance), x0_hat)
        mean, small = posterior(SHORT, x0_hat, x, 6, 5)
        sigma2 = small if variance == "small" else SHORT.beta[6]
        torch.testing.assert_close(
            ddpm_step(SHORT, x, eps, 6, 5, noise, variance), mean + sigma2.sqrt() * noise
        )


# ---- bad arguments ----


def run(**changes):
    arguments = {
        "eps_model": gaussian_eps,
        "schedule": SCHEDULE,
        "x": torch.zeros(2, 1),
        "timesteps": torch.tensor([1000, 500, 0]),
        "step": ddim_step,
        "generator": seeded(0),
    }
    return list(reverse_process(**(arguments | changes)))


def test_arguments_are_looked_at_before_the_first_state_is_asked_for():
    with pytest.raises(ValueError, match="^timesteps must be at least two strictly falling"):
        reverse_process(forbidden, SCHEDULE, torch.zeros(2, 1), [5], ddim_step)


@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"x": torch.zeros(2)}, ValueError, "x must have a batch axis"),
        (
            {"x": torch.zeros(2, 1, dtype=torch.int64)},
            TypeError,
            "x must be a floating-point tensor",
        ),
        ({"x": torch.full((2, 1), math.nan)}, ValueError, "x must be finite"),
        (
            {"timesteps": [1000.0, 0.0]},
            TypeError,
            "timesteps must be an int64 tensor or a list of ints",
        ),
        (
            {"timesteps": torch.tensor([1000.0, 0.0])},
            TypeError,
            "timesteps must be an int64 tensor or a list of ints",
        ),
        ({"timesteps": 1000}, TypeError, "timesteps must be an int64 tensor or a list of ints"),
        (
            {"timesteps": torch.tensor([], dtype=torch.int64)},
            ValueError,
            "timesteps must be at least two",
        ),
        ({"timesteps": torch.tensor([500, 1000, 0])}, ValueError, "strictly falling"),
        (
            {"timesteps": torch.tensor([1001, 0])},
            ValueError,
            "timesteps must lie in 0…1000, got list",
        ),
        ({"timesteps": torch.tensor([5, -1])}, ValueError, "timesteps must lie in 0…1000"),
        ({"generator": 0}, TypeError, "generator must be a torch.Generator, .*got int 0"),
        (
            {"eps_model": lambda x, t: x[:, :0]},
            ValueError,
            r"eps_model must return .* of shape \(2, 1\), got .* \(2, 0\)",
        ),
        (
            {"eps_model": lambda x, t: None},
            ValueError,
            "eps_model must return a floating-point tensor .* got None",
        ),
        ({"eps_model": None}, TypeError, "eps_model must be a callable, got None"),
        (
            {"schedule": SCHEDULE.alpha_bar},
            TypeError,
            "schedule must be a NoiseSchedule, got a tensor",
        ),
        ({"step": None}, TypeError, "step must be a callable, got None"),
        (
            {"step": lambda schedule, x, eps, t, s, noise: None},
            TypeError,
            "the result of step at t = 1000 must be a floating-point tensor, got None",
        ),
        (
            {"step": lambda schedule, x, eps, t, s, noise: x[:1]},
            ValueError,
            r"the result of step at t = 1000 must have shape \(2, 1\), got .*\(1, 1\)",
        ),
        (
            {"step": lambda schedule, x, eps, t, s, noise: x.double()},
            TypeError,
            "the result of step at t = 1000 must have dtype torch.float32",
        ),
        (
            {"step": lambda schedule, x, eps, t, s, noise: x / 0},
            ValueError,
            "the result of step at t = 1000 must be finite",
        ),
        (
            {"step": ddpm_step, "generator": None},
            TypeError,
            "noise must be a floating-point tensor, got None",
        ),
        (
            {"step": partial(ddim_step, eta=0.5), "generator": None},
            TypeError,
            "noise must be a floating-point tensor, got None",
        ),
        (
            {"eps_model": lambda x, t: x / 0},
            ValueError,
            "eps_model returned NaN or infinity at t = \\[1000\\]",
        ),
        (
            {"step": partial(ddim_step, eta=1.5)},
            ValueError,
            "eta must be a finite number of at least 0 and of at most 1, got 1.5",
        ),
        (
            {"step": partial(ddpm_step, variance="medium")},
            ValueError,
            "variance must be one of 'small', 'large', got str 'medium'",
        ),
    ],
)
def test_bad_arguments(changes, error, message):
    with pytest.raises(error, match=message):
        run(**changes)


@pytest.mark.parametrize("steps", [0, 1001, 2.5, "50"])
def test_steps_outside_1_to_T(steps):
    x = torch.zeros(1, 1)
    for sample in (sample_ddim, partial(sample_ddpm, generator=seeded(0)), invert_ddim):
        with pytest.raises(
            ValueError if isinstance(steps, int) else TypeError, match="number of steps.*1…1000"
        ):
            sample(gaussian_eps, SCHEDULE, x, steps=steps)


@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"proposals": torch.zeros(2)}, ValueError, "proposals must have a batch axis"),
        (
            {"proposals": torch.zeros(2, 1, dtype=torch.uint8)},
            TypeError,
            "proposals must be a floating-point tensor, got a tensor of torch.uint8",
        ),
        ({"proposals": torch.full((2, 1), math.nan)}, ValueError, "proposals must be finite"),
        ({"stop_at": -1}, ValueError, "stop_at must be an int in 0…1000, got -1"),
        ({"stop_at": 1001}, ValueError, "stop_at must be an int in 0…1000, got 1001"),
        ({"stop_at": 0.5}, TypeError, "stop_at must be an int in 0…1000, got float 0.5"),
        ({"stop_at": math.nan}, TypeError, "stop_at must be an int in 0…1000, got float nan"),
        ({"steps": 0}, ValueError, "steps must be an int in 1…100, got 0"),
        ({"steps": 101}, ValueError, "steps must be an int in 1…100, got 101"),
        ({"steps": 2.5}, TypeError, "steps must be an int in 1…100, got float 2.5"),
        ({"stop_at": 0, "steps": 1}, ValueError, "steps must be an int in 0…0, got 1"),
        (
            {"eta": 1.5},
            ValueError,
            "eta must be a finite number of at least 0 and of at most 1, got 1.5",
        ),
        ({"eta": math.nan}, ValueError, "eta must be a finite number .*, got nan"),
        ({"eta": "0.5"}, TypeError, "eta must be a finite number .*, got str '0.5'"),
        (
            {"spacing": "cubic"},
            ValueError,
            "spacing must be one of 'uniform', 'quadratic', 'karras', got str 'cubic'",
        ),
        ({"generator": None}, TypeError, "generator must be a torch.Generator, .*got None"),
        ({"generator": 0}, TypeError, "generator must be a torch.Generator, .*got int 0"),
    ],
)
def test_bad_arguments_of_early_stopping_are_refused_before_any_call(changes, error, message):
    arguments = {"proposals": torch.zeros(2, 1), "stop_at": 100, "generator": seeded(0)} | changes
    with pytest.raises(error, match=message):
        sample_es_ddpm(forbidden, SCHEDULE, **arguments)


def test_a_network_that_answers_in_another_shape():
    with pytest.raises(
        ValueError, match=r"eps_model must return .* of shape \(2, 1\), got .* \(2, 0\)"
    ):
        sample_es_ddpm(
            lambda x, t: x[:, :0], SCHEDULE, torch.zeros(2, 1), stop_at=100, generator=seeded(0)
        )


def test_epsilon_scaling_divides_the_noise_estimate():
    x, t = normal(3, 2), torch.tensor([1, 500, 1000])
    torch.testing.assert_close(epsilon_scaled(mixture_eps, 1.25)(x, t) * 1.25, mixture_eps(x, t))


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_epsilon_scaling_by_other_numbers_is_refused(scale):
    with pytest.raises(ValueError, match="scale must be a finite number above 0, got"):
        epsilon_scaled(mixture_eps, scale)


def test_multistep_is_of_second_order_on_the_exact_flow():
    # Gaussian data: the flow multiplies the distance from the mean by the ratio of standard deviations
    x = normal(5, 2, seed=8)
    a = SCHEDULE.alpha_bar
    sd = (VARIANCE * a + 1 - a).sqrt()

    def error(step, n):
        taus = [900 - 800 * i // n for i in range(n + 1)]
        *_, last = reverse_process(gaussian_eps, SCHEDULE, x, taus, step)
        flow = a[100].sqrt() * MEAN + (x - a[900].sqrt() * MEAN) * sd[100] / sd[900]
        return (last.x - flow).abs().max().item()

    for step, low, high in ((lambda: ddim_step, 0.8, 1.3), (multistep, 1.7, 2.4)):
        errors = [error(step(), n) for n in (40, 80, 160)]
        for coarse, fine in itertools.pairwise(errors):
            assert low < math.log2(coarse / fine) < high
    assert error(multistep(), 20) < error(ddim_step, 40)


def test_multistep_is_of_second_order_on_a_mixture():
    x = normal(5, 2, seed=8)

    def end(step, n):
        *_, last = reverse_process(
            mixture_eps, SCHEDULE, x, [900 - 800 * i // n for i in range(n + 1)], step
        )
        return last.x

    true = end(multistep(), 800)
    for step, low, high in ((lambda: ddim_step, 0.8, 1.3), (multistep, 1.7, 2.4)):
        errors = [(end(step(), n) - true).square().mean().sqrt().item() for n in (40, 80, 160)]
        for coarse, fine in itertools.pairwise(errors):
            assert low < math.log2(coarse / fine) < high, errors


def test_first_and_last_step_of_multistep_are_those_of_ddim():
    x = normal(4, 2, seed=9)
    for taus in ([700, 300], [700, 0]):
        ends = [
            [*reverse_process(mixture_eps, SCHEDULE, x, taus, step)][-1].x
            for step in (ddim_step, multistep())
        ]
        torch.testing.assert_close(*ends, atol=1e-12, rtol=1e-12)


def test_multistep_matches_its_published_form():
    # Lu et al. 2022 (DPM-Solver++), algorithm 2, in half log-SNR and exponentials
    x, taus, last = normal(4, 2, seed=10), [900, 600, 350, 100], None
    wanted = x
    for t, s in itertools.pairwise(taus):
        alpha, sigma = SCHEDULE.alpha_bar.sqrt(), (1 - SCHEDULE.alpha_bar).sqrt()
        lam = (alpha / sigma).log()
        h = lam[s] - lam[t]
        x0 = (wanted - sigma[t] * mixture_eps(wanted, torch.full((4,), t))) / alpha[t]
        D = x0 if last is None else (1 + h / (2 * last[1])) * x0 - h / (2 * last[1]) * last[0]
        wanted = sigma[s] / sigma[t] * wanted - alpha[s] * torch.expm1(-h) * D
        last = x0, h
    *_, end = reverse_process(mixture_eps, SCHEDULE, x, taus, multistep())
    torch.testing.assert_close(end.x, wanted, atol=1e-10, rtol=1e-10)
