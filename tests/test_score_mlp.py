"""The small score network: shapes, smoothness, what its answer depends on, saving, bad input, and that it learns."""

import math

import numpy as np
import pytest
import torch

from dgm_helpers.arguments import seeded
from dgm_helpers.langevin import annealed_langevin, langevin
from dgm_helpers.mixtures import GaussianMixture
from dgm_helpers.networks import ScoreMLP
from dgm_helpers.score_matching import exact_score_matching, noise_conditional_score_matching
from dgm_helpers.training import load_pretrained, save_pretrained, train


def net(seed=0, **options):
    torch.manual_seed(seed)
    return ScoreMLP(**({"width": 16, "depth": 2} | options))


def randn(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed))


@pytest.mark.parametrize("dim", [1, 2, 7])
@pytest.mark.parametrize("depth", [1, 3])
def test_answer_has_the_shape_of_the_input(dim, depth):
    x = randn(5, dim)
    assert net(dim=dim, depth=depth)(x).shape == x.shape
    assert net(dim=dim, depth=depth, conditional=True)(x, 0.5).shape == x.shape


def test_size_is_that_of_the_layers():
    assert (
        sum(p.numel() for p in ScoreMLP().parameters())
        == 2 * 128 + 128 + 2 * (128 * 128 + 128) + 128 * 2 + 2
    )
    assert (
        sum(p.numel() for p in ScoreMLP(conditional=True).parameters())
        == 3 * 128 + 128 + 2 * (128 * 128 + 128) + 128 * 2 + 2
    )


def test_one_sigma_is_the_same_as_one_for_each_point():
    model, x = net(conditional=True), randn(5, 2)
    assert torch.equal(model(x, 3.0), model(x, torch.full((5,), 3.0)))
    for same in (3, np.float64(3), np.full(5, 3), [3] * 5, torch.tensor(3.0, dtype=torch.float64)):
        assert torch.equal(model(x, 3.0), model(x, same))
    sigma = torch.linspace(0.1, 20, 5)
    alone = torch.cat([model(x[i : i + 1], sigma[i].item()) for i in range(5)])
    torch.testing.assert_close(model(x, sigma), alone)


def test_answer_is_divided_by_sigma_and_depends_on_it():
    model, x = net(conditional=True), randn(5, 2)
    features = torch.cat([x, torch.full((5, 1), math.log(4.0))], dim=1)
    torch.testing.assert_close(model(x, 4.0), model.net(features) / 4)
    assert ((4 * model(x, 4.0) - 2 * model(x, 2.0)).abs() > 1e-4).all()


def test_it_is_smooth_enough_for_the_trace_to_train_it():
    model, x = net(), randn(20, 2)
    trace = exact_score_matching(model, x) - model(x).square().sum(1) / 2
    trace.mean().backward()
    assert all(
        p.grad.abs().max() > 1e-5 for name, p in model.named_parameters() if name != "net.4.bias"
    )  # no shift moves a trace


def test_it_serves_the_samplers():
    g, x = seeded(0), randn(5, 2)
    assert langevin(net(), x, step_size=0.1, steps=3, generator=g).shape == x.shape
    assert (
        annealed_langevin(
            net(conditional=True), x, [2.0, 1.0], step_size=0.1, steps_per_level=3, generator=g
        ).shape
        == x.shape
    )


@pytest.mark.parametrize("conditional", [False, True])
def test_saved_and_loaded_it_is_the_same(tmp_path, conditional):
    model, x = net(dim=3, conditional=conditional), randn(5, 3)
    save_pretrained(tmp_path / "s.safetensors", model, {"note": "test"})
    again = load_pretrained(tmp_path / "s.safetensors")
    assert (
        again.config == {"dim": 3, "width": 16, "depth": 2, "conditional": conditional}
        and again.info["note"] == "test"
    )
    arguments = (x, 0.5) if conditional else (x,)
    assert torch.equal(again(*arguments), model(*arguments))


def test_it_learns_the_score_of_a_mixture_at_every_level():
    """Relative squared error, weighted by the density, below 5% after 300 steps; a zero score has 100%."""
    mixture = GaussianMixture.from_student_number(810_100_007)
    g = seeded(1)
    data, levels, model = (
        mixture.sample(2048, generator=g).float(),
        torch.logspace(math.log10(20), 0, 10),
        net(width=64, conditional=True),
    )

    def loss(net, x, generator):
        return noise_conditional_score_matching(net, x, levels, generator=generator)

    for _ in train(
        model, loss, (data,), epochs=37, batch_size=256, lr=5e-3, ema_decay=0.9, generator=g
    ):
        pass
    for sigma in (1.0, 5.0, 20.0):
        x = mixture.sample(5000, generator=g) + sigma * torch.randn(
            5000, 2, generator=g, dtype=torch.float64
        )
        true = mixture.score(x, sigma)
        with torch.no_grad():
            error = (model(x.float(), sigma) - true).square().mean() / true.square().mean()
        assert error < 0.05, (sigma, error)


@pytest.mark.parametrize("conditional", [0, 1, None, "yes", [True]])
def test_conditional_is_true_or_false(conditional):
    with pytest.raises(TypeError, match="conditional must be True or False, got"):
        ScoreMLP(conditional=conditional)


@pytest.mark.parametrize("shape", [(3,), (3, 3), (3, 1, 2), (3, 0)])
def test_bad_shape(shape):
    with pytest.raises(ValueError, match=r"x must have shape \(B, 2\), got"):
        net()(torch.zeros(shape))


@pytest.mark.parametrize("model", [net(), net(conditional=True)])
def test_bad_data(model):
    sigma = [1.0] if model.config["conditional"] else []
    for x, error, message in (
        (torch.zeros(3, 2, dtype=torch.float64), TypeError, "x must have dtype torch.float32"),
        (torch.zeros(3, 2, dtype=torch.int64), TypeError, "x must be a floating-point tensor"),
        (np.zeros((3, 2), np.float32), TypeError, "x must be a floating-point tensor, got a numpy"),
        ([[0.0, 0.0]], TypeError, "x must be a floating-point tensor, got list"),
        (torch.tensor([[0.0, math.nan]]), ValueError, "x must be finite"),
        (torch.tensor([[0.0, math.inf]]), ValueError, "x must be finite"),
    ):
        with pytest.raises(error, match=message):
            model(x, *sigma)


@pytest.mark.parametrize(
    "sigma",
    [
        None,
        "1",
        True,
        1j,
        0.0,
        -1.0,
        math.nan,
        math.inf,
        1e-50,
        1e50,
        torch.ones(2),
        [1.0, 0.0, 1.0],
    ]
    + [torch.ones(3, 1), np.ones((1, 3)), torch.full((200, 1), 7.25)],
)
def test_bad_sigma(sigma):
    with pytest.raises((TypeError, ValueError), match="^sigma must ") as raised:
        net(conditional=True)(torch.zeros(3, 2), sigma)
    assert len(str(raised.value)) < 150 and "7.25" not in str(raised.value)


def test_sigma_needs_a_conditional_network():
    with pytest.raises(ValueError, match="sigma must not be given to a network that is not"):
        net()(torch.zeros(3, 2), 1.0)
