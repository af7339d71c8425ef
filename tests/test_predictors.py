import math

import numpy as np
import pytest
import torch

import dgm_helpers as dgm
from dgm_helpers.mixtures import GaussianMixture
from dgm_helpers.predictors import (
    FourierUNet,
    PaletteUNet,
    affine_predictor,
    memoriser,
    palette_of,
    palette_predictor,
)
from dgm_helpers.training import load_pretrained, save_pretrained

SCHEDULE = dgm.NoiseSchedule.linear()


def pictures(n=6, seed=0):
    """Random pictures uint8 (n, 16, 16, 3) of four colours."""
    rng = np.random.default_rng(seed)
    colors = np.array([[0, 0, 0], [255, 255, 255], [200, 30, 40], [20, 90, 220]], np.uint8)
    return colors[rng.choice(4, (n, 16, 16), p=[0.4, 0.3, 0.2, 0.1])]


def network(kind=PaletteUNet, n_colors=4, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = kind((8, 16, 16), 5, n_colors, **options)
    if n_colors:
        model.set_palette(pictures())
    return model.eval()


FOURIER = {
    "fourier": {"n_colors": 0},
    "correction": {},
    "faded": {"faded": True},
}


def test_palette_counts_every_pixel():
    colors, shares = palette_of(pictures())
    flat = pictures().reshape(-1, 3)
    for color, share in zip(colors, shares, strict=True):
        rgb = ((color.numpy() + 1) * 127.5).round()
        assert share.item() == pytest.approx((flat == rgb).all(1).mean(), rel=1e-6)
    assert shares.sum() == pytest.approx(1)


@pytest.mark.parametrize("t", [1, 30, 300, 1000])
def test_palette_predictor_is_bayes_rule_for_a_mixture_of_points(t):
    colors, shares = palette_of(pictures())
    points = GaussianMixture(
        shares.double(), colors.double(), 1e-10 * torch.eye(3).expand(4, 3, 3).double()
    )
    x_t = torch.randn(2, 3, 4, 4, generator=dgm.seeded(0), dtype=torch.float64)
    x_t[0] += SCHEDULE.alpha_bar[t].sqrt() * colors[2, :, None, None].double()
    eps = palette_predictor(SCHEDULE, colors, shares)(x_t, t)
    flat = x_t.permute(0, 2, 3, 1).reshape(-1, 3)
    wanted = points.eps_model(SCHEDULE)(flat, t).reshape(2, 4, 4, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(eps, wanted, atol=2e-5, rtol=2e-6)


def test_no_predictor_of_single_pixels_is_better():
    x0 = torch.from_numpy(pictures(40, 1)).permute(0, 3, 1, 2) / 127.5 - 1
    colors, shares = palette_of(pictures(40, 1))
    noise = torch.randn(x0.shape, generator=dgm.seeded(1))
    flatter = shares**0.5
    for t in (100, 250, 600):
        losses = [
            dgm.simple_loss(
                palette_predictor(SCHEDULE, colors, prior), SCHEDULE, x0, t, noise
            ).mean()
            for prior in (shares, flatter, shares.flip(0))
        ]
        assert losses[0] < min(losses[1:])
        always_zero = noise.square().mean()
        assert losses[0] < always_zero


@pytest.mark.parametrize("t", [1, 300, 700])
def test_other_pixels_only_replace_the_prior(t):
    """Bayes' rule over all pictures of two pixels, and the form in which the network computes it."""
    colors = torch.tensor([[-1.0, 0.2, 0.5], [1.0, -0.4, 0.1], [0.3, 0.8, -0.9]]).double()
    joint = torch.tensor([[0.3, 0.02, 0.08], [0.05, 0.2, 0.05], [0.0, 0.1, 0.2]]).double()
    noise = torch.randn(5, 2, 3, generator=dgm.seeded(0), dtype=torch.float64)
    x_t = dgm.perturb_input(
        SCHEDULE, colors[torch.tensor([[0, 0], [0, 2], [1, 1], [2, 1], [2, 2]])], t, noise
    )
    a = SCHEDULE.alpha_bar[t]
    likelihood = (-(x_t[:, :, None] - a.sqrt() * colors).square().sum(-1) / (2 * (1 - a))).exp()
    both = joint * likelihood[:, 0, :, None] * likelihood[:, 1, None]
    wanted = both.sum(2) / both.sum((1, 2))[:, None] @ colors  # E[x_0[1] | x_t]
    shares = joint.sum(1)
    given_other = likelihood[:, 1] @ joint.T
    h = (given_other / given_other.sum(1, keepdim=True)).log() - shares.log()
    p = (h + shares.log() + likelihood[:, 0].log()).softmax(1)
    torch.testing.assert_close(p @ colors, wanted, atol=1e-12, rtol=0)


@pytest.mark.parametrize("t", [1, 50, 1000])
def test_untrained_network_is_the_palette_predictor(t):
    x_t = torch.randn(3, 3, 16, 16, generator=dgm.seeded(0))
    x_t += (
        SCHEDULE.alpha_bar[t].sqrt().float()
        * torch.from_numpy(pictures(3)).permute(0, 3, 1, 2)
        / 127.5
    )
    wanted = palette_predictor(SCHEDULE, *palette_of(pictures()))(x_t, t)
    found = {name: network(FourierUNet, **options) for name, options in FOURIER.items()}
    left = math.exp(-8 * math.pi**2 * (1 - SCHEDULE.alpha_bar[t]))
    with torch.no_grad():
        for model, part in (
            (network(), 1),
            (found["fourier"], 0),
            (found["correction"], 1),
            (found["faded"], left),
        ):
            torch.testing.assert_close(model(x_t, t), part * wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("t", [1, 30, torch.tensor([5, 1000])])
def test_fourier_network_reads_waves_and_what_the_colours_tell(t):
    x_t = torch.randn(2, 3, 16, 16, generator=dgm.seeded(0))
    alpha_bar = SCHEDULE.alpha_bar[torch.as_tensor(t).expand(2)][:, None, None, None].float()
    for name, options in FOURIER.items():
        model, read = network(FourierUNet, **options), []
        model.stem.register_forward_pre_hook(lambda _, args, read=read: read.extend(args))
        with torch.no_grad():
            first = model(x_t, t)
        waves = [
            torch.exp(-((2**n * math.pi) ** 2) * (1 - alpha_bar) / 2) * wave(2**n * math.pi * x_t)
            for wave in (torch.sin, torch.cos)
            for n in range(7)
        ]
        wanted = torch.cat([x_t, *waves, *([] if name == "fourier" else [first])], dim=1)
        torch.testing.assert_close(read[0], wanted, atol=1e-4, rtol=1e-4)


def test_noise_leaves_of_a_wave_on_the_average_what_the_network_keeps():
    t, x0 = 20, 0.3
    noise = torch.randn(200_000, 1, generator=dgm.seeded(0))
    x_t = dgm.perturb_input(SCHEDULE, torch.full_like(noise, x0), t, noise)
    left = network(FourierUNet).left[t]
    assert left[0] > 0.9 and left[-1] < 1e-9
    for n in range(7):
        angle = 2**n * math.pi * SCHEDULE.alpha_bar[t].sqrt().item() * x0
        mean = (2**n * math.pi * x_t).sin().mean().item()
        assert mean == pytest.approx(left[n].item() * math.sin(angle), abs=0.01)  # 5 deviations


@pytest.mark.parametrize("kind", [PaletteUNet, *FOURIER])
def test_network_learns_from_neighbours(kind):
    # stripes: a pixel's colour is that of its whole column, which no single pixel shows
    rng = np.random.default_rng(0)
    columns = pictures(1)[0, 0][rng.integers(0, 16, (64, 1, 16))]
    images = np.repeat(columns, 16, axis=1)
    model = network() if kind is PaletteUNet else network(FourierUNet, **FOURIER[kind])
    assert len(palette_of(images)[0]) == 4
    x0 = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    noise = torch.randn(x0.shape, generator=dgm.seeded(2))

    def mean_loss():
        with torch.no_grad():
            return dgm.simple_loss(model, SCHEDULE, x0, 100, noise).mean().item()

    def loss(model, x0, generator):
        noise = torch.randn(x0.shape, generator=generator)
        return dgm.simple_loss(model, SCHEDULE, x0, 100, noise)

    before = mean_loss()
    for _ in dgm.train(model, loss, (x0,), epochs=40, lr=2e-3, generator=dgm.seeded(3)):
        pass
    assert mean_loss() < 0.8 * before


@pytest.mark.parametrize("kind", [PaletteUNet, FourierUNet])
def test_saved_network_is_the_same_again(tmp_path, kind):
    model = network(kind)
    save_pretrained(tmp_path / "net.safetensors", model, {})
    again = load_pretrained(tmp_path / "net.safetensors")
    x_t = torch.randn(2, 3, 16, 16, generator=dgm.seeded(0))
    labels = torch.tensor([0, 4])
    torch.testing.assert_close(model.for_labels(labels)(x_t, 10), again.for_labels(labels)(x_t, 10))


@pytest.mark.parametrize("t", [1, 200, 1000, torch.tensor([3, 500])])
def test_affine_predictor_is_exact_for_a_gaussian_and_memoriser_for_points(t):
    points = torch.randn(50, 2, generator=dgm.seeded(4), dtype=torch.float64) * torch.tensor(
        [2, 0.3]
    )
    x_t = torch.randn(2, 2, generator=dgm.seeded(5), dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    gaussian = GaussianMixture(one, points.mean(0)[None], points.T.cov(correction=0)[None])
    each = GaussianMixture(
        one.expand(50) / 50, points, 1e-12 * torch.eye(2).double().expand(50, 2, 2)
    )
    for predictor, exact in (
        (affine_predictor(SCHEDULE, points), gaussian),
        (memoriser(SCHEDULE, points), each),
    ):
        wanted = exact.eps_model(SCHEDULE)(x_t, t)
        torch.testing.assert_close(predictor(x_t, t), wanted, atol=1e-6, rtol=1e-6)


def test_memoriser_has_the_smallest_training_loss_and_draws_copies():
    x0 = torch.from_numpy(pictures(12)).permute(0, 3, 1, 2).float() / 127.5 - 1
    noise = torch.randn(x0.shape, generator=dgm.seeded(6))
    known = palette_predictor(SCHEDULE, *palette_of(pictures(12)))
    for t in (300, 700):
        losses = [
            dgm.simple_loss(predictor, SCHEDULE, x0, t, noise).mean()
            for predictor in (memoriser(SCHEDULE, x0), affine_predictor(SCHEDULE, x0), known)
        ]
        assert losses[0] < min(losses[1:])
    x_T = torch.randn(6, 3, 16, 16, generator=dgm.seeded(7))
    drawn = dgm.sample_ddim(memoriser(SCHEDULE, x0), SCHEDULE, x_T, steps=20)
    assert (drawn[:, None] - x0).abs().flatten(2).amax(2).amin(1).max() < 1e-3


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="images must have at most 256 colours, got 768"):
        palette_of(np.random.default_rng(0).integers(0, 256, (1, 16, 48, 3), np.uint8))
    with pytest.raises(TypeError, match="images must be a uint8 array"):
        palette_of(np.zeros((1, 16, 16, 3)))
    with pytest.raises(ValueError, match="images must be a uint8 array .* got shape"):
        palette_of(np.zeros((0, 16, 16, 3), np.uint8))
    with pytest.raises(ValueError, match="images must have 4 colours, got 1"):
        network().set_palette(np.zeros((1, 16, 16, 3), np.uint8))
    with pytest.raises(ValueError, match="images must have 0 colours, got 1"):
        FourierUNet((8, 8, 8)).set_palette(np.zeros((1, 16, 16, 3), np.uint8))
    colors, shares = palette_of(pictures())
    with pytest.raises(ValueError, match="shares must be positive"):
        palette_predictor(SCHEDULE, colors, shares * 0)
    with pytest.raises(ValueError, match=r"shares must have shape \(4,\)"):
        palette_predictor(SCHEDULE, colors, shares[:2])
    for predictor in (affine_predictor, memoriser):
        with pytest.raises(ValueError, match="x0 must hold at least one item"):
            predictor(SCHEDULE, torch.zeros(0, 3, 16, 16))
        with pytest.raises(ValueError, match="x_t must have shape"):
            predictor(SCHEDULE, torch.zeros(2, 3))(torch.zeros(2, 4), 1)
    x_t = torch.zeros(2, 3, 16, 16)
    known = (
        palette_predictor(SCHEDULE, colors, shares),
        affine_predictor(SCHEDULE, x_t),
        memoriser(SCHEDULE, x_t),
    )
    for model in (network(), network(FourierUNet), *known):
        for t in (0, 1001):
            with pytest.raises(ValueError, match="t must"):
                model(x_t, t)


@pytest.mark.parametrize("t", [1, 3, 10, 30, 100, 300, 700])
def test_released_network_is_better_than_the_palette_and_the_plain_network(t):
    training, held_out = dgm.split_by_group(dgm.load_sprites())
    x0, labels = (x[:100] for x in held_out.tensors())
    noise = torch.randn(x0.shape, generator=dgm.seeded(0))
    networks = [load_pretrained(f"{name}-generated") for name in ("sprites", "plain")]
    table = palette_predictor(SCHEDULE, *palette_of(training.images))
    with torch.no_grad():
        network, plain, alone = (
            dgm.simple_loss(eps_model, SCHEDULE, x0, t, noise).mean()
            for eps_model in (*(model.for_labels(labels) for model in networks), table)
        )
    assert network < min(plain, alone)


def test_the_numbers_of_the_section_on_the_head():
    apart = [(SCHEDULE.alpha_bar[t] / (1 - SCHEDULE.alpha_bar[t]) / 8).item() for t in (1, 30, 300)]
    assert apart == pytest.approx([1250, 11, 0.08], rel=0.04)
    colors = torch.tensor([1.0, -1.0])
    a, x = torch.tensor(0.5), 0.3
    for prior, p, x0, eps in (([0.5, 0.5], 0.70, 0.40, 0.02), ([0.1, 0.9], 0.21, -0.59, 1.01)):
        log_density = -((x - a.sqrt() * colors) ** 2) / (2 * (1 - a))
        chance = (log_density + torch.tensor(prior).log()).softmax(0)
        mean = chance @ colors
        noise = (x - a.sqrt() * mean) / (1 - a).sqrt()
        assert [chance[0].item(), mean.item(), noise.item()] == pytest.approx(
            [p, x0, eps], abs=5e-3
        )


def test_what_fading_leaves_of_the_estimate_is_what_chapter_4_says():
    left = FourierUNet((8, 8, 8), n_colors=1, faded=True).left[:, 2]
    assert [round(left[t].item(), 2) for t in (10, 30, 60)] == [0.86, 0.40, 0.04]
