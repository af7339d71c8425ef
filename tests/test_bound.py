"""The variational bound against closed forms on Gaussian data, and against path-wise Monte Carlo on a mixture."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from dgm_helpers import seeded
from dgm_helpers.bound import _decoder_log_prob as decoder_log_prob
from dgm_helpers.bound import elbo_terms, elbo_weights, gaussian_kl, reverse_variances
from dgm_helpers.diffusion import markov_step, posterior, x0_from_eps
from dgm_helpers.mixtures import GaussianMixture
from dgm_helpers.schedules import NoiseSchedule

LINEAR = NoiseSchedule.linear()
SHORT = NoiseSchedule.linear(T=40, beta_1=0.0025, beta_T=0.4)
LN2 = math.log(2)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def no_noise(x_t, t):
    return torch.zeros_like(x_t)


# ---- the divergence ----


def test_gaussian_kl_is_that_of_torch_distributions():
    mean1, mean2, v1, v2 = (
        normal(5, 3, 2),
        normal(5, 3, 2, seed=1),
        normal(5, 3, 2, seed=2).exp(),
        normal(5, 3, 2, seed=3).exp(),
    )
    expected = kl_divergence(Normal(mean1, v1.sqrt()), Normal(mean2, v2.sqrt())).flatten(1).sum(1)
    torch.testing.assert_close(gaussian_kl(mean1, v1, mean2, v2), expected)


def test_gaussian_kl_broadcasts_one_variance_and_vanishes_for_equal_laws():
    mean = normal(4, 3)
    assert (gaussian_kl(mean, torch.tensor(0.3), mean, torch.full((4, 1), 0.3)) == 0).all()
    one = gaussian_kl(mean, torch.tensor(2.0), mean + 1, torch.tensor(1.0))
    torch.testing.assert_close(one, torch.full((4,), 1.5 * (2 - 1 - LN2 + 1), dtype=torch.float64))


# ---- variances and weights ----


def test_small_variances_are_the_posterior_s_and_large_ones_beta():
    small, large = reverse_variances(LINEAR), reverse_variances(LINEAR, "large")
    x = torch.zeros(999, 1, dtype=torch.float64)
    t = torch.arange(2, 1001)
    torch.testing.assert_close(small[2:], posterior(LINEAR, x, x, t, t - 1)[1].flatten())
    assert small[1] == small[2] and torch.equal(large, LINEAR.beta)
    assert reverse_variances(NoiseSchedule.linear(T=1, beta_1=0.3, beta_T=0.3))[
        1
    ].item() == pytest.approx(0.3)


@pytest.mark.parametrize("variance", ["small", "large"])
def test_a_term_is_the_weighted_noise_error_up_to_a_constant(variance):
    """Two models that differ by a constant: the terms differ by w_t times the difference of their squared errors."""
    x0, g = normal(3, 2), seeded(1)
    zero = elbo_terms(no_noise, SHORT, x0, generator=seeded(1), variance=variance)
    half = elbo_terms(
        lambda x, t: torch.full_like(x, 0.5), SHORT, x0, generator=seeded(1), variance=variance
    )
    for t in range(1, 41):
        noise = torch.randn(3, 2, generator=g, dtype=torch.float64)
        expected = elbo_weights(SHORT, variance)[t] * ((noise - 0.5).square() - noise.square()).sum(
            1
        )
        torch.testing.assert_close(
            (half - zero)[:, t - 1] * 2 * LN2, expected, rtol=1e-8, atol=1e-10
        )


# ---- closed forms on Gaussian data N(1.5, v) ----


def gaussian(v):
    return GaussianMixture([1.0], [[1.5]], [v])


def true_variances(schedule, v):
    """The variance of q(x_{t-1} | x_t) for data of variance v; entry 0 is unused."""
    marginal = schedule.alpha_bar * v + 1 - schedule.alpha_bar
    return torch.cat(
        [torch.zeros(1, dtype=torch.float64), schedule.beta[1:] * marginal[:-1] / marginal[1:]]
    )


def end_divergence(schedule, v):
    a = schedule.alpha_bar[-1]
    return gaussian_kl(
        a.sqrt().reshape(1, 1) * 1.5,
        a * v + 1 - a,
        torch.zeros(1, 1, dtype=torch.float64),
        torch.ones(()),
    ).item()


def entropy(v):
    return (math.log(2 * math.pi * v) + 1) / 2


@pytest.mark.parametrize("v", [0.05, 1.0, 3.0])
@pytest.mark.parametrize("variance", ["exact", "small", "large"])
def test_the_gap_on_gaussian_data_is_the_closed_form(v, variance):
    n = 20_000
    x0 = gaussian(v).sample(n, generator=seeded(2))
    r = true_variances(SHORT, v)
    sigma2 = r if variance == "exact" else reverse_variances(SHORT, variance)
    terms = elbo_terms(
        gaussian(v).eps_model(SHORT), SHORT, x0, generator=seeded(3), variance=sigma2
    )
    gaps = terms.sum(1) * LN2 + gaussian(v).log_prob(
        x0
    )  # nats; the log density removes most of the variance
    ratio = r[1:] / sigma2[1:]
    expected = end_divergence(SHORT, v) + (ratio - 1 - ratio.log()).sum().item() / 2
    assert abs(gaps.mean().item() - expected) < 3 * gaps.std().item() / math.sqrt(n)
    assert expected > 0 and (
        variance != "exact" or expected == pytest.approx(end_divergence(SHORT, v), abs=1e-12)
    )


def test_each_term_on_gaussian_data_is_the_closed_form():
    n, v, a = 20_000, 0.3, SHORT.alpha_bar
    x0 = gaussian(v).sample(n, generator=seeded(4))
    terms = elbo_terms(gaussian(v).eps_model(SHORT), SHORT, x0, generator=seeded(5)) * LN2
    sigma2 = reverse_variances(SHORT)[1:]
    hidden = v * (1 - a[1:]) / (a[1:] * v + 1 - a[1:])  # the variance of x_0 given x_t
    gain = a[:-1].sqrt() * SHORT.beta[1:] / (1 - a[1:])
    beta_tilde = SHORT.beta[2:] * (1 - a[1:-1]) / (1 - a[2:])
    ratio = beta_tilde / sigma2[1:]
    expected = (ratio - 1 - ratio.log() + gain[1:].square() * hidden[1:] / sigma2[1:]) / 2
    first = (math.log(2 * math.pi * sigma2[0]) + hidden[0] / sigma2[0]) / 2
    error = terms.std(0) / math.sqrt(n)
    assert ((terms.mean(0)[1:-1] - expected).abs() < 4.5 * error[1:-1]).all()  # 39 comparisons
    assert abs(terms[:, 0].mean() - first) < 4 * error[0]


def test_the_prior_term_has_its_known_value():
    """E[x_0²] = 0.25 at T = 1000 with the linear schedule: 7.3e-6 bits per dimension."""
    x0 = torch.full((1, 4), 0.5, dtype=torch.float64)
    last = elbo_terms(no_noise, LINEAR, x0, generator=seeded(0))[0, -1].item()
    a = LINEAR.alpha_bar[-1].item()
    assert last == pytest.approx((0.25 * a - a - math.log1p(-a)) / 2 / LN2, rel=1e-9)
    assert last == pytest.approx(7.3e-6, abs=0.05e-6)


# ---- the bound on a mixture ----

MIXTURE = GaussianMixture([0.3, 0.7], [[-1.5, 0.5], [1.0, 0.0]], [0.1, 0.3])


def test_the_sum_is_the_pathwise_estimate_of_the_bound():
    """log q(x_1…T | x_0) − log p(x_0…T) along simulated chains estimates the same number without any divergence."""
    n, eps_model, sigma2 = 10_000, MIXTURE.eps_model(SHORT), reverse_variances(SHORT, "large")
    x0 = MIXTURE.sample(n, generator=seeded(6))
    bound = elbo_terms(eps_model, SHORT, x0, generator=seeded(7), variance="large").sum(1)
    g, x, total = seeded(8), x0, torch.zeros(n, dtype=torch.float64)

    def log_normal(x, mean, variance):
        return Normal(mean, variance.sqrt()).log_prob(x).sum(1)

    for t in range(1, 41):
        y = markov_step(SHORT, x, t, torch.randn(n, 2, generator=g, dtype=torch.float64))
        mean, _ = posterior(SHORT, x0_from_eps(SHORT, y, t, eps_model(y, t)), y, t, t - 1)
        total += log_normal(y, SHORT.alpha[t].sqrt() * x, SHORT.beta[t]) - log_normal(
            x, mean, sigma2[t]
        )
        x = y
    total -= Normal(0.0, 1.0).log_prob(x).sum(1)
    difference = bound - total / (2 * LN2)
    assert abs(difference.mean()) < 3 * difference.std() / math.sqrt(n)
    assert (bound * 2 * LN2 + MIXTURE.log_prob(x0)).mean() > 0  # the bound lies above −log q


def test_a_worse_model_has_a_larger_bound():
    x0 = MIXTURE.sample(2000, generator=seeded(9))
    exact = elbo_terms(MIXTURE.eps_model(SHORT), SHORT, x0, generator=seeded(10)).sum(1)
    assert (elbo_terms(no_noise, SHORT, x0, generator=seeded(10)).sum(1) - exact).mean() > 1


# ---- the decoder ----


@pytest.mark.parametrize("variance", [1e-5, 1e-3, 0.1, 4.0])
@pytest.mark.parametrize("mean", [-1.3, -0.2, 0.999, 40.0])
def test_the_probabilities_of_all_levels_sum_to_one(mean, variance):
    levels = torch.linspace(-1, 1, 256, dtype=torch.float64)
    log_p = decoder_log_prob(levels, torch.full_like(levels, mean), variance, 256)
    assert log_p.isfinite().all() and log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_many_levels_are_a_density_times_the_width():
    x, mean = torch.tensor([0.25], dtype=torch.float64), torch.tensor([0.1], dtype=torch.float64)
    levels = 8 * 4096 + 1
    fine = decoder_log_prob(x, mean, 0.01, levels) - math.log(2 / (levels - 1))
    torch.testing.assert_close(fine, decoder_log_prob(x, mean, 0.01, None), rtol=0, atol=1e-6)


def test_pictures_in_float32():
    x0 = torch.randint(0, 256, (2, 3, 4, 4), generator=seeded(0)).float() / 127.5 - 1
    terms = elbo_terms(no_noise, SHORT, x0, generator=seeded(1), levels=256)
    assert terms.shape == (2, 41) and terms.dtype == torch.float64 and terms.isfinite().all()
    assert torch.equal(terms, elbo_terms(no_noise, SHORT, x0, generator=seeded(1), levels=256))


# ---- bad input ----

X0 = torch.zeros(2, 3)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: gaussian_kl(X0, torch.tensor(0.0), X0, torch.tensor(1.0)),
            ValueError,
            "variance1 must be positive and finite, got 0.0",
        ),
        (
            lambda: gaussian_kl(X0, torch.tensor(1.0), X0, torch.tensor(-1.0)),
            ValueError,
            "variance2 must be positive and finite, got -1.0",
        ),
        (
            lambda: gaussian_kl(X0, torch.ones(3, 1), X0, torch.tensor(1.0)),
            ValueError,
            r"variance1 must broadcast to \(2, 3\)",
        ),
        (
            lambda: gaussian_kl(X0, torch.tensor(1.0), X0[:1], torch.tensor(1.0)),
            ValueError,
            r"mean2 must have shape \(2, 3\)",
        ),
        (
            lambda: reverse_variances(SHORT, "huge"),
            ValueError,
            "^variance must be one of 'small', 'large', got str 'huge'",
        ),
        (
            lambda: elbo_terms(no_noise, SHORT, X0 * math.nan, generator=seeded(0)),
            ValueError,
            "x0 must be finite",
        ),
        (
            lambda: elbo_terms(no_noise, SHORT.alpha_bar, X0, generator=seeded(0)),
            TypeError,
            "schedule must be a NoiseSchedule, got a tensor",
        ),
        (lambda: elbo_weights(SHORT.alpha_bar), TypeError, "schedule must be a NoiseSchedule"),
        (lambda: reverse_variances(None), TypeError, "schedule must be a NoiseSchedule, got None"),
        (
            lambda: elbo_terms(None, SHORT, X0, generator=seeded(0)),
            TypeError,
            "eps_model must be a callable, got None",
        ),
        (
            lambda: elbo_terms(no_noise, SHORT, X0, generator=None),
            TypeError,
            "generator must be a torch.Generator, .*got None",
        ),
        (
            lambda: elbo_terms(no_noise, SHORT, X0, generator=seeded(0), variance="huge"),
            ValueError,
            "variance must be",
        ),
        (
            lambda: elbo_terms(no_noise, SHORT, X0, generator=seeded(0), variance=torch.ones(40)),
            ValueError,
            "T \\+ 1 = 41 numbers",
        ),
        (
            lambda: elbo_terms(no_noise, SHORT, X0, generator=seeded(0), variance=torch.zeros(41)),
            ValueError,
            "positive from index 1",
        ),
        (
            lambda: elbo_terms(no_noise, SHORT, X0, generator=3),
            TypeError,
            "generator must be a torch.Generator, .*got int 3",
        ),
        (
            lambda: elbo_terms(no_noise, SHORT, X0, generator=seeded(0), levels=1),
            ValueError,
            "levels must be an int in 2…65536, got 1",
        ),
        (
            lambda: elbo_terms(no_noise, SHORT, X0 + 0.1, generator=seeded(0), levels=256),
            ValueError,
            "x0 must take 256 evenly spaced",
        ),
        (
            lambda: elbo_terms(no_noise, SHORT, X0 + 3, generator=seeded(0), levels=3),
            ValueError,
            "x0 must take 3 evenly spaced",
        ),
        (
            lambda: elbo_terms(lambda x, t: x[:1], SHORT, X0, generator=seeded(0)),
            ValueError,
            "eps_model must return",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
