"""The networks of pictures: shapes, size, what an answer depends on, precision, device, bad input."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch

from dgm_helpers.arguments import seeded
from dgm_helpers.mixtures import GaussianMixture
from dgm_helpers.networks import VAE, PCAGaussian, ScoreMLP, SpriteClassifier, UNet
from dgm_helpers.samplers import sample_ddim
from dgm_helpers.schedules import NoiseSchedule


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = UNet((8, 16, 24), n_classes=5).eval()
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return net


def batch(n=3, side=16):
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(n, 3, side, side, generator=generator),
        torch.tensor([1, 500, 1000])[:n],
        torch.tensor([0, 2, 4])[:n],
    )


def vae_batch(n=6):
    g = torch.Generator().manual_seed(1)
    return torch.rand(n, 3, 16, 16, generator=g) * 2 - 1, torch.arange(n) % 5


@pytest.mark.parametrize("side", [4, 16, 20])
def test_answer_has_the_shape_of_the_input(net, side):
    x, t, y = batch(side=side)
    assert net(x, t, y).shape == net(x, t).shape == x.shape


@pytest.mark.parametrize(
    "channels, parameters",
    [((24, 40, 56), 793_883), ((24, 48, 72), 1_174_443), ((24, 48, 96), 1_755_363)],
)
def test_size(channels, parameters):
    assert sum(p.numel() for p in UNet(channels).parameters()) == parameters


def test_the_first_estimate_is_zero_and_the_first_step_changes_it():
    torch.manual_seed(0)
    net = UNet((8, 16, 24))
    x, t, y = batch()
    assert (net(x, t, y) == 0).all()
    (net(x, t, y) - x).square().mean().backward()
    torch.optim.SGD(net.parameters(), 0.1).step()
    assert (net(x, t, y) != 0).any()


def test_answer_depends_on_picture_time_and_class(net):
    x, t, y = batch()
    eps = net(x, t, y)
    for changed in (net(x + 0.1, t, y), net(x, 1001 - t, y), net(x, t, (y + 1) % 5), net(x, t)):
        assert ((eps - changed).abs().flatten(1).amax(1) > 1e-5)[
            [0, 2]
        ].all()  # t[1] is nearly its own mirror image


def test_no_label_is_the_label_n_classes(net):
    x, t, _ = batch()
    assert torch.equal(net(x, t), net(x, t, torch.full((3,), 5)))


def test_pictures_of_a_batch_do_not_see_each_other(net):
    x, t, y = batch()
    alone = torch.cat([net(x[i : i + 1], t[i : i + 1], y[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(net(x, t, y), alone)


def test_every_pixel_sees_every_pixel(net):
    x, t, y = batch(1)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(net(x, t, y)[0, 0, 0, 0], x)
    assert (gradient.abs().sum((0, 1)) > 0).all()


def test_every_parameter_is_trained(net):
    x, t, y = batch()
    net(x, t, y).square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


def test_same_seed_same_weights():
    def weights():
        torch.manual_seed(7)
        return torch.nn.utils.parameters_to_vector(UNet((8, 8, 8)).parameters())

    assert torch.equal(weights(), weights())


def test_for_labels_is_a_noise_predictor_without_gradients(net):
    x, t, y = batch()
    eps = net.for_labels(y)(x, t)
    assert torch.equal(eps, net(x, t, y)) and not eps.requires_grad
    assert torch.equal(net.for_labels([0, 2, 4])(x, t), eps)


def test_config_rebuilds_the_network(net):
    again = UNet(**net.config)
    again.load_state_dict(net.state_dict())
    x, t, y = batch()
    assert torch.equal(again.eval()(x, t, y), net(x, t, y))


@pytest.mark.parametrize(
    "t",
    [
        7,
        np.int64(7),
        torch.tensor(7),
        [7, 7, 7],
        (7, 7, 7),
        np.full(3, 7),
        torch.full((3,), 7, dtype=torch.int32),
    ],
)
def test_a_time_is_an_int_or_one_for_each_picture(net, t):
    x, _, y = batch()
    assert torch.equal(net(x, t, y), net(x, torch.full((3,), 7), y))
    assert torch.equal(net.for_labels(y)(x, t), net(x, t, y.tolist()))


def test_large_times_differ_in_half_precision():
    """float16 holds whole numbers up to 2,048, but not their products with the frequencies."""
    waves = UNet((8, 8, 8))._waves
    for dtype, error in ((torch.float16, 1e-3), (torch.bfloat16, 1e-2), (torch.float64, 1e-12)):
        got = waves(torch.tensor([998, 999]), torch.zeros(2, 1, dtype=dtype))
        f = torch.tensor(
            [math.exp(-math.log(10_000) * i / 32) for i in range(32)], dtype=torch.float64
        )
        angles = torch.tensor([[998.0], [999.0]], dtype=torch.float64) * f
        expected = torch.cat([angles.sin(), angles.cos()], dim=1)
        assert got.dtype == dtype
        torch.testing.assert_close(got.double(), expected, atol=error, rtol=0)


def test_the_gradient_is_right_in_double_precision(net):
    net = net.double()
    x, t, y = batch(1, side=4)
    assert torch.autograd.gradcheck(
        lambda x: net(x, t, y), x.double().requires_grad_(), fast_mode=True
    )


def networks():
    """Each network with a call of it for data of its dtype, and the answer's shape."""
    pictures, points, labels = vae_batch()[0][:2], torch.ones(2, 2), [0, 1]
    return {
        "UNet": (
            UNet((8, 8, 8)),
            lambda net, like: net(pictures.to(like), 5, labels),
            (2, 3, 16, 16),
        ),
        "ScoreMLP": (ScoreMLP(width=8), lambda net, like: net(points.to(like)), (2, 2)),
        "conditional": (
            ScoreMLP(width=8, conditional=True),
            lambda net, like: net(points.to(like), [0.5, 2]),
            (2, 2),
        ),
        "VAE": (
            VAE(latent=2, width=4),
            lambda net, like: net.negative_elbo(pictures.to(like), labels, seeded(0)),
            (2,),
        ),
        "VAE.sample": (
            VAE(latent=2, width=4),
            lambda net, like: net.sample(labels, generator=seeded(0)),
            (2, 3, 16, 16),
        ),
        "SpriteClassifier": (SpriteClassifier(), lambda net, like: net(pictures.to(like)), (2, 5)),
        "features": (
            SpriteClassifier(),
            lambda net, like: net.features(pictures.to(like)),
            (2, 64),
        ),
    }


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", networks())
def test_a_network_runs_in_the_precision_it_was_moved_to(name, dtype):
    net, call, shape = networks()[name]
    expected = call(net, torch.float32).detach()
    answer = call(net.to(dtype), dtype)
    assert answer.dtype == dtype and answer.shape == shape
    if dtype == torch.float64 and name not in ("VAE", "VAE.sample"):  # other draws
        torch.testing.assert_close(answer.detach().float(), expected)


