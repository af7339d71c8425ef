"""The score-matching losses against the Fisher divergence, in closed form on Gaussian data and with the exact score
of a mixture.
"""

import math
from functools import partial

import pytest
import torch

from dgm_helpers import seeded
from dgm_helpers.mixtures import GaussianMixture
from dgm_helpers.networks import ScoreMLP
from dgm_helpers.score_matching import (
    denoising_score_matching,
    exact_score_matching,
    noise_conditional_score_matching,
    sliced_score_matching,
)

LEVELS = [3.0, 1.0, 0.5]
MEAN = torch.tensor([1.0, -0.5, 0.3], dtype=torch.float64)
COVARIANCE = torch.tensor(
    [[1.0, 0.4, 0.0], [0.4, 0.8, -0.2], [0.0, -0.2, 0.5]], dtype=torch.float64
)
EYE = torch.eye(3, dtype=torch.float64)


def randn(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def assert_mean(values, expected=0.0, errors=4):
    """The mean of the rows is what is expected, within so many standard errors."""
    error = values.std(0) / math.sqrt(len(values))
    assert ((values.mean(0) - expected).abs() < errors * error + 1e-12).all(), (
        values.mean(0),
        expected,
        error,
    )


def exact_moments(n, mean, covariance, seed=0):
    """A sample whose mean and covariance are exactly the given ones, so that averages of quadratics are
    expectations.
    """
    z = randn(n, len(mean), seed=seed)
    z = z - z.mean(0)
    z = z @ torch.linalg.inv(torch.linalg.cholesky(z.T @ z / n)).T
    return mean + z @ torch.linalg.cholesky(covariance).T


def affine_fisher(A, b, covariance):
    """½E‖(A + C⁻¹)x + b − C⁻¹m‖² under N(m, C), and its gradients in A and b."""
    precision = torch.linalg.inv(covariance)
    D = A + precision
    offset = D @ MEAN + b - precision @ MEAN
    return (
        ((D @ covariance @ D.T).trace() + offset @ offset) / 2,
        D @ covariance + torch.outer(offset, MEAN),
        offset,
    )


def affine(seed):
    A, b = -torch.linalg.inv(COVARIANCE) + 0.5 * randn(3, 3, seed=seed), randn(3, seed=seed + 100)
    return A.requires_grad_(), b.requires_grad_()


def losses():
    return {
        "exact": exact_score_matching,
        "sliced": partial(sliced_score_matching, generator=seeded(1)),
        "reduced": partial(sliced_score_matching, generator=seeded(1), variance_reduced=True),
        "denoising": partial(denoising_score_matching, sigma=0.7, generator=seeded(1)),
    }


# --- values ---


@pytest.mark.parametrize("d", [1, 2, 5])
def test_on_a_standard_normal_the_true_score_gives_minus_half_d(d):
    x = exact_moments(
        20_000, torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    )
    loss = exact_score_matching(lambda x: -x, x)
    assert loss.shape == (20_000,)
    assert loss.mean().item() == pytest.approx(-d / 2, abs=1e-9)
    assert_mean(sliced_score_matching(lambda x: -x, x, generator=seeded(0)), -d / 2)
    reduced = sliced_score_matching(lambda x: -x, x, generator=seeded(0), variance_reduced=True)
    torch.testing.assert_close(reduced, loss)  # signs: vᵀ(−I)v = −d for every v


@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("d", [1, 4])
def test_least_denoising_loss_on_a_standard_normal(d, sigma):
    """d/(2σ²(1+σ²)) at s = −x/(1+σ²), and the Fisher divergence ½d(1+σ²)(k − 1/(1+σ²))² more at s = −kx."""
    x, best = randn(100_000, d), 1 / (1 + sigma**2)
    least = d / (2 * sigma**2 * (1 + sigma**2))
    for k in (best, 0.5 * best, 1.5 * best, 1.0):
        loss = denoising_score_matching(lambda x: -k * x, x, sigma, generator=seeded(1))
        assert_mean(loss, least + d * (1 + sigma**2) * (k - best) ** 2 / 2)


def test_exact_trace_is_that_of_the_jacobian():
    torch.manual_seed(0)
    net, x = ScoreMLP(dim=4, width=8, depth=2).double(), randn(6, 4)
    jacobian = torch.func.vmap(torch.func.jacrev(net.net))(x)
    expected = net(x).square().sum(1) / 2 + jacobian.diagonal(dim1=1, dim2=2).sum(1)
    torch.testing.assert_close(exact_score_matching(net, x), expected)


@pytest.mark.parametrize("variance_reduced", [False, True])
def test_sliced_is_unbiased_with_the_derived_variance(variance_reduced):
    """The loss is vᵀMv + constant, and for signs Var vᵀMv = 2 Σ_{i≠j} M_ij² (M symmetric); x is one point, repeated."""
    A, b = (y.detach() for y in affine(0))
    n, point = 200_000, randn(1, 3, seed=3)
    s = (point @ A.T + b)[0]
    M = (A + A.T) / 2 + (0 if variance_reduced else torch.outer(s, s) / 2)
    variance = 2 * (M.square().sum() - M.diag().square().sum())
    x = point.expand(n, 3)
    loss = sliced_score_matching(
        lambda x: x @ A.T + b, x, generator=seeded(4), variance_reduced=variance_reduced
    )
    expected = exact_score_matching(lambda x: x @ A.T + b, point)
    assert_mean(loss, expected)
    assert_mean((loss - expected).square(), variance)
    assert variance > 0.1


@pytest.mark.parametrize("loss", ["exact", "sliced", "reduced", "denoising"])
def test_minus_the_fisher_divergence_is_the_same_constant_for_every_score(loss):
    """On a mixture, with wrong scores that are not affine. Item by item, loss − ½‖s − ∇log p‖² + ½‖∇log p‖² has mean 0
    without noise; with it the constant is the mean of ½‖ε/σ²‖² − ½‖∇log p_σ‖² at x + ε, and the noise is drawn again
    from its seed."""
    mixture = GaussianMixture([0.3, 0.7], [[-1.0, 0.5], [1.0, 0.0]], [0.5, 0.8])
    n, sigma = 50_000, 0.7 if loss == "denoising" else 0.0
    x = mixture.sample(n, generator=seeded(5))
    noise = sigma * randn(n, 2, seed=1)
    at, true = x + noise, mixture.score(x + noise, sigma)
    constant = -true.square().sum(1) / 2 + ((noise / sigma**2).square().sum(1) / 2 if sigma else 0)
    W = torch.tensor([[0.8, -0.6], [0.3, 1.1]], dtype=torch.float64)
    for theta in (0.0, 0.5, -1.0, 2.0):

        def score(x):
            return (1 - theta / 4) * mixture.score(x, sigma) + theta * torch.sin(x @ W)

        fisher = (score(at) - true).square().sum(1) / 2
        assert_mean(losses()[loss](score, x) - fisher - constant)
        if theta:
            assert fisher.mean() > 0.01


def test_noise_conditional_is_the_weighted_denoising_loss_of_levels_drawn_evenly():
    n, seen = 30_000, []
    x = exact_moments(n, MEAN, COVARIANCE)

    def score(x, sigma):
        seen.append(sigma)
        return -x / (1 + sigma.square())[:, None]

    loss = noise_conditional_score_matching(score, x, LEVELS, generator=seeded(6))
    (sigma,) = seen
    assert loss.shape == sigma.shape == (n,)
    for level in LEVELS:
        assert_mean((sigma == level).double(), 1 / 3)
        C = COVARIANCE + level**2 * EYE
        fisher = affine_fisher(-EYE / (1 + level**2), torch.zeros_like(MEAN), C)[0]
        constant = (3 / level**2 - torch.linalg.inv(C).trace()) / 2
        assert_mean(loss[sigma == level], level**2 * (fisher + constant))


def test_denoising_takes_a_level_for_each_item():
    x, sigma = randn(9, 3), torch.linspace(0.5, 2, 9, dtype=torch.float64)
    together = denoising_score_matching(lambda x: -x, x, sigma, generator=seeded(7))
    noise = randn(9, 3, seed=7)
    for i in range(9):
        e = sigma[i] * noise[i]
        expected = sum((-(x[i, j] - -e[j]) + e[j] / sigma[i] ** 2) ** 2 for j in range(3)) / 2
        assert together[i].item() == pytest.approx(expected.item(), rel=1e-12)


# --- gradients ---


@pytest.mark.parametrize("seed", [0, 1])
def test_gradient_of_the_exact_loss_is_that_of_the_fisher_divergence(seed):
    """The sample has the exact moments, so both sides are equal to rounding."""
    A, b = affine(seed)
    x = exact_moments(1000, MEAN, COVARIANCE)
    value, in_A, in_b = affine_fisher(A, b, COVARIANCE)
    loss = exact_score_matching(lambda x: x @ A.T + b, x).mean()
    assert (value - loss).item() == pytest.approx(
        torch.linalg.inv(COVARIANCE).trace().item() / 2, abs=1e-9
    )
    loss.backward()
    torch.testing.assert_close(A.grad, in_A.detach(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(b.grad, in_b.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("loss", ["sliced", "reduced", "denoising", "noise-conditional"])
def test_mean_gradient_is_that_of_the_fisher_divergence(loss):
    """From 200 batches of 1,000, within 4 standard errors. Noise makes it the divergence from the perturbed density,
    C + σ²I.
    """
    A, b = affine(2)
    mixture = GaussianMixture([1.0], MEAN[None], COVARIANCE[None])
    x = mixture.sample(200_000, generator=seeded(8))
    if loss == "noise-conditional":
        fit = partial(
            noise_conditional_score_matching,
            lambda x, sigma: x @ A.T + b,
            sigmas=LEVELS,
            generator=seeded(9),
        )
        noises, weights = LEVELS, [level**2 / 3 for level in LEVELS]
    else:
        fit = partial(losses()[loss], lambda x: x @ A.T + b)
        noises, weights = [0.7 if loss == "denoising" else 0.0], [1.0]
    terms = [affine_fisher(A, b, COVARIANCE + noise**2 * EYE) for noise in noises]
    in_A, in_b = (
        sum(w * term[k] for w, term in zip(weights, terms, strict=True)).detach() for k in (1, 2)
    )
    gradients = [
        torch.cat([g.flatten() for g in torch.autograd.grad(fit(x=batch).mean(), (A, b))])
        for batch in x.split(1000)
    ]
    assert_mean(torch.stack(gradients), torch.cat([in_A.flatten(), in_b]))
    assert in_A.abs().max() > 0.3


@pytest.mark.parametrize("loss", ["exact", "sliced", "reduced", "denoising", "noise-conditional"])
def test_gradient_of_a_network_against_finite_differences(loss):
    """Double backward: the loss differentiates the network in x, its gradient differentiates that in the parameters."""
    torch.manual_seed(1)
    net, x = (
        ScoreMLP(dim=2, width=3, depth=2, conditional=loss == "noise-conditional").double(),
        randn(3, 2),
    )
    names = [name for name, _ in net.named_parameters()]

    def value(*parameters):
        def score(*arguments):
            return torch.func.functional_call(
                net, dict(zip(names, parameters, strict=True)), arguments
            )

        if loss == "noise-conditional":
            return noise_conditional_score_matching(score, x, LEVELS, generator=seeded(9))
        return losses()[loss](score, x)

    parameters = [p.detach().requires_grad_() for p in net.parameters()]
    assert torch.autograd.gradcheck(value, parameters)
    assert torch.autograd.gradgradcheck(lambda *p: value(*p).sum(), parameters)


# --- shapes, types, devices of habit ---


def test_pictures_and_points_have_the_same_loss():
    torch.manual_seed(2)
    convolution, x = torch.nn.Conv2d(2, 2, 3, padding=1).double(), randn(4, 2, 3, 3)
    for name in losses():
        picture = losses()[name](lambda x: torch.tanh(convolution(x)), x)
        points = losses()[name](
            lambda x: torch.tanh(convolution(x.reshape(4, 2, 3, 3))).flatten(1), x.flatten(1)
        )
        torch.testing.assert_close(picture, points)
        assert picture.shape == (4,)


def test_dtype_is_kept_and_the_data_get_no_gradient():
    x = randn(4, 2).float().requires_grad_()
    weight = torch.ones(2, dtype=torch.float32, requires_grad=True)
    for loss in losses().values():
        value = loss(lambda x: -x * weight, x)
        assert value.dtype == torch.float32
        value.sum().backward()
        assert x.grad is None and weight.grad.isfinite().all()
    value = noise_conditional_score_matching(
        lambda x, sigma: -x * weight / sigma[:, None], x, LEVELS, generator=seeded(0)
    )
    assert value.dtype == torch.float32


def test_losses_can_be_evaluated_without_gradients():
    net, x = torch.nn.Linear(2, 2).double(), randn(4, 2)
    for name in losses():
        with torch.no_grad():
            value = losses()[name](net, x)
        assert not value.requires_grad
        torch.testing.assert_close(value, losses()[name](net, x).detach())


def test_a_score_that_does_not_depend_on_x_has_no_trace():
    weight = torch.tensor([3.0, 4.0], dtype=torch.float64, requires_grad=True)
    for name in ("exact", "reduced"):
        torch.testing.assert_close(
            losses()[name](lambda x: weight.expand(5, 2), randn(5, 2)),
            torch.full((5,), 12.5, dtype=torch.float64),
        )


def test_same_seed_same_loss_and_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    x = randn(4, 2)
    for name in losses():
        assert torch.equal(losses()[name](lambda x: -x, x), losses()[name](lambda x: -x, x))
    assert torch.equal(before, torch.random.get_rng_state())


def bad(loss, **changes):
    arguments = {"score": lambda x, *sigma: -x, "x": torch.zeros(3, 2)}
    if loss is not exact_score_matching:
        arguments["generator"] = seeded(0)
    if loss is denoising_score_matching:
        arguments["sigma"] = 1.0
    if loss is noise_conditional_score_matching:
        arguments["sigmas"] = LEVELS
    return loss(**(arguments | changes))


@pytest.mark.parametrize(
    "loss",
    [
        exact_score_matching,
        sliced_score_matching,
        denoising_score_matching,
        noise_conditional_score_matching,
    ],
)
@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"x": [[0.0]]}, TypeError, "x must be a floating-point tensor, got list"),
        (
            {"x": torch.zeros(3, 2, dtype=torch.int64)},
            TypeError,
            "x must be a floating-point tensor, got a tensor of torch.int64",
        ),
        ({"x": torch.zeros(3)}, ValueError, "x must have a batch axis"),
        ({"x": torch.full((3, 2), math.nan)}, ValueError, "x must be finite"),
        (
            {"score": lambda x, *sigma: x[:, :1]},
            ValueError,
            r"score must return a floating-point tensor of shape \(3, 2\), got a tensor of torch.float32, "
            r"shape \(3, 1\)",
        ),
        (
            {"score": lambda x, *sigma: None},
            ValueError,
            r"score must return a floating-point tensor of shape \(3, 2\), got None",
        ),
        (
            {"score": lambda x, *sigma: x.long()},
            ValueError,
            "score must return a floating-point tensor",
        ),
        ({"score": None}, TypeError, "score must be a callable, got None"),
    ],
)
def test_bad_arguments(loss, changes, error, message):
    with pytest.raises(error, match=message):
        bad(loss, **changes)


