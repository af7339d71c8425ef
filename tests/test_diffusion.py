"""The forward process against its closed forms, and every documented bad input."""

import math

import numpy as np
import pytest
import torch

from dgm_helpers import seeded
from dgm_helpers.arguments import checked_eps
from dgm_helpers.diffusion import (
    eps_from_score,
    eps_from_x0,
    markov_step,
    perturb_input,
    posterior,
    score_from_eps,
    simple_loss,
    x0_from_eps,
)
from dgm_helpers.schedules import NoiseSchedule

SCHEDULE = NoiseSchedule.linear()
T = SCHEDULE.T
SHAPES = [(4, 2), (4, 3, 16, 16)]
any_shape = pytest.mark.parametrize("shape", SHAPES, ids=["points", "pictures"])
any_schedule = pytest.mark.parametrize(
    "schedule", [SCHEDULE, NoiseSchedule.cosine()], ids=["linear", "cosine"]
)


def normal(shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


# ---- one shot ----


@any_shape
@any_schedule
def test_one_shot_uses_its_own_alpha_bar_for_each_item(schedule, shape):
    x0, noise, t = normal(shape), normal(shape, 1), torch.tensor([0, 1, 500, 1000])
    x_t = perturb_input(schedule, x0, t, noise)
    for i, step in enumerate(t.tolist()):
        a = schedule.alpha_bar[step].item()
        assert torch.allclose(
            x_t[i], math.sqrt(a) * x0[i] + math.sqrt(1 - a) * noise[i], rtol=1e-12
        )


@any_shape
def test_t_0_is_clean_data(shape):
    x0 = normal(shape)
    assert torch.equal(perturb_input(SCHEDULE, x0, 0, normal(shape, 1)), x0)


@pytest.mark.parametrize("t", [7, torch.full((3,), 7)], ids=["int", "tensor"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_the_dtype_of_the_data_is_kept(dtype, t):
    x, noise = normal((3, 5)).to(dtype), normal((3, 5), 1).to(dtype)
    assert perturb_input(SCHEDULE, x, t, noise).dtype == dtype
    assert markov_step(SCHEDULE, x, t, noise).dtype == dtype
    mean, variance = posterior(SCHEDULE, x, noise, t, t - 1)
    assert mean.dtype == variance.dtype == dtype
    assert (
        x0_from_eps(SCHEDULE, x, t, noise).dtype
        == eps_from_x0(SCHEDULE, x, t, noise).dtype
        == dtype
    )
    assert (
        score_from_eps(SCHEDULE, t, noise).dtype
        == eps_from_score(SCHEDULE, t, noise).dtype
        == dtype
    )


def test_an_empty_batch_stays_empty():
    empty = torch.zeros(0, 3, 16, 16)
    for t in (5, torch.zeros(0, dtype=torch.int64)):
        assert perturb_input(SCHEDULE, empty, t, empty).shape == empty.shape


def test_inputs_are_left_alone():
    x0, noise, t = normal((4, 2)), normal((4, 2), 1), torch.full((4,), 10)
    copies = x0.clone(), noise.clone(), t.clone()
    perturb_input(SCHEDULE, x0, t, noise)
    markov_step(SCHEDULE, x0, t, noise)
    assert all(torch.equal(a, b) for a, b in zip((x0, noise, t), copies, strict=True))


# ---- step by step against one shot ----


def test_the_first_step_is_the_one_shot():
    x0, noise = normal((4, 2)), normal((4, 2), 1)
    assert torch.allclose(
        markov_step(SCHEDULE, x0, 1, noise), perturb_input(SCHEDULE, x0, 1, noise), rtol=1e-12
    )


@any_schedule
def test_without_noise_the_chain_is_the_mean_of_the_one_shot(schedule):
    x0 = normal((4, 2))
    x, zero = x0, torch.zeros(4, 2, dtype=torch.float64)
    for step in range(1, T + 1):
        x = markov_step(schedule, x, step, zero)
        assert torch.allclose(x, perturb_input(schedule, x0, step, zero), rtol=1e-9, atol=0)


@any_schedule
def test_iterated_and_one_shot_agree_in_mean_and_variance(schedule):
    """Both within 4.5 standard errors of the closed form: 24 comparisons, so a false alarm once in 6,000 seeds."""
    n, t, generator = 20_000, 200, seeded(3)
    x0 = torch.tensor([[-1.0, 0.3, 2.0]], dtype=torch.float64).expand(n, 3)
    x = x0
    for step in range(1, t + 1):
        x = markov_step(schedule, x, step, torch.randn(x.shape, generator=generator, dtype=x.dtype))
    one_shot = perturb_input(
        schedule, x0, t, torch.randn(x.shape, generator=generator, dtype=x.dtype)
    )
    a = schedule.alpha_bar[t]
    for sample in (x, one_shot):
        z_mean = (sample.mean(0) - a.sqrt() * x0[0]) / ((1 - a) / n).sqrt()
        z_variance = (sample.var(0) / (1 - a) - 1) / math.sqrt(2 / (n - 1))
        assert z_mean.abs().max() < 4.5, f"means off by {z_mean} standard errors"
        assert z_variance.abs().max() < 4.5, f"variances off by {z_variance} standard errors"


def test_unit_variance_is_kept():
    x = normal((200_000, 1), 5)
    for t in (1, 100, 500, 1000):
        variance = perturb_input(SCHEDULE, x, t, normal(x.shape, 6)).var().item()
        assert abs(variance - 1) < 4.5 * math.sqrt(2 / len(x))


# ---- posterior ----


@any_schedule
@pytest.mark.parametrize(("t", "s"), [(2, 1), (500, 499), (1000, 999), (700, 100), (1000, 1)])
def test_posterior_is_bayes_rule_on_a_grid(schedule, t, s):
    """q(x_s | x_t, x_0) from the product q(x_t | x_s) q(x_s | x_0), normalised by summing over a grid of x_s."""
    x0, x_t = (
        torch.tensor([[0.7]], dtype=torch.float64),
        torch.tensor([[-0.4]], dtype=torch.float64),
    )
    mean, variance = posterior(schedule, x0, x_t, t, s)
    a_t, a_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
    grid = mean.item() + torch.linspace(-9, 9, 4001, dtype=torch.float64) * math.sqrt(
        variance.item()
    )
    log_density = -((grid - math.sqrt(a_s) * 0.7) ** 2) / (2 * (1 - a_s)) - (
        -0.4 - math.sqrt(a_t / a_s) * grid
    ) ** 2 / (2 * (1 - a_t / a_s))
    weights = torch.softmax(log_density, 0)
    grid_mean = (weights * grid).sum().item()
    assert mean.item() == pytest.approx(grid_mean, rel=1e-8, abs=1e-9)
    assert variance.item() == pytest.approx(
        (weights * (grid - grid_mean) ** 2).sum().item(), rel=1e-8
    )
    gaussian = torch.softmax(-((grid - mean.item()) ** 2) / (2 * variance.item()), 0)
    assert torch.allclose(gaussian, weights, rtol=1e-6, atol=1e-12)


@any_shape
def test_posterior_at_s_0_is_the_clean_data_without_spread(shape):
    x0, x_t = normal(shape), normal(shape, 1)
    mean, variance = posterior(SCHEDULE, x0, x_t, torch.tensor([1, 2, 500, 1000]), 0)
    assert torch.allclose(mean, x0, rtol=1e-12)
    assert variance.shape == (4,) + (1,) * (len(shape) - 1) and (variance == 0).all()


def test_posterior_has_the_variance_of_ho_et_al():
    t = torch.arange(2, T + 1)
    x = torch.zeros(len(t), 1, dtype=torch.float64)
    _, variance = posterior(SCHEDULE, x, x, t, t - 1)
    a = SCHEDULE.alpha_bar
    assert torch.allclose(variance[:, 0], (1 - a[t - 1]) / (1 - a[t]) * SCHEDULE.beta[t], rtol=1e-9)
    assert (variance[:, 0] < SCHEDULE.beta[t]).all()


# ---- conversions ----


@any_shape
@any_schedule
def test_conversions_are_inverse_to_one_another(schedule, shape):
    x_t, eps, t = normal(shape), normal(shape, 1), torch.tensor([1, 10, 500, 900])
    assert torch.allclose(
        eps_from_x0(schedule, x_t, t, x0_from_eps(schedule, x_t, t, eps)), eps, rtol=1e-7, atol=1e-9
    )
    assert torch.allclose(
        x0_from_eps(schedule, x_t, t, eps_from_x0(schedule, x_t, t, eps)), eps, rtol=1e-7, atol=1e-9
    )
    assert torch.allclose(
        eps_from_score(schedule, t, score_from_eps(schedule, t, eps)), eps, rtol=1e-12
    )


@any_shape
def test_conversions_undo_the_one_shot(shape):
    x0, noise, t = normal(shape), normal(shape, 1), torch.tensor([1, 10, 500, 1000])
    x_t = perturb_input(SCHEDULE, x0, t, noise)
    assert torch.allclose(x0_from_eps(SCHEDULE, x_t, t, noise), x0, rtol=1e-9, atol=1e-9)
    assert torch.allclose(eps_from_x0(SCHEDULE, x_t, t, x0), noise, rtol=1e-9, atol=1e-9)


def test_score_is_the_gradient_of_the_log_density():
    x0, noise, t = normal((4, 2)), normal((4, 2), 1), torch.tensor([1, 10, 500, 1000])
    x_t = perturb_input(SCHEDULE, x0, t, noise).requires_grad_()
    a = SCHEDULE.alpha_bar[t][:, None]
    log_density = torch.distributions.Normal(a.sqrt() * x0, (1 - a).sqrt()).log_prob(x_t).sum()
    (gradient,) = torch.autograd.grad(log_density, x_t)
    assert torch.allclose(score_from_eps(SCHEDULE, t, noise), gradient, rtol=1e-8)


# ---- the training loss ----


def test_simple_loss_is_the_mean_over_coordinates():
    x0, noise, t = normal(SHAPES[1]), normal(SHAPES[1], 1), torch.tensor([1, 10, 500, 1000])
    loss = simple_loss(lambda x, t: torch.zeros_like(x), SCHEDULE, x0, t, noise)
    assert torch.allclose(loss, (noise**2).mean((1, 2, 3)), rtol=1e-12)
    assert (simple_loss(lambda x, t: noise, SCHEDULE, x0, t, noise) == 0).all()


def test_gradient_of_simple_loss_vanishes_at_the_optimum_only():
    """For data N(0, c) the best predictor is w x_t with w = sqrt(1 − ᾱ)/(ᾱ c + 1 − ᾱ); gradients in standard errors."""
    n, t, c = 100_000, 300, 0.25
    x0, noise, a = math.sqrt(c) * normal((n, 1)), normal((n, 1), 1), SCHEDULE.alpha_bar[t]
    best = ((1 - a).sqrt() / (a * c + 1 - a)).item()

    def standard_errors(w):
        weight = torch.full((n, 1), w, dtype=torch.float64, requires_grad=True)
        simple_loss(lambda x, t: weight * x, SCHEDULE, x0, t, noise).sum().backward()
        return (weight.grad.mean() / (weight.grad.std() / math.sqrt(n))).item()

    assert abs(standard_errors(best)) < 4.5
    assert standard_errors(1.1 * best) > 20
    assert standard_errors(0.9 * best) < -20


# ---- bad input: the message names the argument ----

X, NOISE, TIME = normal((4, 2)), normal((4, 2), 1), torch.full((4,), 5)
FUNCTIONS = {  # name: (call with its data, its partner and t; their names; the lowest t)
    "perturb_input": (lambda x, y, t: perturb_input(SCHEDULE, x, t, y), "x0", "noise", 0),
    "markov_step": (lambda x, y, t: markov_step(SCHEDULE, x, t, y), "x", "noise", 1),
    "posterior": (lambda x, y, t: posterior(SCHEDULE, x, y, t, 0), "x0", "x_t", 1),
    "posterior with tensors": (
        lambda x, y, t: posterior(SCHEDULE, x, y, t, torch.zeros(4, dtype=torch.int64)),
        "x0",
        "x_t",
        1,
    ),
    "x0_from_eps": (lambda x, y, t: x0_from_eps(SCHEDULE, x, t, y), "x_t", "eps", 0),
    "eps_from_x0": (lambda x, y, t: eps_from_x0(SCHEDULE, x, t, y), "x_t", "x0", 1),
    "simple_loss": (
        lambda x, y, t: simple_loss(lambda x_t, t: x_t, SCHEDULE, x, t, y),
        "x0",
        "noise",
        0,
    ),
}
every_function = pytest.mark.parametrize(
    ("call", "first", "second", "lowest"), FUNCTIONS.values(), ids=FUNCTIONS
)


@every_function
@pytest.mark.parametrize(
    "bad", [torch.zeros(4, 2, dtype=torch.int64), [[0.0, 0.0]] * 4], ids=["integers", "list"]
)
def test_data_of_another_type_are_refused(call, first, second, lowest, bad):
    with pytest.raises(TypeError, match=f"^{first} must be a floating-point tensor, got"):
        call(bad, NOISE, TIME)
    with pytest.raises(TypeError, match=f"^{second} must be a floating-point tensor, got"):
        call(X, bad, TIME)


@every_function
def test_data_of_another_shape_are_refused(call, first, second, lowest):
    with pytest.raises(ValueError, match=f"^{first} must have a batch axis"):
        call(X[0], NOISE, TIME)
    with pytest.raises(
        ValueError,
        match=rf"^{second} must have shape \(4, 2\), got a tensor of torch.float64, shape \(4, 1\)",
    ):
        call(X, NOISE[:, :1], TIME)


@every_function
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_data_that_are_not_finite_are_refused(call, first, second, lowest, value):
    bad = X.clone()
    bad[2, 1] = value
    with pytest.raises(ValueError, match=f"^{first} must be finite"):
        call(bad, NOISE, TIME)
    with pytest.raises(ValueError, match=f"^{second} must be finite"):
        call(X, bad, TIME)


@every_function
def test_bad_t_is_refused(call, first, second, lowest):
    for bad in (5.0, True, "5", None):
        with pytest.raises(TypeError, match=f"^t must be an int in {lowest}…{T}, got"):
            call(X, NOISE, bad)
    for bad in (lowest - 1, T + 1):
        with pytest.raises(ValueError, match=f"^t must be an int in {lowest}…{T}, got {bad}"):
            call(X, NOISE, bad)
        with pytest.raises(ValueError, match=f"^t must lie in {lowest}…{T}, got values in"):
            call(X, NOISE, torch.tensor([5, 5, bad, 5]))
    for bad in (TIME.float(), TIME > 3, TIME.numpy() / 2, ["5"] * 4):
        with pytest.raises(TypeError, match=r"^t must be an int or an int64 tensor \(B,\), got"):
            call(X, NOISE, bad)
    for bad in (TIME[:3], TIME[:, None], [5, 5]):
        with pytest.raises(
            ValueError, match=r"^t must be an int or have shape \(4,\), one timestep per item, got"
        ):
            call(X, NOISE, bad)


@every_function
def test_an_int_is_a_tensor_of_equal_timesteps(call, first, second, lowest):
    def answers(t):
        answer = call(X, NOISE, t)
        return answer if isinstance(answer, tuple) else (answer,)

    for t in (lowest, 5, 400):
        all_of_them = answers(torch.full((4,), t))
        for same in (
            t,
            np.int64(t),
            np.int32(t),
            torch.tensor(t),
            [t] * 4,
            np.full(4, t),
            torch.full((4,), t, dtype=torch.int32),
        ):
            for a, b in zip(answers(same), all_of_them, strict=True):
                torch.testing.assert_close(a.expand_as(b), b, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(("convert", "name"), [(score_from_eps, "eps"), (eps_from_score, "score")])
def test_score_conversions_refuse_bad_input(convert, name):
    with pytest.raises(TypeError, match=f"^{name} must be a floating-point tensor"):
        convert(SCHEDULE, 5, X.long())
    with pytest.raises(ValueError, match=f"^{name} must be finite"):
        convert(SCHEDULE, 5, X * math.nan)
    for t in (0, torch.zeros(4, dtype=torch.int64)):
        with pytest.raises(ValueError, match=f"^t must .*1…{T}"):
            convert(SCHEDULE, t, X)
    assert torch.equal(convert(SCHEDULE, 5, X), convert(SCHEDULE, TIME, X))


def test_posterior_refuses_bad_s():
    for bad in (TIME, TIME + 1, 5, 6):
        for t in (5, TIME):
            with pytest.raises(ValueError, match="^s must be smaller than t"):
                posterior(SCHEDULE, X, NOISE, t, bad)
    for bad in (-1, torch.full((4,), -1)):
        with pytest.raises(ValueError, match=f"^s must .*0…{T}"):
            posterior(SCHEDULE, X, NOISE, TIME, bad)
    with pytest.raises(TypeError, match="^s must be an int in"):
        posterior(SCHEDULE, X, NOISE, TIME, 3.0)


@pytest.mark.parametrize(
    "other", [SCHEDULE.alpha_bar, None, 1000, "linear"], ids=["alpha_bar", "None", "int", "str"]
)
def test_what_is_no_schedule_is_named(other):
    for call in (
        lambda: perturb_input(other, X, 5, NOISE),
        lambda: markov_step(other, X, 5, NOISE),
        lambda: posterior(other, X, NOISE, 5, 4),
        lambda: x0_from_eps(other, X, 5, NOISE),
        lambda: eps_from_x0(other, X, 5, NOISE),
        lambda: score_from_eps(other, 5, NOISE),
        lambda: eps_from_score(other, 5, NOISE),
        lambda: simple_loss(lambda x, t: x, other, X, 5, NOISE),
    ):
        with pytest.raises(
            TypeError,
            match="^schedule must be a NoiseSchedule, got (a tensor of torch.float64|None|int 1000|str 'linear')",
        ):
            call()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (X[:, :1], r"shape \(4, 2\), got a tensor of torch.float64, shape \(4, 1\)"),
        (None, "got None"),
        (X > 0, "floating-point .* got a tensor of torch.bool"),
        (X * math.nan, r"NaN or infinity at t = \[5\]"),
    ],
    ids=["shape", "none", "bool", "nan"],
)
def test_a_model_with_a_bad_answer_is_named(answer, message):
    for call in (
        lambda model: checked_eps(model, X, TIME),
        lambda model: simple_loss(model, SCHEDULE, X, TIME, NOISE),
    ):
        with pytest.raises(ValueError, match=f"^eps_model .*{message}"):
            call(lambda x, t: answer)


def test_a_model_that_writes_into_its_argument_changes_no_data():
    """At t = 0 the noised data are the data; the model gets a copy, in the loss as in the samplers."""
    x0, noise = normal((4, 2)), normal((4, 2), 1)
    copies = x0.clone(), noise.clone()

    def careless(x_t, t):
        t.zero_()
        return x_t.zero_()

    t = torch.tensor([0, 1, 5, 1000])
    assert torch.equal(simple_loss(careless, SCHEDULE, x0, t, noise), noise.square().mean(1))
    assert (
        torch.equal(x0, copies[0])
        and torch.equal(noise, copies[1])
        and t.tolist() == [0, 1, 5, 1000]
    )
