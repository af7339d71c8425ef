"""Lines of the derivations, recomputed by a computer algebra system, and an example by the package."""

import math

import sympy as sp
import torch

from dgm_helpers.diffusion import posterior
from dgm_helpers.schedules import NoiseSchedule

x0, x_t, x_s, eps = sp.symbols("x_0 x_t x_s epsilon", real=True)
A_s, a = sp.symbols("A_s a", positive=True)  # ᾱ_s and α_{t|s}; ᾱ_t = a A_s
A_t = a * A_s
MEAN = (sp.sqrt(A_s) * (1 - a) * x0 + sp.sqrt(a) * (1 - A_s) * x_t) / (1 - A_t)
VARIANCE = (1 - A_s) / (1 - A_t) * (1 - a)


def is_zero(expression):
    return sp.simplify(expression) == 0


def test_completing_the_square_gives_the_posterior():
    exponent = (
        -((x_t - sp.sqrt(a) * x_s) ** 2 / (1 - a) + (x_s - sp.sqrt(A_s) * x0) ** 2 / (1 - A_s)) / 2
    )
    precision = -sp.diff(exponent, x_s, 2)
    assert is_zero(1 / precision - VARIANCE)
    assert is_zero(sp.diff(exponent, x_s).subs(x_s, MEAN))


def test_the_mean_in_terms_of_the_noise():
    in_noise = MEAN.subs(x0, (x_t - sp.sqrt(1 - A_t) * eps) / sp.sqrt(A_t))
    assert is_zero(in_noise - (x_t - (1 - a) / sp.sqrt(1 - A_t) * eps) / sp.sqrt(a))


def test_the_weight_of_the_noise_error_and_its_form_in_signal_to_noise_ratios():
    weight = (1 - a) ** 2 / (2 * VARIANCE * a * (1 - A_t))
    assert is_zero(
        sp.diff(MEAN.subs(x0, (x_t - sp.sqrt(1 - A_t) * eps) / sp.sqrt(A_t)), eps) ** 2
        / (2 * VARIANCE)
        - weight
    )
    in_picture = sp.diff(MEAN, x0) ** 2 / (2 * VARIANCE)
    assert is_zero(in_picture - (A_s / (1 - A_s) - A_t / (1 - A_t)) / 2)


def test_the_constant_of_small_steps():
    """Half the variance of c w³ minus half the square of the mean that it moves: 3 c², and with c = h³g'''/6,
    h⁶g'''²/12.
    """
    w, c, h, g = sp.symbols("w c h g", positive=True)
    density = sp.exp(-(w**2) / 2) / sp.sqrt(2 * sp.pi)

    def mean(f):
        return sp.integrate(f * density, (w, -sp.oo, sp.oo))

    from_tilted = c**2 * (mean(w**6) - mean(w**3) ** 2) / 2
    best_from_tilted = (c * mean(w**4)) ** 2 / 2
    assert mean(w**2 * w**3) - mean(w**2) * mean(w**3) == 0
    assert is_zero(from_tilted - best_from_tilted - 3 * c**2)
    assert is_zero((3 * c**2).subs(c, h**3 * g / 6) - h**6 * g**2 / 12)


def test_the_small_variance_s_ratio_on_gaussian_data():
    v = sp.symbols("v", positive=True)
    v_s, v_t = A_s * v + 1 - A_s, A_t * v + 1 - A_t
    ratio = (1 - a) * v_s / (v_t * VARIANCE)
    assert is_zero(ratio - (1 + v * A_s / (1 - A_s)) / (1 + v * A_t / (1 - A_t)))


def test_the_threshold_of_the_second_mode():
    m, v, beta = sp.symbols("m v beta", positive=True)
    c = beta * v / ((1 - beta) * v + beta)
    assert is_zero((m * c / v) ** 2 / c - c * m**2 / v**2)
    assert is_zero(c.subs(beta, v**2 / (m**2 + v**2 - v)) - v**2 / m**2)


def test_the_example_of_chapter_2():
    """β = (0.1, 0.2), x_2 = 0.5 and x_0 = ±1: the numbers that the page computes by hand."""
    schedule = NoiseSchedule(torch.tensor([1, 0.9, 0.72], dtype=torch.float64))
    x2 = torch.full((1, 1), 0.5, dtype=torch.float64)
    (right, variance), (left, _) = (
        posterior(schedule, torch.full_like(x2, value), x2, 2, 1) for value in (1.0, -1.0)
    )
    assert [round(mean.item(), 3) for mean in (right, left)] == [0.837, -0.518]
    assert math.isclose(float(variance), 1 / 14)
    noises = [(0.5 - value * 0.72**0.5) / 0.28**0.5 for value in (1, -1)]
    odds = [math.exp(-(noise**2) / 2) for noise in noises]
    p = odds[0] / sum(odds)
    assert round(p, 3) == 0.954
    guess = p * noises[0] + (1 - p) * noises[1]
    x0_hat = 2 * p - 1
    best = posterior(schedule, torch.full_like(x2, x0_hat), x2, 2, 1)[0].item()
    assert [round(value, 3) for value in (guess, x0_hat, best)] == [-0.511, 0.908, 0.775]
    assert math.isclose(best, p * right.item() + (1 - p) * left.item())