@pytest.mark.parametrize(
    "loss", [sliced_score_matching, denoising_score_matching, noise_conditional_score_matching]
)
def test_bad_generator(loss):
    for other, got in ((0, "int 0"), (None, "None"), ("0", "str '0'")):
        with pytest.raises(TypeError, match=f"generator must be a torch.Generator, .*got {got}"):
            bad(loss, generator=other)


@pytest.mark.parametrize(
    "sigma, error, got",
    [
        (0.0, ValueError, "values in 0.0…0.0"),
        (-1.0, ValueError, "values in -1.0…-1.0"),
        (torch.ones(2), ValueError, r"shape \(2,\)"),
        (torch.ones(3, 1), ValueError, r"shape \(3, 1\)"),
        (torch.tensor([1.0, 0.0, 1.0]), ValueError, "values in 0.0…1.0"),
        (math.nan, ValueError, "NaN or infinity"),
        (math.inf, ValueError, "NaN or infinity"),
        ("1.0", TypeError, "str '1.0'"),
        (None, TypeError, "None"),
        (1j, TypeError, "complex 1j"),
        (1e-60, ValueError, "values in 1e-60…1e-60"),  # 0 as a float32, the dtype of x
    ],
)
def test_bad_sigma(sigma, error, got):
    with pytest.raises(error, match=f"^sigma must .*got {got}") as caught:
        bad(denoising_score_matching, sigma=sigma)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200  # not a whole tensor


