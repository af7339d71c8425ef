"""The samplers against exact oracles: Gaussian data, where DDIM is an affine map, and a Gaussian mixture."""

import math
from functools import partial

import pytest
import torch

from dgm_helpers.diffusion import perturb_input
from dgm_helpers.samplers import (
    clipped,
    ddim_step,
    ddpm_step,
    epsilon_scaled,
    invert_ddim,
    reverse_process,
    sample_ddim,
    sample_ddpm,
    sample_es_ddpm,
)
from dgm_helpers.schedules import NoiseSchedule, timesteps

SCHEDULE = NoiseSchedule.linear()
MEAN, VARIANCE = 1.5, 0.04
pytestmark = pytest.mark.usefixtures("float64")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


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
        assert (covariance.diag() / v - 1).abs().max() < 4 * math.sqrt(2 / m) + 0.03  # 3%: discretisation
        assert abs(covariance[0, 1].item()) < 4 * v / math.sqrt(m)


def gaussian_eps(x, t):
    """The exact noise predictor of N(MEAN, VARIANCE) data: −√(1−ᾱ) times the score of the noised Gaussian."""
    a = SCHEDULE.alpha_bar[t].reshape(-1, *[1] * (x.ndim - 1))
    return (1 - a).sqrt() * (x - a.sqrt() * MEAN) / (a * VARIANCE + 1 - a)


WEIGHTS, MEANS, SPREAD = torch.tensor([0.2, 0.8]), torch.tensor([[-5.0, 5.0], [5.0, -5.0]]), torch.tensor([1.0, 2.0])


def mixture_eps(x, t):
    """The exact noise predictor of a mixture of two isotropic Gaussians in the plane."""
    a = SCHEDULE.alpha_bar[t][:, None]
    v = a * SPREAD + 1 - a
    away = x[:, None] - a.sqrt()[..., None] * MEANS
    log_p = WEIGHTS.log() - v.log() - away.square().sum(-1) / (2 * v)
    return (1 - a).sqrt() * ((log_p.softmax(1) / v)[..., None] * away).sum(1)


@pytest.mark.parametrize("steps", [1, 7, 50, 1000])
def test_ddim_on_gaussian_data_is_the_known_affine_map(steps):
    x_T = torch.randn(5, 2, generator=generator())
    scale, shift = 1.0, 0.0  # x_s = scale · x_T + shift, composed step by step from the closed form
    taus = timesteps(1000, steps)
    for t, s in zip(taus[:-1], taus[1:], strict=True):
        a_t, a_s = SCHEDULE.alpha_bar[t].item(), SCHEDULE.alpha_bar[s].item()
        v_t = a_t * VARIANCE + 1 - a_t
        gain = (math.sqrt(a_s * a_t) * VARIANCE + math.sqrt((1 - a_s) * (1 - a_t))) / v_t
        scale, shift = gain * scale, gain * (shift - math.sqrt(a_t) * MEAN) + math.sqrt(a_s) * MEAN
    *_, last = reverse_process(gaussian_eps, SCHEDULE, x_T, taus, ddim_step, generator=generator())
    torch.testing.assert_close(last.x, scale * x_T + shift, rtol=1e-10, atol=1e-10)
    assert last.t == 0


def test_ddim_with_all_steps_nearly_keeps_the_gaussian():
    """The probability flow's exact map is x_T ↦ MEAN + √VARIANCE x_T when the noised variance at T is 1."""
    x = sample_ddim(gaussian_eps, SCHEDULE, (50_000, 1), steps=1000, generator=generator())
    assert abs(x.mean().item() - MEAN) < 0.01
    assert abs(x.std().item() / math.sqrt(VARIANCE) - 1) < 0.02


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
        n = 20_000
        x = sample_ddpm(gaussian_eps, SCHEDULE, (n, 1), variance=variance, generator=generator(1))
        assert abs(x.mean().item() - mean) < 4 * math.sqrt(var / n)
        assert abs(x.var().item() / var - 1) < 4 * math.sqrt(2 / n)


@pytest.mark.parametrize("sampler", [sample_ddpm, partial(sample_ddim, steps=200), partial(sample_ddim, steps=200, eta=1.0)])
def test_mixture_samples_match_weights_means_and_covariances(sampler):
    n = 20_000
    x = sampler(mixture_eps, SCHEDULE, (n, 2), generator=generator(2))
    check_mixture(x)


@pytest.mark.parametrize("steps", [10, 1000])
def test_eta_1_is_ancestral_ddpm(steps):
    x_T = torch.randn(64, 2, generator=generator())
    paths = [
        [state.x for state in reverse_process(mixture_eps, SCHEDULE, x_T, timesteps(1000, steps), step, generator=generator(3))]
        for step in (ddpm_step, partial(ddim_step, eta=1.0))
    ]
    assert max((a - b).abs().max().item() for a, b in zip(*paths, strict=True)) < 1e-6


def test_same_seed_same_samples_and_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    a, b = (sample_ddpm(mixture_eps, SCHEDULE, (4, 2), steps=20, generator=generator(7)) for _ in range(2))
    assert torch.equal(a, b)
    assert torch.equal(before, torch.random.get_rng_state())


