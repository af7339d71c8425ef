"""The exact oracle: the mixture's density, score and reverse kernels against autograd, quadrature and simulation."""

import math

import pytest
import torch

from dgm_helpers import seeded
from dgm_helpers.diffusion import eps_from_score, perturb_input
from dgm_helpers.mixtures import GaussianMixture
from dgm_helpers.schedules import NoiseSchedule

SCHEDULE = NoiseSchedule.linear()
FORMS = ["isotropic", "diagonal", "full"]


def rand(*shape, g):
    return torch.rand(shape, generator=g, dtype=torch.float64)


def randn(*shape, g):
    return torch.randn(shape, generator=g, dtype=torch.float64)


def random_mixture(form, d, K=4, seed=0):
    g = seeded(seed)
    weights = rand(K, g=g) + 0.1
    factor = randn(K, d, d, g=g)
    variances = {
        "isotropic": 0.2 + rand(K, g=g),
        "diagonal": 0.2 + rand(K, d, g=g),
        "full": factor @ factor.mT / d + 0.1 * torch.eye(d, dtype=torch.float64),
    }[form]
    return GaussianMixture(weights / weights.sum(), 3 * randn(K, d, g=g), variances)


def one_mode(mixture, k):
    return GaussianMixture([1.0], mixture.means[k : k + 1], mixture.variances[k : k + 1])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("d", [1, 2, 5, 8])