@pytest.mark.parametrize("name", networks())
def test_draws_and_constants_lie_on_the_data_s_device_and_in_its_dtype(name):
    """What is made without a device would be a meta tensor here, and without a dtype double precision."""
    net, call, shape = networks()[name]
    expected = call(net, torch.float32)
    try:
        torch.set_default_device("meta")
        torch.set_default_dtype(torch.float64)
        answer = call(net, torch.float32)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert answer.dtype == torch.float32
    torch.testing.assert_close(answer, expected)


@pytest.mark.parametrize("name", networks())
def test_shapes_can_be_asked_on_the_meta_device(name):
    net, call, shape = networks()[name]
    answer = call(net.to("meta"), "meta")
    assert answer.shape == shape and answer.is_meta


def test_the_pca_gaussian_draws_in_the_dtype_and_on_the_device_of_its_pictures():
    x, y = vae_batch(20)
    expected = PCAGaussian(x, y).sample([0, 3], generator=seeded(0))
    try:
        torch.set_default_device("meta")
        torch.set_default_dtype(torch.float64)
        assert torch.equal(PCAGaussian(x, y.tolist()).sample([0, 3], generator=seeded(0)), expected)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    for dtype, drawn in ((torch.float64, torch.float64), (torch.float16, torch.float32)):
        assert PCAGaussian(x.to(dtype), y).sample([0], generator=seeded(0)).dtype == drawn


def test_autocast_may_change_the_dtype_inside(net):
    x, t, y = batch()
    with torch.autocast("cpu", torch.bfloat16):
        answers = net(x, t, y), net(x.bfloat16(), t, y)
    for eps in answers:
        torch.testing.assert_close(eps.float(), net(x, t, y), atol=0.2, rtol=0.1)