def test_points_and_pictures_are_drawn_by_the_same_function():
    x = sample_ddim(gaussian_eps, SCHEDULE, (3, 2, 4, 4), steps=5, generator=generator())
    y = sample_ddim(gaussian_eps, SCHEDULE, (3, 32), steps=5, generator=generator())
    torch.testing.assert_close(x.flatten(1), y)


def test_inversion_returns_to_the_data_as_steps_grow():
    x0 = MEAN + math.sqrt(VARIANCE) * torch.randn(100, 1, generator=generator())
    errors = []
    for steps in (50, 200, 1000):
        x_T = invert_ddim(gaussian_eps, SCHEDULE, x0, steps=steps)
        *_, last = reverse_process(gaussian_eps, SCHEDULE, x_T, timesteps(1000, steps), ddim_step, generator=generator())
        errors.append((last.x - x0).abs().max().item())
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_clipping_clips_the_implied_clean_data():
    x0, t = torch.full((1, 3), 2.0), torch.tensor([500])
    x_t = perturb_input(SCHEDULE, x0, t, torch.ones(1, 3))
    eps = clipped(lambda x, u: torch.ones_like(x), SCHEDULE)(x_t, t)
    a = SCHEDULE.alpha_bar[500]
    torch.testing.assert_close((x_t - (1 - a).sqrt() * eps) / a.sqrt(), torch.ones(1, 3))


def run(**changes):
    arguments = {
        "eps_model": gaussian_eps,
        "schedule": SCHEDULE,
        "x": torch.zeros(2, 1),
        "timesteps": torch.tensor([1000, 500, 0]),
        "step": ddim_step,
        "generator": generator(),
    }
    return list(reverse_process(**(arguments | changes)))


@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"x": torch.zeros(2)}, ValueError, "x must have a batch axis"),
        ({"x": torch.zeros(2, 1, dtype=torch.int64)}, TypeError, "x must be a floating-point tensor"),
        ({"x": torch.full((2, 1), math.nan)}, ValueError, "x must be finite"),
        ({"timesteps": [1000, 0]}, TypeError, "timesteps must be an int64 tensor, got list"),
        ({"timesteps": torch.tensor([1000.0, 0.0])}, TypeError, "timesteps must be an int64 tensor"),
        ({"timesteps": torch.tensor([], dtype=torch.int64)}, ValueError, "timesteps must be at least two"),
        ({"timesteps": torch.tensor([500, 1000, 0])}, ValueError, "strictly falling"),
        ({"timesteps": torch.tensor([1001, 0])}, ValueError, "timesteps must lie in 0…1000, got 0…1001"),
        ({"timesteps": torch.tensor([5, -1])}, ValueError, "timesteps must lie in 0…1000"),
        ({"generator": 0}, TypeError, "generator must be a torch.Generator, got int"),
        ({"eps_model": lambda x, t: x[:, :0]}, ValueError, r"eps_model must return a tensor of shape \(2, 1\), got \(2, 0\)"),
        ({"eps_model": lambda x, t: None}, ValueError, "eps_model must return a tensor .* got NoneType"),
        ({"eps_model": lambda x, t: x / 0}, ValueError, "eps_model returned NaN or infinity at t = \\[1000\\]"),
        ({"step": partial(ddim_step, eta=1.5)}, ValueError, r"eta must lie in \[0, 1\], got 1.5"),
        ({"step": partial(ddpm_step, variance="medium")}, ValueError, 'variance must be "small" or "large", got \'medium\''),
    ],
)
def test_bad_arguments(changes, error, message):
    with pytest.raises(error, match=message):
        run(**changes)


@pytest.mark.parametrize("steps", [0, 1001, 2.5])
def test_steps_outside_1_to_T(steps):
    with pytest.raises(ValueError, match="number of steps.*1…1000"):
        sample_ddim(gaussian_eps, SCHEDULE, (1, 1), steps=steps, generator=generator())


# Early-Stopped DDPM


@pytest.mark.parametrize("steps", [None, 0])
def test_stopping_at_0_returns_the_proposals_without_a_call(steps):
    proposals = torch.randn(3, 2, 4, generator=generator())
    assert torch.equal(sample_es_ddpm(None, SCHEDULE, proposals, stop_at=0, steps=steps, generator=generator()), proposals)


@pytest.mark.parametrize("stop_at, steps, taus", [(200, 4, [200, 150, 100, 50]), (3, None, [3, 2, 1]), (1000, 1, [1000])])
def test_the_network_is_called_steps_times_from_stop_at_on(stop_at, steps, taus):
    called = []

    def eps_model(x, t):
        called.append(t.unique().item())
        return gaussian_eps(x, t)

    x = sample_es_ddpm(eps_model, SCHEDULE, torch.zeros(5, 1), stop_at=stop_at, steps=steps, generator=generator())
    assert called == taus and x.shape == (5, 1)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("stop_at, steps", [(1, None), (50, None), (400, 200), (1000, 250)])