def test_log_prob_is_that_of_torch_distributions(form, d):
    mixture, x = random_mixture(form, d), 4 * randn(50, d, g=seeded(1))
    matrices = torch.stack([one_mode(mixture, k).covariance for k in range(4)])
    for sigma in (0.0, 0.5):
        noisy = matrices + sigma**2 * torch.eye(d, dtype=torch.float64)
        components = torch.distributions.MultivariateNormal(mixture.means, noisy)
        mix = torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(mixture.weights), components
        )
        torch.testing.assert_close(
            mixture.log_prob(x, sigma), mix.log_prob(x), rtol=1e-10, atol=1e-10
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("d", range(1, 9))
def test_score_is_the_gradient_of_log_prob(form, d):
    mixture, g = random_mixture(form, d, seed=d), seeded(2)
    x = (5 * randn(1000, d, g=g)).requires_grad_()
    sigma = 10 ** (4 * rand(1000, g=g) - 2)  # 0.01 to 100, another one at each point
    (gradient,) = torch.autograd.grad(mixture.log_prob(x, sigma).sum(), x)
    torch.testing.assert_close(mixture.score(x, sigma), gradient, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_far_away_and_at_every_noise_level_nothing_is_nan(form):
    mixture, g = random_mixture(form, 3), seeded(3)
    direction = randn(200, 3, g=g)
    x = 1e4 * direction / direction.norm(dim=1, keepdim=True)
    for sigma in (0.0, 1e-3, 1.0, 1e3):
        assert mixture.log_prob(x, sigma).isfinite().all()
        score = mixture.score(x, sigma)
        assert score.isfinite().all() and ((score * x).sum(1) < 0).all()  # it points back


def test_many_points_are_the_same_as_few():
    mixture, g = random_mixture("full", 2), seeded(10)
    x, sigma = 3 * randn(50_001, 2, g=g), rand(50_001, g=g)
    rows = torch.tensor([0, 19_999, 20_000, 40_000, 50_000])
    for level, few in ((sigma, sigma[rows]), (0.3, 0.3)):
        torch.testing.assert_close(
            mixture.score(x, level)[rows], mixture.score(x[rows], few), rtol=1e-12, atol=1e-12
        )
        torch.testing.assert_close(
            mixture.log_prob(x, level)[rows], mixture.log_prob(x[rows], few), rtol=1e-12, atol=1e-12
        )
    assert mixture.score(x[:0]).shape == (0, 2) and mixture.log_prob(x[:0]).shape == (0,)


def test_one_gaussian_has_a_linear_score():
    covariance = torch.tensor([[2.0, 0.6], [0.6, 1.0]], dtype=torch.float64)
    mixture, x = GaussianMixture([1.0], [[1.0, -2.0]], covariance[None]), randn(20, 2, g=seeded(0))
    expected = -(x - mixture.means) @ torch.linalg.inv(covariance + 0.25 * torch.eye(2))
    torch.testing.assert_close(mixture.score(x, 0.5), expected, rtol=1e-12, atol=1e-12)


def test_equal_components_are_one_component():
    two = GaussianMixture([0.3, 0.7], [[1.0], [1.0]], [0.5, 0.5])
    x = randn(20, 1, g=seeded(0))
    torch.testing.assert_close(two.score(x), -(x - 1) / 0.5)
    zero = GaussianMixture([0.0, 1.0], [[9.0], [1.0]], [2.0, 0.5])
    torch.testing.assert_close(zero.score(x), two.score(x))
    torch.testing.assert_close(zero.log_prob(x), two.log_prob(x))


@pytest.mark.parametrize("form", FORMS)
def test_samples_have_the_mean_the_covariance_and_the_weights(form):
    mixture, n = random_mixture(form, 2), 200_000
    x = mixture.sample(n, generator=seeded(4))
    assert x.shape == (n, 2) and x.dtype == torch.float64
    C = mixture.covariance
    assert ((x.mean(0) - mixture.mean).abs() < 4 * (C.diag() / n).sqrt()).all()
    away = x - mixture.mean
    products = away[:, :, None] * away[:, None, :]
    assert ((products.mean(0) - C).abs() < 4 * products.std(0) / math.sqrt(n)).all()
    apart = GaussianMixture([0.2, 0.8], [[-50.0], [50.0]], [1.0, 1.0]).sample(
        n, generator=seeded(5)
    )
    assert abs((apart < 0).double().mean() - 0.2) < 4 * math.sqrt(0.16 / n)
    assert torch.equal(
        mixture.sample(5, generator=seeded(6)), mixture.sample(5, generator=seeded(6))
    )
    assert mixture.sample(0, generator=seeded(0)).shape == (0, 2)


@pytest.mark.parametrize("form", FORMS)
def test_dtype_is_kept(form):
    mixture, x = random_mixture(form, 2), torch.randn(5, 2, generator=seeded(0))
    assert mixture.log_prob(x).dtype == mixture.score(x).dtype == torch.float32
    for t in (10, torch.full((5,), 10)):
        assert mixture.eps_model(SCHEDULE)(x, t).dtype == torch.float32


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("t", [1, 10, 300, 1000])
def test_eps_model_is_the_scaled_score_of_the_diffused_density(form, t):
    mixture = random_mixture(form, 3)
    x = 3 * randn(100, 3, g=seeded(7))
    expected = eps_from_score(SCHEDULE, t, mixture.diffused(SCHEDULE, t).score(x))
    for times in (t, torch.full((100,), t)):
        torch.testing.assert_close(
            mixture.eps_model(SCHEDULE)(x, times), expected, rtol=1e-9, atol=1e-9
        )


def test_eps_model_at_time_0_knows_no_noise():
    x = randn(5, 2, g=seeded(0))
    assert (random_mixture("isotropic", 2).eps_model(SCHEDULE)(x, 0) == 0).all()


def test_eps_model_is_the_mean_of_the_noise():
    """Regression on simulated pairs: the error of the exact predictor is uncorrelated with any function of x_t."""
    mixture, g, n = random_mixture("diagonal", 2), seeded(8), 200_000
    x0, t, noise = mixture.sample(n, generator=g), 250, randn(n, 2, g=g)
    x_t = perturb_input(SCHEDULE, x0, t, noise)
    error = noise - mixture.eps_model(SCHEDULE)(x_t, t)
    for feature in (torch.ones_like(x_t), x_t, x_t.sin(), x_t.flip(1).square()):
        product = error * feature
        assert (product.mean(0).abs() < 4 * product.std(0) / math.sqrt(n)).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("t, s", [(1, 0), (400, 399), (400, 150), (1000, 0)])
def test_reverse_kernel_is_bayes_rule(form, t, s):
    """log q(x_s | x_t) = log q(x_t | x_s) + log q(x_s) − log q(x_t) at random points."""
    mixture, g = random_mixture(form, 2), seeded(9)
    x_t = mixture.diffused(SCHEDULE, t).sample(1, generator=g)[0]
    kernel = mixture.reverse_kernel(SCHEDULE, x_t, t, s)
    x_s = kernel.sample(100, generator=g)
    a = SCHEDULE.alpha_bar[t] / SCHEDULE.alpha_bar[s]
    step = GaussianMixture([1.0], [[0.0, 0.0]], [1 - a])
    bayes = (
        step.log_prob(x_t - a.sqrt() * x_s)
        + mixture.diffused(SCHEDULE, s).log_prob(x_s)
        - mixture.diffused(SCHEDULE, t).log_prob(x_t[None])
    )
    torch.testing.assert_close(kernel.log_prob(x_s), bayes, rtol=1e-8, atol=1e-8)


def test_reverse_kernel_integrates_to_one_and_averages_to_the_earlier_density():
    mixture, t, s = GaussianMixture([0.3, 0.7], [[-1.5], [1.0]], [0.05, 0.2]), 60, 40
    grid = torch.linspace(-8, 8, 2401, dtype=torch.float64)[:, None]
    width = 16 / 2400
    q_t = mixture.diffused(SCHEDULE, t).log_prob(grid).exp()
    average = torch.zeros(2401, dtype=torch.float64)
    for i in range(
        300, 2101, 10
    ):  # |x_t| ≤ 6; a trapezoid rule is exact to rounding for functions as smooth as these
        kernel = mixture.reverse_kernel(SCHEDULE, grid[i], t, s).log_prob(grid).exp()
        assert kernel.sum() * width == pytest.approx(1, abs=1e-9)
        average += q_t[i] * 10 * width * kernel
    torch.testing.assert_close(
        average, mixture.diffused(SCHEDULE, s).log_prob(grid).exp(), rtol=0, atol=1e-9
    )


def test_reverse_kernel_defaults_to_one_step():
    mixture, x_t = random_mixture("full", 2), torch.tensor([0.3, -0.2])
    a, b = mixture.reverse_kernel(SCHEDULE, x_t, 10), mixture.reverse_kernel(SCHEDULE, x_t, 10, 9)
    assert torch.equal(a.means, b.means) and torch.equal(a.variances, b.variances)


def test_diffused_ends_are_the_data_and_nearly_noise():
    mixture = random_mixture("full", 3)
    start, end = mixture.diffused(SCHEDULE, 0), mixture.diffused(SCHEDULE, 1000)
    torch.testing.assert_close(start.covariance, mixture.covariance)
    torch.testing.assert_close(end.covariance, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-2)


def test_student_numbers_give_the_assignment_s_mixtures():
    mixtures = [GaussianMixture.from_student_number(n) for n in range(810_100_000, 810_100_200)]
    light = torch.stack([m.weights.min() for m in mixtures])
    assert 0.15 <= light.min() < 0.155 and 0.245 < light.max() <= 0.25
    variances = torch.stack([m.variances for m in mixtures])
    assert 1 <= variances.min() < 1.05 and 1.95 < variances.max() <= 2
    assert {tuple(m.means.flatten().tolist()) for m in mixtures} == {(-5, 5, 5, -5), (-5, -5, 5, 5)}
    assert {m.weights.argmin().item() for m in mixtures} == {0, 1}
    again = GaussianMixture.from_student_number(810_100_007)
    assert torch.equal(again.weights, mixtures[7].weights) and torch.equal(
        again.variances, mixtures[7].variances
    )
    assert again.weights.tolist() == pytest.approx(
        [0.842414212416858, 0.157585787583142], abs=1e-12
    )  # on every machine


@pytest.mark.parametrize(
    "weights, means, variances, message",
    [
        ([0.5, 0.4], [[0.0], [1.0]], [1.0, 1.0], "weights must be at least 0 and sum to 1"),
        ([1.5, -0.5], [[0.0], [1.0]], [1.0, 1.0], "weights must be at least 0 and sum to 1"),
        ([], torch.zeros(0, 1), torch.ones(0), r"weights must have shape \(K,\) with K >= 1"),
        (
            [1.0],
            [[0.0], [1.0]],
            [1.0, 1.0],
            r"means must have shape \(K, d\) with K = 1, got \(2, 1\)",
        ),
        ([1.0], [0.0], [1.0], r"means must have shape \(K, d\)"),
        (
            [1.0],
            [[0.0, 0.0]],
            [[1.0, 1.0, 1.0]],
            r"variances must have shape \(1,\), \(1, 2\) or \(1, 2, 2\), got \(1, 3\)",
        ),
        ([1.0], [[0.0]], [0.0], "variances must be positive"),
        ([1.0], [[0.0]], [-1.0], "variances must be positive"),
        ([1.0], [[0.0, 0.0]], [[[1.0, 2.0], [2.0, 1.0]]], "variances must be positive"),
        ([1.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.0, 1.0]]], "variances must be symmetric"),
        ([1.0], [[math.nan]], [1.0], "means must be finite"),
        ([1.0], [[0.0]], [math.inf], "variances must be finite"),
    ],
)
def test_a_mixture_that_is_none_is_refused(weights, means, variances, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(weights, means, variances)


MIXTURE, X = GaussianMixture([0.4, 0.6], [[0.0, 1.0], [2.0, 0.0]], [1.0, 2.0]), torch.zeros(3, 2)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: MIXTURE.log_prob(torch.zeros(3, 1)),
            ValueError,
            r"x must have shape \(B, 2\), got \(3, 1\)",
        ),
        (lambda: MIXTURE.score(X, -1.0), ValueError, "sigma must be a finite number of at least 0"),
        (
            lambda: MIXTURE.score(X, math.inf),
            ValueError,
            "sigma must be finite, got NaN or infinity",
        ),
        (
            lambda: MIXTURE.score(X, torch.ones(2)),
            ValueError,
            "sigma must be .* one for each of 3 items",
        ),
        (lambda: MIXTURE.score(X * math.nan), ValueError, "x must be finite"),
        (lambda: MIXTURE.score(X.long()), TypeError, "x must be a floating-point tensor"),
        (
            lambda: MIXTURE.sample(-1, generator=seeded(0)),
            ValueError,
            "n must be an int in 0…100000000, got -1",
        ),
        (
            lambda: MIXTURE.sample(1, generator=None),
            TypeError,
            "generator must be a torch.Generator, .*got None",
        ),
        (
            lambda: MIXTURE.diffused(SCHEDULE, 1001),
            ValueError,
            "t must be an int in 0…1000, got 1001",
        ),
        (
            lambda: MIXTURE.reverse_kernel(SCHEDULE, X[0], 0),
            ValueError,
            "t must be an int in 1…1000, got 0",
        ),
        (
            lambda: MIXTURE.reverse_kernel(SCHEDULE, X[0], 5, 5),
            ValueError,
            "s must be an int in 0…4, got 5",
        ),
        (
            lambda: MIXTURE.reverse_kernel(SCHEDULE, X[0], 5, 9),
            ValueError,
            "s must be an int in 0…4, got 9",
        ),
        (
            lambda: MIXTURE.reverse_kernel(SCHEDULE, X, 5),
            ValueError,
            r"x_t must have shape \(2,\), got \(3, 2\)",
        ),
        (
            lambda: MIXTURE.reverse_kernel(SCHEDULE, X[0] * math.nan, 5),
            ValueError,
            "must be finite",
        ),
        (
            lambda: MIXTURE.eps_model(SCHEDULE)(X, torch.tensor([1, 2, 1001])),
            ValueError,
            "t must lie in 0…1000",
        ),
        (
            lambda: MIXTURE.eps_model(SCHEDULE)(X, 1001),
            ValueError,
            "t must be an int in 0…1000, got 1001",
        ),
        (
            lambda: MIXTURE.eps_model(SCHEDULE)(X[:, :1], 5),
            ValueError,
            r"x_t must have shape \(B, 2\), got \(3, 1\)",
        ),
        (
            lambda: MIXTURE.eps_model(SCHEDULE.alpha_bar),
            TypeError,
            "schedule must be a NoiseSchedule, got a tensor",
        ),
        (
            lambda: MIXTURE.diffused(SCHEDULE, 5.0),
            TypeError,
            "t must be an int in 0…1000, got float 5.0",
        ),
        (lambda: MIXTURE.score(X, "1"), TypeError, "sigma must hold real numbers, got str '1'"),
        (
            lambda: GaussianMixture([1.0], [[0.0]], ["1"]),
            TypeError,
            "variances must hold real numbers, got list",
        ),
        (
            lambda: GaussianMixture([1.0], [[0.0], [1.0, 2.0]], [1.0]),
            TypeError,
            "means must hold real numbers, got list",
        ),
        (
            lambda: GaussianMixture([1.0], [[1j]], [1.0]),
            TypeError,
            "means must hold real numbers, got list",
        ),
        (
            lambda: GaussianMixture.from_student_number("810100007"),
            TypeError,
            "number must be an int",
        ),
        (
            lambda: GaussianMixture.from_student_number(None),
            TypeError,
            "number must be an int in .*, got None",
        ),
        (
            lambda: GaussianMixture.from_student_number(-1),
            ValueError,
            "number must be an int in 0…9223372036854775807, got -1",
        ),
        (
            lambda: GaussianMixture.from_student_number(2**63),
            ValueError,
            "number must be an int in",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_level_for_each_point_in_the_wrong_shape_does_not_print_the_tensor():
    with pytest.raises(ValueError, match=r"^sigma must .*, got shape \(1000, 1\)$") as caught:
        MIXTURE.score(torch.zeros(1000, 2), torch.ones(1000, 1))
    assert len(str(caught.value)) < 120


def test_the_mixture_keeps_its_own_numbers():
    weights, means = (
        torch.tensor([0.4, 0.6], dtype=torch.float64),
        torch.zeros(2, 1, dtype=torch.float64),
    )
    mixture = GaussianMixture(weights, means, [1.0, 2.0])
    means.fill_(7.0)
    assert mixture.means.tolist() == [[0.0], [0.0]]
    with pytest.raises(AttributeError):
        mixture.means = means
