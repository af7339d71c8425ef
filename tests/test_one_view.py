"""Orders of convergence of the samplers, exactly: on Gaussian data each is an affine map with Gaussian noise, and
nothing is drawn.

The forward chains with n steps are one process, seen n times: the one with β(t) = 0.1 + 19.9 t on [0, 1].
"""

import math
from functools import partial

import pytest
import torch

from dgm_helpers import seeded
from dgm_helpers.diffusion import eps_from_score, score_from_eps, simple_loss
from dgm_helpers.langevin import annealed_langevin, langevin
from dgm_helpers.mixtures import GaussianMixture
from dgm_helpers.samplers import ddim_step, ddpm_step, sample_ddim
from dgm_helpers.schedules import NoiseSchedule, timesteps
from dgm_helpers.score_matching import denoising_score_matching

V = 4.0  # the variance of the data


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def beta(t):
    return 0.1 + 19.9 * t


def alpha_bar(t):
    return torch.exp(-(0.1 * t + 9.95 * t**2))


def chain(n):
    return NoiseSchedule(alpha_bar(torch.linspace(0, 1, n + 1, dtype=torch.float64)))


def exact_eps(schedule):
    def eps_model(x, t):
        a = schedule.alpha_bar[t][:, None]
        return (1 - a).sqrt() * x / (a * V + 1 - a)

    return eps_model


def affine(schedule, step, t):
    """The gain and the noise's factor of one step from t to t − 1, read off the step function."""
    x, noise = double([0.0], [1.0], [0.0]), double([0.0], [0.0], [1.0])
    eps = exact_eps(schedule)(x, torch.full((3,), t))
    shift, gain, sigma = step(schedule, x, eps, t, t - 1, noise).flatten().tolist()
    assert shift == 0
    return gain, sigma


def variance_after(n, step, start=1.0, excess=0.0):
    """The variance of the samples of n steps from 1 to 0, run from time ``start`` on, where they have the exact
    variance plus ``excess``.
    """
    schedule, first = chain(n), round(start * n)
    a = schedule.alpha_bar[first].item()
    variance = a * V + 1 - a + excess
    for t in range(first, 0, -1):
        gain, sigma = affine(schedule, step, t)
        variance = gain**2 * variance + sigma**2
    return variance


def order(errors):
    """The order from the errors at n and 2n steps."""
    return math.log2(abs(errors[0] / errors[1]))