@pytest.mark.parametrize(
    "sigmas, error, message",
    [
        ([], ValueError, r"must have shape \(L,\) with L >= 1, got \(0,\)"),
        (1.0, ValueError, r"must have shape \(L,\) with L >= 1, got \(\)"),
        ([[1.0]], ValueError, r"must have shape \(L,\) with L >= 1, got \(1, 1\)"),
        (
            [1.0, 0.0],
            ValueError,
            "must be positive and finite in torch.float32, got values in 0.0…1.0",
        ),
        (
            [2.0, -1.0],
            ValueError,
            "must be positive and finite in torch.float32, got values in -1.0…2.0",
        ),
        (
            [1e60, 1.0],
            ValueError,
            "must be positive and finite in torch.float32, got values in 1.0…1e",
        ),
        ([math.inf, 1.0], ValueError, "must be finite, got NaN or infinity"),
        ([math.nan], ValueError, "must be finite, got NaN or infinity"),
        (["1"], TypeError, "must hold real numbers, got list"),
        ([1.0, [2.0]], TypeError, "must hold real numbers, got list"),
        (None, TypeError, "must hold real numbers, got None"),
    ],
)
def test_bad_sigmas(sigmas, error, message):
    with pytest.raises(error, match=f"^sigmas {message}"):
        bad(noise_conditional_score_matching, sigmas=sigmas)


def test_a_careless_score_changes_neither_the_data_nor_the_loss():
    x = randn(4, 2)
    before = x.clone()

    def careless(x, *sigma):
        for level in sigma:
            level.zero_()
        return x.mul_(-1.0)

    for name, loss in losses().items():
        assert torch.equal(loss(careless, x), losses()[name](lambda x: -x, x))
    one, other = (
        noise_conditional_score_matching(score, x, LEVELS, generator=seeded(3))
        for score in (careless, lambda x, sigma: -x)
    )
    assert torch.equal(one, other) and torch.equal(x, before)


@pytest.mark.parametrize("loss", [exact_score_matching, sliced_score_matching])
def test_a_score_without_a_graph_is_refused(loss):
    with pytest.raises(
        ValueError, match="score must be differentiable in x, got an answer without a graph"
    ):
        bad(loss, score=torch.no_grad()(lambda x: -x))