def test_guards_do_not_break_a_compiled_network_or_a_jacobian(net):
    x, t, y = batch()
    score, points = ScoreMLP(width=4, conditional=True), torch.randn(3, 2, generator=seeded(0))
    for network, arguments in ((net, (x, t, y)), (score, (points, 2.0))):
        compiled = torch.compile(network, backend="eager", fullgraph=True)
        assert torch.equal(compiled(*arguments), network(*arguments))

    def one(point):
        return score(point[None], 2.0)[0]

    jacobian = torch.func.vmap(torch.func.jacrev(one))(points)
    rows = [torch.autograd.functional.jacobian(one, point) for point in points]
    torch.testing.assert_close(jacobian, torch.stack(rows))


def test_copied_pickled_and_reloaded_networks_are_the_same():
    for name, (net, call, _) in networks().items():
        expected, again = call(net, torch.float32), type(net)(**net.config)
        again.load_state_dict(net.state_dict())
        for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), again):
            assert torch.equal(call(other, torch.float32), expected), name


def test_sizes_may_be_numpy_s(net):
    three = np.array([8, 16, 24])
    assert UNet(three, np.int64(5)).config == UNet(torch.from_numpy(three)).config == net.config
    assert all(type(width) is int for width in UNet(three).config["channels"])
    for made in (
        ScoreMLP(np.int32(2), np.int64(4), conditional=np.True_),
        VAE(np.int64(2)),
        SpriteClassifier(np.uint8(4)),
    ):
        assert all(type(value) in (int, bool) for value in made.config.values())


@pytest.mark.parametrize(
    "channels, error",
    [
        ((8, 8), ValueError),
        ((8, 12, 16), ValueError),
        ((0, 8, 8), ValueError),
        ((-8, 8, 8), ValueError),
        ([8, 8, 8, 8], ValueError),
    ]
    + [
        (value, TypeError)
        for value in (
            8,
            None,
            "888",
            (8.0, 8.0, 8.0),
            ("8", "8", "8"),
            {8: 0, 16: 0, 24: 0},
            (True, 8, 8),
            np.array(8),
        )
    ],
)
def test_channels_are_three_multiples_of_8(channels, error):
    with pytest.raises(error, match="channels must be three positive multiples of 8, got"):
        UNet(channels)


@pytest.mark.parametrize(
    "make, name",
    [
        (UNet, "n_classes"),
        (VAE, "latent"),
        (VAE, "width"),
        (VAE, "n_classes"),
        (SpriteClassifier, "n_features"),
        (SpriteClassifier, "n_classes"),
    ]
    + [
        (ScoreMLP, "dim"),
        (ScoreMLP, "width"),
        (ScoreMLP, "depth"),
        (lambda n_components: PCAGaussian(*vae_batch(10), n_components), "n_components"),
        (lambda n_clusters: PCAGaussian(*vae_batch(10), n_clusters=n_clusters), "n_clusters"),
    ],
)
def test_sizes_are_positive_ints(make, name):
    least = 0 if make is UNet else 1
    with pytest.raises(
        ValueError, match=f"{name} must be an int of at least {least}, got {least - 1}"
    ):
        make(**{name: least - 1})
    for wrong in (2.0, True, "2", None, [2], np.array([2, 3])):
        with pytest.raises(TypeError, match=f"{name} must be an int of at least {least}, got"):
            make(**{name: wrong})


@pytest.mark.parametrize(
    "shape", [(3, 16, 16), (1, 1, 16, 16), (1, 3, 16, 18), (1, 3, 15, 16), (1, 3, 0, 4)]
)
def test_bad_shape(net, shape):
    with pytest.raises(ValueError, match=r"x must (have shape \(B, 3, H, W\)|hold items)"):
        net(torch.zeros(shape), 1)


NAN = torch.full((4, 3, 16, 16), math.nan)
X, T = torch.zeros(4, 3, 16, 16), torch.tensor([1, 2, 3, 4])