SAMPLERS = {
    "DDPM small": ddpm_step,
    "DDPM large": partial(ddpm_step, variance="large"),
    "DDIM 0": ddim_step,
    "DDIM 0.5": partial(ddim_step, eta=0.5),
    "DDIM 1": partial(ddim_step, eta=1.0),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_variance_of_the_samples_converges_with_order_one(name):
    errors = [variance_after(n, SAMPLERS[name]) - V for n in (128, 256)]
    assert abs(order(errors) - 1) < 0.05


@pytest.mark.parametrize("name", ["DDPM small", "DDPM large", "DDIM 0"])
def test_an_early_stopped_start_has_the_order_of_its_steps_and_keeps_a_share_of_its_error(name):
    step = SAMPLERS[name]
    errors = [variance_after(n, step, start=0.5) - V for n in (128, 256)]
    assert abs(order(errors) - 1) < 0.05
    kept = (
        variance_after(256, step, start=0.5, excess=0.1) - variance_after(256, step, start=0.5)
    ) / 0.1
    a = alpha_bar(double(0.5)).item()
    v = a * V + 1 - a
    expected = V / v if name == "DDIM 0" else a * (V / v) ** 2
    assert kept == pytest.approx(
        expected, rel=0.02
    )  # the flow keeps more of it than the noisy steps


@pytest.mark.parametrize("n", [4, 50])
def test_closed_forms_of_the_variance(n):
    a = chain(n).alpha_bar
    t, s = a[1:], a[:-1]
    v_t, v_s, away = t * V + 1 - t, s * V + 1 - s, (1 - t / s) ** 2 * s**2
    small = V - V**3 * (away / (v_s**2 * v_t * (1 - t))).sum()
    large = V + V**2 * (1 - V) * (away / (v_s**2 * v_t))[1:].sum() - (1 - t[0]) * V / v_t[0]
    angles = ((1 - a) / (a * V)).sqrt().atan()
    ddim = V * angles.diff().cos().square().prod()
    for name, variance in (("DDPM small", small), ("DDPM large", large), ("DDIM 0", ddim)):
        assert variance_after(n, SAMPLERS[name]) == pytest.approx(variance.item(), rel=1e-10)


def test_the_constant_of_the_large_variance():
    t = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    a = alpha_bar(t)
    constant = torch.trapezoid(
        (beta(t) * a * V) ** 2 * (1 - V) / (a * V + 1 - a) ** 3, t
    ).item() - beta(0)
    assert 256 * (variance_after(256, SAMPLERS["DDPM large"]) - V) == pytest.approx(
        constant, rel=0.005
    )


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_step_is_an_euler_maruyama_step_up_to_second_order(name):
    eta = float(name.split()[1]) if name.startswith("DDIM") else 1.0
    t = double(0.4)[0]
    v = alpha_bar(t) * V + 1 - alpha_bar(t)
    gaps = []
    for h in (2e-4, 1e-4):
        schedule = NoiseSchedule(torch.stack([torch.ones_like(t), alpha_bar(t - h), alpha_bar(t)]))
        gain, sigma = affine(schedule, SAMPLERS[name], 2)
        gaps.append(
            (
                abs(gain - 1 - h * beta(t) / 2 * (1 - (1 + eta**2) / v)).item(),
                abs(sigma**2 - h * eta**2 * beta(t)).item(),
            )
        )
    assert abs(order([gap[0] for gap in gaps]) - 2) < 0.05
    assert gaps[1][1] == 0 if eta == 0 else abs(order([gap[1] for gap in gaps]) - 2) < 0.05


def heun(gain_of, levels):
    gain = 1.0
    for here, there in zip(levels[:-1], levels[1:], strict=True):
        trial = 1 + (there - here) * gain_of(here)
        gain *= 1 + (there - here) / 2 * (gain_of(here) + gain_of(there) * trial)
    return gain


@pytest.mark.parametrize("name, expected", [("DDIM", 1), ("Heun", 2)])
def test_solvers_of_the_flow_reach_the_exact_end_points_with_their_order(name, expected):
    """The exact flow of N(0, V) multiplies u by √(V / (V + λ²)) from level λ to 0."""
    errors = []
    for n in (128, 256):
        a = chain(n).alpha_bar
        levels = ((1 - a) / a).sqrt().flip(0).tolist()
        if name == "Heun":
            gain = heun(lambda level: level / (V + level**2), levels)
        else:
            gain = (
                math.prod(affine(chain(n), ddim_step, t)[0] for t in range(n, 0, -1))
                * a[-1].sqrt().item()
            )
        errors.append(gain * levels[0] - math.sqrt(V / (V + levels[0] ** 2)) * levels[0])
    assert abs(order(errors) - expected) < 0.05


def test_ddim_is_euler_in_u_and_lambda():
    schedule, mixture = NoiseSchedule.linear(), GaussianMixture.from_student_number(7)
    x = torch.randn(20, 2, generator=seeded(0), dtype=torch.float64)
    taus = timesteps(1000, 20)
    u = x / schedule.alpha_bar[-1].sqrt()
    levels = ((1 - schedule.alpha_bar) / schedule.alpha_bar).sqrt()[taus].tolist()
    for here, there in zip(levels[:-1], levels[1:], strict=True):
        u = u - (there - here) * here * mixture.score(u, here)
    torch.testing.assert_close(
        sample_ddim(mixture.eps_model(schedule), schedule, x, steps=20), u, rtol=1e-9, atol=1e-9
    )


def step_gain(sampler):
    """How much further apart one step takes two chains that start 1 apart and share their noise."""
    return (sampler(double([1.0]), seeded(0)) - sampler(double([0.0]), seeded(0))).item()


def test_langevins_stationary_variance_converges_with_order_one():
    errors = []
    for size in (0.02, 0.01):
        gain = step_gain(
            lambda x, g: langevin(lambda x: -x / V, x, step_size=size, steps=1, generator=g)
        )
        errors.append(size / (1 - gain**2) - V)
    assert abs(order(errors) - 1) < 0.01
    assert errors[1] == pytest.approx(0.01 / 4, rel=0.01)


def test_annealed_langevin_converges_with_order_one_to_the_density_at_the_last_level():
    sigmas, errors = [8.0, 4.0, 2.0, 1.0], []
    for size in (0.02, 0.01):
        variance = sigmas[0] ** 2

        def one_step_a_level(x, g):
            return annealed_langevin(
                lambda x, sigma: -x / (V + sigma[:, None] ** 2),
                x,
                sigmas,
                step_size=size,
                steps_per_level=1,
                generator=g,
            )

        gains = [1 - size * s**2 / (2 * (V + s**2)) for s in sigmas]
        assert step_gain(one_step_a_level) == pytest.approx(math.prod(gains))
        for gain, s in zip(gains, sigmas, strict=True):
            for _ in range(round(100 / size)):
                variance = gain**2 * variance + size * s**2
        errors.append(variance - (V + sigmas[-1] ** 2))
    assert abs(order(errors) - 1) < 0.01


def test_noise_and_score_are_one_function_and_the_losses_one_loss():
    schedule, mixture = NoiseSchedule.linear(), GaussianMixture.from_student_number(7)
    x0 = mixture.sample(50, generator=seeded(0))
    for t in (1, 300, 1000):
        noised = mixture.diffused(schedule, t)
        x_t = noised.sample(50, generator=seeded(t))
        eps = mixture.eps_model(schedule)(x_t, t)
        torch.testing.assert_close(score_from_eps(schedule, t, eps), noised.score(x_t))
        torch.testing.assert_close(eps_from_score(schedule, t, noised.score(x_t)), eps)
        a = schedule.alpha_bar[t]
        sigma = ((1 - a) / a).sqrt().item()

        def poor_eps(x, t):
            return 0.5 * mixture.eps_model(schedule)(x, t) + x.roll(1, 1)

        noise = torch.randn(50, 2, generator=seeded(1), dtype=torch.float64)
        simple = 2 * simple_loss(poor_eps, schedule, x0, t, noise)
        matching = denoising_score_matching(
            lambda x: -poor_eps(a.sqrt() * x, t) / sigma, x0, sigma, generator=seeded(1)
        )
        torch.testing.assert_close(simple, 2 * sigma**2 * matching)