def test_proposals_that_are_data_give_data_for_any_stop(stop_at, steps, eta):
    n = 20_000
    first = torch.rand(n, generator=generator(1)) < WEIGHTS[0]
    k = (~first).long()
    data = MEANS[k] + SPREAD[k].sqrt()[:, None] * torch.randn(n, 2, generator=generator(2))
    x = sample_es_ddpm(mixture_eps, SCHEDULE, data, stop_at=stop_at, steps=steps, eta=eta, generator=generator(3))
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
        gain = math.sqrt(a_s / a_t) * (1 - math.sqrt(1 - a_t) * slope) + math.sqrt(1 - a_s - sigma2) * slope
        mean = gain * (mean - math.sqrt(a_t) * MEAN) + math.sqrt(a_s) * MEAN
        var = gain**2 * var + sigma2
    x = sample_es_ddpm(
        gaussian_eps, SCHEDULE, torch.randn(n, 1, generator=generator(4)), stop_at=stop_at, steps=steps, eta=eta, generator=generator(5)
    )
    assert abs(x.mean().item() - mean) < 4 * math.sqrt(var / n)
    assert abs(x.var().item() / var - 1) < 4 * math.sqrt(2 / n)


def test_stopping_at_T_agrees_with_ddim_whatever_the_proposals():
    """The two start from N(√ᾱ_T x, 1 − ᾱ_T) and N(0, 1), 0.006 |x| apart: the same law within the sampling error."""
    n = 20_000
    es = sample_es_ddpm(mixture_eps, SCHEDULE, torch.full((n, 2), 3.0), stop_at=1000, steps=100, eta=0.0, generator=generator(6))
    ddim = sample_ddim(mixture_eps, SCHEDULE, (n, 2), steps=100, generator=generator(7))
    for angle in (0.0, 0.7, 1.6, 2.4):
        direction = torch.tensor([math.cos(angle), math.sin(angle)])
        grid = torch.linspace(-8, 8, 65)
        difference = ((es @ direction)[:, None] < grid).double().mean(0) - ((ddim @ direction)[:, None] < grid).double().mean(0)
        assert difference.abs().max() < 2 * math.sqrt(2 / n)  # Kolmogorov-Smirnov at a level of 0.07%


def test_the_same_seed_gives_the_same_early_stopped_samples():
    a, b = (sample_es_ddpm(mixture_eps, SCHEDULE, torch.ones(4, 2), stop_at=30, generator=generator(8)) for _ in range(2))
    assert torch.equal(a, b)


@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"proposals": torch.zeros(2)}, ValueError, "proposals must have a batch axis"),
        ({"proposals": torch.zeros(2, 1, dtype=torch.uint8)}, TypeError, "proposals must be a floating-point tensor, got torch.uint8"),
        ({"proposals": torch.full((2, 1), math.nan)}, ValueError, "proposals must be finite"),
        ({"stop_at": -1}, ValueError, "stop_at must be an int in 0…1000, got -1"),
        ({"stop_at": 1001}, ValueError, "stop_at must be an int in 0…1000, got 1001"),
        ({"stop_at": 0.5}, ValueError, "stop_at must be an int in 0…1000, got 0.5"),
        ({"stop_at": math.nan}, ValueError, "stop_at must be an int in 0…1000, got nan"),
        ({"steps": 0}, ValueError, "steps must be an int in 1…stop_at = 100, got 0"),
        ({"steps": 101}, ValueError, "steps must be an int in 1…stop_at = 100, got 101"),
        ({"steps": 2.5}, ValueError, "steps must be an int in 1…stop_at = 100, got 2.5"),
        ({"stop_at": 0, "steps": 1}, ValueError, "steps must be an int in 1…stop_at = 0, got 1"),
        ({"eta": 1.5}, ValueError, r"eta must lie in \[0, 1\], got 1.5"),
        ({"eta": math.nan}, ValueError, r"eta must lie in \[0, 1\], got nan"),
        ({"generator": 0}, TypeError, "generator must be a torch.Generator, got int"),
    ],
)
def test_bad_arguments_of_early_stopping_are_refused_before_any_call(changes, error, message):
    def eps_model(x, t):
        raise AssertionError("the network was called")

    arguments = {"proposals": torch.zeros(2, 1), "stop_at": 100, "generator": generator()} | changes
    with pytest.raises(error, match=message):
        sample_es_ddpm(eps_model, SCHEDULE, **arguments)


def test_a_network_that_answers_in_another_shape():
    with pytest.raises(ValueError, match=r"eps_model must return a tensor of shape \(2, 1\), got \(2, 0\)"):
        sample_es_ddpm(lambda x, t: x[:, :0], SCHEDULE, torch.zeros(2, 1), stop_at=100, generator=generator())


def test_epsilon_scaling_divides_the_noise_estimate():
    x, t = torch.randn(3, 2, generator=generator()), torch.tensor([1, 500, 1000])
    torch.testing.assert_close(epsilon_scaled(mixture_eps, 1.25)(x, t) * 1.25, mixture_eps(x, t))


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_epsilon_scaling_by_other_numbers_is_refused(scale):
    with pytest.raises(ValueError, match="scale must be positive and finite"):
        epsilon_scaled(mixture_eps, scale)