@pytest.mark.parametrize(
    "error, message, call",
    [
        # x
        (
            TypeError,
            "x must have dtype torch.float32, .* got torch.float64",
            lambda u: u(X.double(), T),
        ),
        (TypeError, "x must have dtype torch.float16", lambda u: u.half()(X, T)),
        (
            TypeError,
            "x must be a floating-point tensor, got a numpy array",
            lambda u: u(X.numpy(), T),
        ),
        (
            TypeError,
            "x must be a floating-point tensor, got a tensor of torch.uint8",
            lambda u: u(X.to(torch.uint8), T),
        ),
        (
            TypeError,
            "x must be a floating-point tensor, got a tensor of torch.complex64",
            lambda u: u(X + 0j, T),
        ),
        (ValueError, "x must be finite", lambda u: u(NAN, T)),
        (
            ValueError,
            "x must be on cpu, where the network is, got a tensor on meta",
            lambda u: u(X.to("meta"), 1),
        ),
        (
            TypeError,
            "x must have dtype",
            lambda u: ScoreMLP()(
                GaussianMixture([1.0], [[0.0, 0.0]], [1.0]).sample(4, generator=seeded(0))
            ),
        ),
        (
            ValueError,
            r"x must have shape \(B, 3, 16, 16\), got \(2, 3, 28, 28\)",
            lambda u: SpriteClassifier()(torch.zeros(2, 3, 28, 28)),
        ),
        (
            ValueError,
            r"x must have shape \(B, 3, 16, 16\)",
            lambda u: SpriteClassifier().features(torch.zeros(2, 3, 32, 16)),
        ),
        (TypeError, "x must have dtype", lambda u: SpriteClassifier()(X.double())),
        (ValueError, "x must be finite", lambda u: SpriteClassifier().features(NAN)),
        (
            ValueError,
            r"x must have shape \(B, 3, 16, 16\)",
            lambda u: VAE().negative_elbo(torch.zeros(2, 3, 28, 28), T[:2], seeded(0)),
        ),
        (TypeError, "x must have dtype", lambda u: VAE().negative_elbo(X.double(), T, seeded(0))),
        (ValueError, "x must be finite", lambda u: VAE().negative_elbo(NAN, T, seeded(0))),
        (ValueError, "x must be finite", lambda u: PCAGaussian(NAN, [0, 0, 1, 1])),
        (
            ValueError,
            r"x must have shape \(N, C, H, W\)",
            lambda u: PCAGaussian(X.flatten(1), [0, 0, 1, 1]),
        ),
        (
            TypeError,
            "x must be a floating-point tensor",
            lambda u: PCAGaussian(X.long(), [0, 0, 1, 1]),
        ),
        # t
        (ValueError, "t must be an int .*got -1", lambda u: u(X, -1)),
        (
            ValueError,
            "t must be at least 0, got values in -3…4",
            lambda u: u(X, torch.tensor([1, -3, 2, 4])),
        ),
        (ValueError, r"t must be an int or have shape \(4,\)", lambda u: u(X, T[:3])),
        (ValueError, r"t must be an int or have shape \(4,\)", lambda u: u(X, T[:, None])),
        (TypeError, "t must be an int", lambda u: u(X, 1.0)),
        (TypeError, "t must be an int or an int64 tensor", lambda u: u(X, T.float())),
        (TypeError, "t must be an int", lambda u: u(X, None)),
        (TypeError, "t must be an int", lambda u: u(X, "1")),
        (TypeError, "t must be an int", lambda u: u.for_labels(T)(X, True)),
        (TypeError, "x_t must have dtype torch.float32", lambda u: u.for_labels(T)(X.double(), 1)),
        (ValueError, "x_t must be finite", lambda u: u.for_labels(T)(NAN, 1)),
        (ValueError, "x_t must have shape", lambda u: u.for_labels(T)(X[..., :3], 1)),
        # labels
        (
            ValueError,
            r"labels must be int64 \(4,\) in 0…5, .* got values in 6…9",
            lambda u: u(X, T, T + 5),
        ),
        (
            ValueError,
            r"labels must be int64 \(4,\) in 0…5, one for each picture, got shape \(3,\)",
            lambda u: u(X, T, T[:3]),
        ),
        (TypeError, "labels must be int64", lambda u: u(X, T, T.float())),
        (TypeError, "labels must be int64", lambda u: u(X, T, T > 2)),
        (TypeError, "labels must be int64", lambda u: u(X, T, ["food"] * 4)),
        (
            ValueError,
            r"labels must be int64 \(B,\) in 0…5, got values in 0…6",
            lambda u: u.for_labels([0, 6]),
        ),
        (
            ValueError,
            r"labels must be int64 \(B,\) in 0…5, got values in -1…0",
            lambda u: u.for_labels([-1, 0]),
        ),
        (ValueError, r"labels must be int64 \(B,\)", lambda u: u.for_labels(3)),
        (TypeError, "labels must be int64", lambda u: u.for_labels([0.0, 1.0])),
        (TypeError, "labels must be int64", lambda u: u.for_labels(None)),
        (TypeError, "labels must be int64", lambda u: u.for_labels(["food"])),
        (
            ValueError,
            "labels must be int64 .4,",
            lambda u: sample_ddim(
                u.for_labels(torch.arange(5)), NoiseSchedule.linear(), X, steps=1
            ),
        ),
        (
            ValueError,
            r"labels must be int64 \(4,\) in 0…4",
            lambda u: VAE().negative_elbo(X, T + 5, seeded(0)),
        ),
        (
            ValueError,
            r"labels must be int64 \(4,\) in 0…4",
            lambda u: VAE().negative_elbo(X, T[:2], seeded(0)),
        ),
        (TypeError, "labels must be int64", lambda u: VAE().sample(None, generator=seeded(0))),
        (ValueError, r"labels must be int64 \(4,\)", lambda u: PCAGaussian(X, T[:3])),
        (TypeError, "labels must be int64", lambda u: PCAGaussian(X, T.float())),
        (
            ValueError,
            "labels must hold every class at least twice, got class 0 1 times",
            lambda u: PCAGaussian(X, [0, 1, 1, 1]),
        ),
        (
            ValueError,
            "labels must hold every class at least twice, got class 0 0 times",
            lambda u: PCAGaussian(X, [1, 1, 1, 1]),
        ),
        (
            ValueError,
            "labels must hold every class at least twice, got class 0 0 times",
            lambda u: PCAGaussian(X[:0], [0][:0] or torch.arange(0)),
        ),
    ],
)
def test_bad_input_is_named(error, message, call):
    with pytest.raises(error, match=f"^{message}"):
        call(UNet((8, 8, 8)))


