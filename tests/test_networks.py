"""The U-Net: shapes, size, what its answer depends on, bad input."""

import pytest
import torch

from dgm_helpers.networks import VAE, PCAGaussian, SpriteClassifier, UNet


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
    return torch.randn(n, 3, side, side, generator=generator), torch.tensor([1, 500, 1000])[:n], torch.tensor([0, 2, 4])[:n]


@pytest.mark.parametrize("side", [4, 16, 20])
def test_answer_has_the_shape_of_the_input(net, side):
    x, t, y = batch(side=side)
    assert net(x, t, y).shape == net(x, t).shape == x.shape


@pytest.mark.parametrize("channels, parameters", [((24, 40, 56), 793_883), ((24, 48, 72), 1_174_443), ((24, 48, 96), 1_755_363)])
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
        assert ((eps - changed).abs().flatten(1).amax(1) > 1e-5)[[0, 2]].all()  # t[1] is nearly its own mirror image


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
    "options, message",
    [
        ({"channels": (8, 8)}, r"channels must be three positive multiples of 8, got \(8, 8\)"),
        ({"channels": (8, 12, 16)}, r"channels must be three positive multiples of 8, got \(8, 12, 16\)"),
        ({"channels": (0, 8, 8)}, "channels must be three positive multiples of 8"),
        ({"n_classes": -1}, "n_classes must be at least 0, got -1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        UNet(**options)


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 1, 16, 16), (1, 3, 16, 18), (1, 3, 15, 16)])
def test_bad_shape(net, shape):
    with pytest.raises(ValueError, match=r"x must have shape \(B, 3, H, W\) with H and W multiples of 4, got"):
        net(torch.zeros(shape), torch.ones(shape[0], dtype=torch.int64))


@pytest.mark.parametrize("labels", [[0, 6], [-1, 0], [0.0, 1.0]])
def test_bad_labels(net, labels):
    with pytest.raises(ValueError, match=r"labels must be int64 \(B,\) in 0…5, got"):
        net.for_labels(labels)


def vae_batch(n=6):
    g = torch.Generator().manual_seed(1)
    return torch.rand(n, 3, 16, 16, generator=g) * 2 - 1, torch.arange(n) % 5


def test_the_vae_s_bound_is_the_sum_of_its_two_terms_and_trains_every_weight():
    torch.manual_seed(0)
    net, (x, y) = VAE(latent=4, width=8), vae_batch()
    loss = net.negative_elbo(x, y, torch.Generator().manual_seed(2))
    mean, log_var = net.moments(net._with_class(net.encoder(x), y)).chunk(2, dim=1)
    encoder = torch.distributions.Normal(mean, (log_var / 2).exp())
    z = mean + encoder.stddev * torch.randn(mean.shape, generator=torch.Generator().manual_seed(2))
    decoder = torch.distributions.Normal(net.decoder(net._with_class(z, y)), (net.log_variance / 2).exp())
    kl = torch.distributions.kl_divergence(encoder, torch.distributions.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(loss, kl - decoder.log_prob(x).flatten(1).sum(1))
    loss.mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("generator_of", [lambda: VAE(latent=4, width=8), lambda: PCAGaussian(*vae_batch(20), n_components=3)])
def test_cheap_generators_draw_pictures_and_repeat_with_their_seed(generator_of):
    generator, labels = generator_of(), torch.tensor([0, 4, 4])
    x, again, other = (generator.sample(labels, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert x.shape == (3, 3, 16, 16) and x.dtype == torch.float32 and x.abs().max() <= 1 and not x.requires_grad
    assert torch.equal(x, again) and not torch.equal(x, other) and not torch.equal(x[1], x[2])
    for wrong in ([5], [-1], [0.5], [[0]]):
        with pytest.raises(ValueError, match=r"labels must be int64 \(B,\) in 0…4, got"):
            generator.sample(torch.tensor(wrong), generator=torch.Generator())


def test_the_pca_gaussian_has_the_moments_of_its_class():
    g = torch.Generator().manual_seed(0)
    directions, scales = torch.linalg.qr(torch.randn(48, 2, generator=g))[0], torch.tensor([0.3, 0.1])
    x = (torch.randn(500, 2, generator=g) * scales @ directions.T).reshape(500, 3, 4, 4)
    fitted = PCAGaussian(torch.cat([x, x + 0.2]), torch.arange(2).repeat_interleave(500))
    y = fitted.sample(torch.ones(20_000, dtype=torch.int64), generator=g).flatten(1)
    torch.testing.assert_close(y.mean(0), (x + 0.2).flatten(1).mean(0), atol=0.01, rtol=0)
    torch.testing.assert_close(y.T.cov(), x.flatten(1).T.cov(), atol=0.002, rtol=0)
    assert len(PCAGaussian(x, torch.zeros(500, dtype=torch.int64), n_components=1).factors[0]) == 1
    with pytest.raises(ValueError, match="labels must hold every class at least twice, got class 0 1 times"):
        PCAGaussian(x[:3], torch.tensor([0, 1, 1]))


def test_the_classifier_s_logits_are_linear_in_its_features():
    net, (x, _) = SpriteClassifier(n_features=7, n_classes=3), vae_batch()
    assert net.features(x).shape == (6, 7)
    torch.testing.assert_close(net(x), net.features(x) @ net.head.weight.T + net.head.bias)


@pytest.mark.parametrize("make, name", [(VAE, "latent"), (VAE, "width"), (VAE, "n_classes"), (SpriteClassifier, "n_features"), (SpriteClassifier, "n_classes")])
def test_sizes_must_be_positive(make, name):
    for wrong in (0, 2.0, True):
        with pytest.raises(ValueError, match=f"{name} must be a positive int, got {wrong}"):
            make(**{name: wrong})