def test_a_generator_is_asked_for():
    vae, gaussians = VAE(latent=2, width=4), PCAGaussian(*vae_batch(10))
    before = torch.get_rng_state()
    for call in (
        lambda g: vae.sample([0, 1], generator=g),
        lambda g: vae.negative_elbo(X, T, g),
        lambda g: gaussians.sample([0, 1], generator=g),
    ):
        for wrong in (None, 0, np.random.default_rng(0), before):
            with pytest.raises(TypeError, match="generator must be a torch.Generator"):
                call(wrong)
        call(seeded(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_caller_s_data_are_never_changed(net):
    x, t, y = batch()
    kept = x.clone(), t.clone(), y.clone()
    (
        net(x, t, y),
        net.for_labels(y)(x, t),
        VAE().negative_elbo(x, y, seeded(0)),
        SpriteClassifier()(x),
    )
    PCAGaussian(x.repeat(2, 1, 1, 1), torch.tensor([0, 1, 2, 0, 1, 2])).sample(
        t % 3, generator=seeded(0)
    )
    assert all(torch.equal(a, b) for a, b in zip((x, t, y), kept))


def test_the_vae_s_bound_is_the_sum_of_its_two_terms_and_trains_every_weight():
    torch.manual_seed(0)
    net, (x, y) = VAE(latent=4, width=8), vae_batch()
    loss = net.negative_elbo(x, y, torch.Generator().manual_seed(2))
    mean, log_var = net.moments(net._with_class(net.encoder(x), y)).chunk(2, dim=1)
    encoder = torch.distributions.Normal(mean, (log_var / 2).exp())
    z = mean + encoder.stddev * torch.randn(mean.shape, generator=torch.Generator().manual_seed(2))
    decoder = torch.distributions.Normal(
        net.decoder(net._with_class(z, y)), (net.log_variance / 2).exp()
    )
    kl = torch.distributions.kl_divergence(encoder, torch.distributions.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(loss, kl - decoder.log_prob(x).flatten(1).sum(1))
    loss.mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    "generator_of",
    [
        lambda: VAE(latent=4, width=8),
        lambda: PCAGaussian(*vae_batch(20), n_components=3),
        lambda: PCAGaussian(*vae_batch(100), n_components=3, n_clusters=2),
    ],
)
def test_cheap_generators_draw_pictures_and_repeat_with_their_seed(generator_of):
    generator, labels = generator_of(), torch.tensor([0, 4, 4])
    x, again, other = (
        generator.sample(labels, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    assert (
        x.shape == (3, 3, 16, 16)
        and x.dtype == torch.float32
        and x.abs().max() <= 1
        and not x.requires_grad
    )
    assert torch.equal(x, again) and not torch.equal(x, other) and not torch.equal(x[1], x[2])
    for wrong in ([5], [-1], [0.5], [[0]]):
        with pytest.raises(
            (TypeError, ValueError), match=r"labels must be int64 \(B,\) in 0…4, got"
        ):
            generator.sample(torch.tensor(wrong), generator=torch.Generator())


def test_the_pca_gaussian_has_the_moments_of_its_class():
    g = torch.Generator().manual_seed(0)
    directions, scales = (
        torch.linalg.qr(torch.randn(48, 2, generator=g))[0],
        torch.tensor([0.3, 0.1]),
    )
    x = (torch.randn(500, 2, generator=g) * scales @ directions.T).reshape(500, 3, 4, 4)
    fitted = PCAGaussian(torch.cat([x, x + 0.2]), torch.arange(2).repeat_interleave(500))
    y = fitted.sample(torch.ones(20_000, dtype=torch.int64), generator=g).flatten(1)
    torch.testing.assert_close(y.mean(0), (x + 0.2).flatten(1).mean(0), atol=0.01, rtol=0)
    torch.testing.assert_close(y.T.cov(), x.flatten(1).T.cov(), atol=0.002, rtol=0)
    assert len(PCAGaussian(x, torch.zeros(500, dtype=torch.int64), 1).clusters[0][0].factor) == 1


def test_clusters_of_a_class_are_found_with_their_shares_and_spreads():
    """One class of two heaps, 60 and 20 pictures, and one of a single heap."""
    g = torch.Generator().manual_seed(0)
    heaps = torch.tensor([-0.5, 0.5, 0.1]).repeat_interleave(torch.tensor([60, 20, 40]))
    x = heaps[:, None, None, None] + 0.05 * torch.randn(120, 3, 4, 4, generator=g)
    labels = (torch.arange(120) >= 80).long()
    fitted = PCAGaussian(x, labels, n_clusters=2)
    assert sorted(gaussian.count for gaussian in fitted.clusters[0]) == [20, 60]
    assert sum(gaussian.count for gaussian in fitted.clusters[1]) == 40
    y = fitted.sample(torch.zeros(8_000, dtype=torch.int64), generator=g).mean((1, 2, 3))
    assert abs((y > 0).double().mean() - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 8_000)
    for low, high, rows in ((-1, 0, x[:60]), (0, 1, x[60:80])):
        drawn, means = y[(low < y) & (y < high)], rows.mean((1, 2, 3))
        assert abs(drawn.mean() - means.mean()) < 4 * drawn.std() / math.sqrt(len(drawn))
        assert abs(drawn.std() / means.std() - 1) < 0.1


def test_no_cluster_is_so_small_that_a_draw_would_be_a_copy():
    """Far from eighty pictures lie two more; and a class in which all pictures are the same has one Gaussian."""
    g = torch.Generator().manual_seed(0)
    x = torch.cat([0.1 * torch.rand(80, 3, 4, 4, generator=g), torch.ones(2, 3, 4, 4)])
    for pictures in (x, torch.zeros(82, 3, 4, 4)):
        (clusters,) = PCAGaussian(
            pictures, torch.zeros(82, dtype=torch.int64), n_clusters=9
        ).clusters
        assert min(gaussian.count for gaussian in clusters) >= 4
        assert sum(gaussian.count for gaussian in clusters) == 82
    (clusters,) = PCAGaussian(x[:15], torch.zeros(15, dtype=torch.int64), n_clusters=9).clusters
    assert len(clusters) == 1


def test_the_classifier_s_logits_are_linear_in_its_features():
    net, (x, _) = SpriteClassifier(n_features=7, n_classes=3), vae_batch()
    assert net.features(x).shape == (6, 7)
    torch.testing.assert_close(net(x), net.features(x) @ net.head.weight.T + net.head.bias)
