"""Fréchet and kernel distances against closed forms, other implementations and simulation."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg
import torch
from torchmetrics.image.fid import FrechetInceptionDistance

from dgm_helpers import fid as fid_module
from dgm_helpers.arguments import seeded
from dgm_helpers.fid import (
    extract_features,
    fid,
    fid_at_infinity,
    fid_interval,
    frechet_distance,
    imagenet_features,
    kid,
    mean_and_covariance,
    noise_floor,
    pca_features,
)
from dgm_helpers.samplers import clipped, sample_ddim, sample_ddpm
from dgm_helpers.schedules import NoiseSchedule


def randn(*shape, g):
    return torch.randn(shape, generator=g, dtype=torch.float64)


def pictures(n, seed=0, side=4):
    return torch.rand((n, 3, side, side), generator=seeded(seed)) * 2 - 1


def random_covariance(d, g):
    factor = randn(d, d, g=g)
    return factor @ factor.T / d


def random_rotation(d, g):
    return torch.linalg.qr(randn(d, d, g=g)).Q


def zeros(d):
    return torch.zeros(d, dtype=torch.float64)


@pytest.mark.parametrize("d", [1, 3, 40])
def test_equal_covariances_leave_the_distance_of_the_means(d):
    g = seeded(d)
    mean1, mean2, cov = randn(d, g=g), randn(d, g=g), random_covariance(d, g)
    assert frechet_distance(mean1, cov, mean2, cov) == pytest.approx(
        (mean1 - mean2).square().sum().item(), rel=1e-9
    )


@pytest.mark.parametrize("d", [1, 5, 40])
def test_commuting_covariances_have_a_closed_form_in_any_basis(d):
    g = seeded(d)
    a, b = 0.1 + randn(d, g=g).square(), 0.1 + randn(d, g=g).square()
    mean1, mean2, Q = randn(d, g=g), randn(d, g=g), random_rotation(d, g)
    expected = ((a.sqrt() - b.sqrt()).square().sum() + (mean1 - mean2).square().sum()).item()
    assert frechet_distance(mean1, a.diag(), mean2, b.diag()) == pytest.approx(expected, rel=1e-11)
    assert frechet_distance(Q @ mean1, Q * a @ Q.T, Q @ mean2, Q * b @ Q.T) == pytest.approx(
        expected, rel=1e-11
    )


def test_rotation_invariance_symmetry_and_scale():
    g = seeded(0)
    mean1, mean2, cov1, cov2, Q = (
        randn(12, g=g),
        randn(12, g=g),
        random_covariance(12, g),
        random_covariance(12, g),
        random_rotation(12, g),
    )
    distance = frechet_distance(mean1, cov1, mean2, cov2)
    assert frechet_distance(Q @ mean1, Q @ cov1 @ Q.T, Q @ mean2, Q @ cov2 @ Q.T) == pytest.approx(
        distance, rel=1e-11
    )
    assert frechet_distance(mean2, cov2, mean1, cov1) == pytest.approx(distance, rel=1e-11)
    assert frechet_distance(1e-4 * mean1, 1e-8 * cov1, 1e-4 * mean2, 1e-8 * cov2) == pytest.approx(
        1e-8 * distance, rel=1e-11
    )
    assert frechet_distance(
        mean1.numpy(), cov1.tolist(), mean2.tolist(), cov2.float().numpy()
    ) == pytest.approx(distance, rel=1e-6)
    skew = 1e-8 * (Q - Q.T)  # within the asymmetry allowed, and without effect
    assert frechet_distance(mean1, cov1 + skew, mean2, cov2) == pytest.approx(distance, rel=1e-11)


@pytest.mark.parametrize("n", [2, 3, 30, 200])
def test_a_set_is_at_distance_0_from_itself(n):
    """Of full rank (n = 200) and of any other; the rounding allowed is 1e-12 of the variance."""
    x = randn(n, 60, g=seeded(n)) @ random_covariance(60, seeded(n))
    assert 0 <= fid(x, x, features=None) <= 1e-12 * x.square().mean(0).sum()


def test_rounding_never_makes_a_distance_negative():
    for seed in range(50):
        cov = random_covariance(5, seeded(seed))
        assert 0 <= frechet_distance(zeros(5), cov, zeros(5), cov) <= 1e-12 * cov.trace()


def test_the_product_s_matrix_root_gives_the_same():
    g = seeded(0)
    for d in (8, 64):
        cov1, cov2 = random_covariance(d, g), random_covariance(d, g)
        trace = np.trace(scipy.linalg.sqrtm(cov1.numpy() @ cov2.numpy())).real
        expected = cov1.trace().item() + cov2.trace().item() - 2 * trace
        assert frechet_distance(zeros(d), cov1, zeros(d), cov2) == pytest.approx(expected, rel=1e-8)


def test_samples_of_two_have_a_closed_form():
    """Covariances of rank 1, uuᵀ and vvᵀ, share the trace |uᵀv|."""
    g = seeded(0)
    for d in (1, 2, 50):
        x, y = randn(2, d, g=g), randn(2, d, g=g)
        u, v = (x[0] - x[1]) / math.sqrt(2), (y[0] - y[1]) / math.sqrt(2)
        expected = (x.mean(0) - y.mean(0)).square().sum() + u @ u + v @ v - 2 * abs(u @ v)
        assert fid(x, y, features=None) == pytest.approx(expected.item(), rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("zeros1, zeros2", [(0, 10), (10, 0), (10, 10), (15, 20), (20, 20)])
def test_rank_deficient_covariances_are_the_limit_of_full_rank_ones(zeros1, zeros2):
    """Shifted by ε, the roots of D eigenvalues move by at most √ε each, and the trace by D√(ε λ) or so."""
    g, d = seeded(zeros1), 20
    a, b = 0.1 + randn(d, g=g).square(), 0.1 + randn(d, g=g).square()
    a[:zeros1], b[:zeros2] = 0, 0
    Q, R = random_rotation(d, g), random_rotation(d, g)
    same_basis = frechet_distance(zeros(d), Q * a @ Q.T, zeros(d), Q * b @ Q.T)
    assert same_basis == pytest.approx((a.sqrt() - b.sqrt()).square().sum().item(), abs=1e-11)
    distance = frechet_distance(zeros(d), Q * a @ Q.T, zeros(d), R * b @ R.T)
    for eps in (1e-2, 1e-4, 1e-6, 1e-8):
        near = frechet_distance(zeros(d), Q * (a + eps) @ Q.T, zeros(d), R * (b + eps) @ R.T)
        assert abs(near - distance) <= 2 * d * math.sqrt(eps * max(a.max(), b.max(), eps))


@pytest.mark.parametrize("least, allowed", [(1e-4, 1e-10), (1e-7, 1e-11), (1e-12, 1e-9)])
def test_a_wide_spectrum_costs_no_digits(least, allowed):
    """Half of the eigenvalues far below the others: the product's eigenvalues alone would be wrong by up to 1e-8."""
    g, d = seeded(0), 60
    a, Q = torch.ones(d, dtype=torch.float64), random_rotation(d, g)
    a[30:] = least
    b = a * (0.5 + torch.rand(d, generator=g, dtype=torch.float64))
    distance = frechet_distance(zeros(d), Q * a @ Q.T, zeros(d), Q * b @ Q.T)
    assert distance == pytest.approx((a.sqrt() - b.sqrt()).square().sum().item(), abs=allowed)
    assert frechet_distance(zeros(d), Q * a @ Q.T, zeros(d), Q * a @ Q.T) <= allowed


@pytest.mark.parametrize("sizes", [[500], [1] * 500, [0, 3, 256, 0, 241], [499, 1]])
def test_streaming_is_the_same_as_one_shot(sizes):
    x = randn(500, 7, g=seeded(0)) @ random_covariance(7, seeded(1)) + 1
    mean, cov = mean_and_covariance(x.split(sizes))
    torch.testing.assert_close(mean, x.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(cov, torch.from_numpy(np.cov(x.numpy().T)), rtol=1e-12, atol=1e-12)
    far_mean, far_cov = mean_and_covariance(
        (x + 2.0**20).split(sizes)
    )  # sums of squares would lose 12 digits of 16
    torch.testing.assert_close(far_mean - 2.0**20, mean, rtol=0, atol=1e-8)
    torch.testing.assert_close(far_cov, cov, rtol=0, atol=1e-8)


def test_torchmetrics_gives_the_same_on_the_same_features():
    flatten = torch.nn.Flatten()
    flatten.num_features = 48
    metric = FrechetInceptionDistance(feature=flatten)
    real, fake = pictures(300).double(), pictures(200, 1).double() ** 3
    metric.update(real, real=True)
    metric.update(fake, real=False)
    assert fid(real, fake, features=flatten.eval()) == pytest.approx(
        metric.compute().item(), rel=1e-8
    )


def test_pictures_go_through_the_features_in_batches():
    sizes = []

    def features(x):
        assert not torch.is_grad_enabled()
        sizes.append(len(x))
        return x.flatten(1)[:, :5].square()

    real, fake = pictures(300), pictures(513, 1)
    distance = fid(real, fake, features=features)
    assert sizes == [256, 44, 256, 256, 1]
    x, y = extract_features(real, features), extract_features(fake, features)
    assert x.shape == (300, 5) and x.dtype == torch.float64
    assert distance == pytest.approx(fid(x, y, features=None), rel=1e-9)
    assert distance == pytest.approx(
        frechet_distance(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T)), rel=1e-9
    )


@pytest.mark.parametrize("eigenvalues", [[1.0] * 6, [1.0], [4.0, 1.0, 0.25, 0.04]])
def test_the_noise_floor_of_a_gaussian(eigenvalues):
    """Its first-order formula, within four standard errors; the splits, a twentieth of the points, hardly overlap."""
    values, n, repetitions = torch.tensor(eigenvalues, dtype=torch.float64), 500, 100
    d = len(values)
    points = randn(20_000, d, g=seeded(d)) * values.sqrt() + 3
    mean, spread = noise_floor(
        points, n, features=None, generator=seeded(1), repetitions=repetitions
    )
    pairs = values[:, None] * values / (values[:, None] + values)
    expected = ((2.5 * values.sum() + pairs.sum()) / n).item()
    if set(eigenvalues) == {1.0}:
        assert expected == pytest.approx(d * (d + 5) / (2 * n))
    assert abs(mean - expected) < 4 * spread / math.sqrt(repetitions)


def test_the_noise_floor_of_pictures_repeats_with_its_seed():
    real, features = pictures(60), torch.nn.Flatten().eval()
    one, two = (
        noise_floor(real, 30, features=features, generator=seeded(5), repetitions=3)
        for _ in range(2)
    )
    assert one == two and one[0] > one[1] > 0


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.4])
def test_the_interval_covers_the_mean_distance_near_the_floor_and_away_from_it(shift):
    """At the floor, a third above it, and at six times it; 10% are three errors of a share found from 40 intervals.

    The width is that of the middle 95% of a normal law with the deviation of 200 distances, within −15% and +45%.
    """
    d, n, g = 8, 200, seeded(0)

    def draw():
        return randn(n, d, g=g), randn(n, d, g=g) + shift

    found = torch.tensor([fid(*draw(), features=None) for _ in range(200)], dtype=torch.float64)
    sets = [draw() for _ in range(40)]
    intervals = [fid_interval(*pair, features=None, generator=g, splits=20) for pair in sets]
    assert [values[0] for values in intervals] == pytest.approx(
        [fid(*pair, features=None) for pair in sets], rel=1e-12
    )
    covered = sum(low <= found.mean() <= high for _, low, high in intervals) / len(sets)
    assert covered >= 0.85
    width = sum(high - low for _, low, high in intervals) / len(sets)
    assert 0.85 < width / 3.92 / found.std() < 1.45


def test_the_interval_repeats_with_its_seed_and_is_cut_off_at_0():
    g = seeded(0)
    x, y = randn(30, 1, g=g), randn(30, 1, g=g)
    one, two = (fid_interval(x, y, features=None, generator=seeded(5), splits=3) for _ in range(2))
    assert one == two and one[1] == 0 <= one[0] <= one[2]
    with pytest.raises(ValueError, match="fake must hold at least 4 items, got 3"):
        fid_interval(x, y[:3], features=None, generator=g)


def test_two_sizes_give_the_distance_of_endlessly_many():
    """Gaussians with a known distance: the mean over 60 pairs of sets is it, within four standard errors."""
    d, sizes, repetitions, g = 6, (100, 400), 60, seeded(3)
    mean, scale = torch.full((d,), 0.2).double(), torch.linspace(0.8, 1.4, d).double()
    true = frechet_distance(zeros(d), torch.eye(d), mean, scale.square().diag())
    found, plain = [], []
    for _ in range(repetitions):
        distances = [
            fid(randn(n, d, g=g), mean + scale * randn(n, d, g=g), features=None) for n in sizes
        ]
        found.append(fid_at_infinity(sizes, distances, [0.1, 0.1])[0])
        plain.append(distances[1])
    found, plain = torch.tensor(found), torch.tensor(plain)
    error = found.std() / math.sqrt(repetitions)
    assert abs(found.mean() - true) < 4 * error
    assert plain.mean() - true > 4 * error  # the bias that the line takes off


def test_the_line_through_several_sizes():
    distance, error = fid_at_infinity([2000, 10_000], [10.0, 6.0], [1.0, 0.5])
    assert distance == pytest.approx(1.25 * 6 - 0.25 * 10)
    assert error == pytest.approx(math.hypot(1.25 * 0.5, 0.25 * 1.0))
    sizes = np.array([100, 200, 500, 1000])
    assert fid_at_infinity(sizes, 3 + 40 / sizes, np.ones(4))[0] == pytest.approx(3)
    slope, intercept = np.polyfit(1 / sizes, [4, 3, 3.5, 2], 1)
    assert fid_at_infinity(sizes, [4, 3, 3.5, 2], np.ones(4))[0] == pytest.approx(intercept)
    for bad, message in (
        (([5, 5], [1, 2], [1, 1]), "sizes must be at least two numbers from 2 on, not all equal"),
        (([], [], []), "sizes must be at least two numbers"),
        (([5, 9], [1, 2, 3], [1, 1]), r"distances must have shape \(k,\), the same as sizes"),
    ):
        with pytest.raises(ValueError, match=message):
            fid_at_infinity(*bad)


def test_the_floor_s_pairs_are_disjoint_as_far_as_the_pictures_go(monkeypatch):
    n, pairs = 3, []
    monkeypatch.setattr(fid_module, "_distance", lambda *sets: pairs.append(torch.cat(sets)) or 1.0)
    for pool, disjoint in ((60, 10), (17, 2), (6, 1)):
        pairs.clear()
        rows = torch.arange(pool, dtype=torch.float64)[:, None]
        noise_floor(rows, n, features=None, generator=seeded(0))
        assert len(pairs) == 10
        for i in range(0, 10, disjoint):
            together = torch.cat(pairs[i : i + disjoint]).flatten().tolist()
            assert len(set(together)) == len(together) == 2 * n * len(pairs[i : i + disjoint])


@pytest.mark.parametrize("pool", [2, 20])
def test_the_floor_s_spread_is_that_of_one_distance(pool):
    """Splits of one pool or disjoint pairs; 25% is four errors of a deviation found from twenty times ten distances."""
    d, n, g = 4, 50, seeded(7)
    true = torch.tensor([fid(*randn(2, n, d, g=g), features=None) for _ in range(300)]).std()
    options = {"features": None, "generator": g}
    found = [noise_floor(randn(pool * n, d, g=g), n, **options)[1] for _ in range(20)]
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(true.item(), rel=0.25)


def test_kid_is_the_average_over_all_pairs():
    g, d = seeded(0), 5
    x, y = randn(300, d, g=g), randn(270, d, g=g) + 0.2
    kernels = [(a @ b.T / d + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    xx, yy = ((k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in kernels[:2])
    assert kid(x, y, features=None)[0] == pytest.approx(
        (xx + yy - 2 * kernels[2].mean()).item(), rel=1e-10
    )


def test_kid_s_standard_error_is_the_jackknife():
    g = seeded(0)
    x, y = randn(6, 2, g=g), randn(5, 2, g=g)

    def others(z):
        return [torch.cat([z[:i], z[i + 1 :]]) for i in range(len(z))]

    without = [
        [kid(z, y, features=None)[0] for z in others(x)],
        [kid(x, z, features=None)[0] for z in others(y)],
    ]
    expected = math.sqrt(sum((len(v) - 1) * np.var(v) for v in without))
    assert kid(x, y, features=None)[1] == pytest.approx(expected, rel=1e-10)


def test_kid_is_unbiased_exactly():
    """Its mean over all samples of three from two distributions on a few points is the squared discrepancy itself."""
    points = torch.tensor([[0.0, 1.0], [1.5, -1.0]], dtype=torch.float64)
    kernel = (points @ points.T / 2 + 1) ** 3
    p, q = (
        torch.tensor([0.3, 0.7], dtype=torch.float64),
        torch.tensor([0.6, 0.4], dtype=torch.float64),
    )
    samples = list(itertools.product(range(2), repeat=3))
    mean = 0.0
    for rows, columns in itertools.product(samples, samples):
        chance = p[list(rows)].prod() * q[list(columns)].prod()
        mean += chance.item() * kid(points[list(rows)], points[list(columns)], features=None)[0]
    assert mean == pytest.approx(((p - q) @ kernel @ (p - q)).item(), rel=1e-12)


def test_kid_of_gaussians_has_the_closed_form_mean_and_its_error_is_their_spread():
    """On a line the kernel (xy + 1)³ compares three moments: MMD² = (Δm₃)² + 3(Δm₂)² + 3(Δm₁)²."""
    mu, sigma, n, repetitions, g = 0.4, 1.2, 200, 150, seeded(0)
    found = [
        kid(randn(n, 1, g=g), mu + sigma * randn(n, 1, g=g), features=None)
        for _ in range(repetitions)
    ]
    distances, errors = torch.tensor(found, dtype=torch.float64).T
    moments = mu, mu**2 + sigma**2 - 1, mu**3 + 3 * mu * sigma**2
    expected = moments[2] ** 2 + 3 * moments[1] ** 2 + 3 * moments[0] ** 2
    assert abs(distances.mean() - expected) < 4 * distances.std() / math.sqrt(repetitions)
    assert errors.square().mean().sqrt() == pytest.approx(distances.std().item(), rel=0.25)


def test_kid_has_mean_0_for_equal_distributions():
    n, d, repetitions, g = 100, 4, 200, seeded(0)
    found = [kid(randn(n, d, g=g), randn(n, d, g=g), features=None) for _ in range(repetitions)]
    distances, errors = torch.tensor(found, dtype=torch.float64).T
    assert abs(distances.mean()) < 4 * distances.std() / math.sqrt(repetitions)
    assert distances.min() < 0
    assert (
        0.9 < errors.square().mean().sqrt() / distances.std() < 1.4 * 1.2
    )  # too large, as said, by up to √2


def test_pca_features_are_the_principal_coordinates():
    train, other = pictures(300), pictures(100, 1) * 0.5
    flat = train.flatten(1).double()
    x = extract_features(train, pca_features(train, 10))
    assert x.shape == (300, 10) and x.mean(0).abs().max() < 1e-12
    values = torch.linalg.eigvalsh(torch.cov(flat.T)).flip(0)
    torch.testing.assert_close(torch.cov(x.T), values[:10].diag(), rtol=0, atol=1e-10)
    everything = pca_features(
        train, 48
    )  # all components: a rotation, under which the distances stay
    assert fid(train, other, features=everything) == pytest.approx(
        fid(flat, other.flatten(1), features=None), rel=1e-9
    )


X, EYE, FLAT = pictures(8), torch.eye(2), torch.nn.Flatten().eval()
SKEWED, INDEFINITE = [[1.0, 0.5], [0.4, 1.0]], [[1.0, 2.0], [2.0, 1.0]]
POINTS = torch.zeros(8, 3)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: frechet_distance([0.0], [[1.0]], [0.0, 0.0], EYE),
            ValueError,
            r"mean2 must have shape \(1,\) like mean1, got \(2,\)",
        ),
        (
            lambda: frechet_distance([[0.0]], [[1.0]], [0.0], [[1.0]]),
            ValueError,
            r"mean1 must have shape \(D,\)",
        ),
        (
            lambda: frechet_distance([0.0], [[1.0]], [0.0], EYE),
            ValueError,
            r"cov2 must have shape \(1, 1\), got \(2, 2\)",
        ),
        (
            lambda: frechet_distance([0.0, math.nan], EYE, [0.0, 0.0], EYE),
            ValueError,
            "mean1 must be finite",
        ),
        (
            lambda: frechet_distance([0.0, 0.0], EYE, [0.0, 0.0], EYE * math.inf),
            ValueError,
            "cov2 must be finite",
        ),
        (
            lambda: frechet_distance([0.0, 0.0], SKEWED, [0.0, 0.0], EYE),
            ValueError,
            "cov1 must be symmetric, got entries 0.09",
        ),
        (
            lambda: frechet_distance([0.0, 0.0], EYE, [0.0, 0.0], INDEFINITE),
            ValueError,
            "cov2 must be positive semi-definite",
        ),
        (
            lambda: frechet_distance([0.0, 0.0], -EYE, [0.0, 0.0], EYE),
            ValueError,
            "cov1 must be positive semi-definite",
        ),
        (
            lambda: mean_and_covariance([]),
            ValueError,
            "batches must hold at least two rows together, got 0",
        ),
        (
            lambda: mean_and_covariance([POINTS[:1]]),
            ValueError,
            "batches must hold at least two rows together, got 1",
        ),
        (
            lambda: mean_and_covariance([POINTS, POINTS[:, :2]]),
            ValueError,
            r"batches must all have shape \(B, 3\), got \(8, 2\)",
        ),
        (lambda: mean_and_covariance([X]), ValueError, r"batches must all have shape \(B, D\)"),
        (lambda: mean_and_covariance([POINTS / 0]), ValueError, "batches must be finite"),
        (
            lambda: fid(X[:1], X, features=FLAT),
            ValueError,
            "real must hold at least 2 items, got 1",
        ),
        (
            lambda: fid(X, X[:0], features=FLAT),
            ValueError,
            "fake must hold at least 2 items, got 0",
        ),
        (lambda: fid(X, X * math.nan, features=FLAT), ValueError, "fake must be finite"),
        (
            lambda: fid(X * 127.5, X, features=FLAT),
            ValueError,
            r"real must lie in \[-1, 1\], got values in \[-127",
        ),
        (
            lambda: fid(X.byte(), X, features=FLAT),
            TypeError,
            "real must be a floating-point tensor",
        ),
        (
            lambda: fid(X, pictures(8, side=5), features=FLAT),
            ValueError,
            r"fake must have items of shape \(3, 4, 4\), got \(3, 5, 5\)",
        ),
        (
            lambda: fid(POINTS, POINTS, features=FLAT),
            ValueError,
            r"real must be pictures \(N, C, H, W\), got shape \(8, 3\)",
        ),
        (
            lambda: fid(X, X, features=None),
            ValueError,
            r"real must be features \(N, D\) where features is None",
        ),
        (
            lambda: fid(POINTS, POINTS[:, :2], features=None),
            ValueError,
            r"fake must have items of shape \(3,\), got \(2,\)",
        ),
        (
            lambda: fid(X, X, features="inception"),
            TypeError,
            "features must be a callable or None, got str",
        ),
        (
            lambda: fid(X, X, features=torch.nn.Flatten()),
            ValueError,
            "features must be in evaluation mode",
        ),
        (
            lambda: fid(X, X, features=lambda x: x),
            ValueError,
            r"features must return .* \(8, D\), got a tensor of torch.float32, shape \(8, 3, 4, 4\)",
        ),
        (
            lambda: fid(X, X, features=lambda x: x.flatten(1) / 0),
            ValueError,
            "features returned NaN or infinity",
        ),
        (
            lambda: extract_features(X, lambda x: None),
            ValueError,
            r"features must return a float tensor \(8, D\), got None",
        ),
        (
            lambda: fid_interval(X, X, features=FLAT, generator=seeded(0), splits=0),
            ValueError,
            "splits must be an int of",
        ),
        (
            lambda: fid_interval(X, X[:1], features=FLAT, generator=seeded(0)),
            ValueError,
            "fake must hold at least 4 items, got 1",
        ),
        (
            lambda: noise_floor(X, 5, features=FLAT, generator=seeded(0)),
            ValueError,
            "n must be at most 4, half of the 8 pictures, got 5",
        ),
        (
            lambda: noise_floor(X, 1, features=FLAT, generator=seeded(0)),
            ValueError,
            "n must be an int of at least 2, got 1",
        ),
        (
            lambda: noise_floor(X, 4, features=FLAT, generator=seeded(0), repetitions=1),
            ValueError,
            "repetitions must be an int",
        ),
        (
            lambda: kid(X, X[:2], features=FLAT),
            ValueError,
            "fake must hold at least 3 items, got 2",
        ),
        (
            lambda: pca_features(X, 8),
            ValueError,
            "n_components must be at most 7 for 8 pictures of 48 numbers, got 8",
        ),
        (
            lambda: pca_features(X, 0),
            ValueError,
            "n_components must be an int of at least 1, got 0",
        ),
        (lambda: pca_features(X * 2, 3), ValueError, r"train must lie in \[-1, 1\]"),
        (
            lambda: pca_features(X, 3)(pictures(2, side=5)),
            ValueError,
            r"pictures must have shape \(B, 3, 4, 4\), got \(2, 3, 5, 5\)",
        ),
        (
            lambda: pca_features(X, True),
            TypeError,
            "n_components must be an int of at least 1, got bool True",
        ),
        (
            lambda: pca_features(X, 3)(X.numpy()),
            TypeError,
            "pictures must be a floating-point tensor, got a numpy array",
        ),
        (
            lambda: frechet_distance([1j], [[1.0]], [0.0], [[1.0]]),
            TypeError,
            "mean1 must hold real numbers",
        ),
        (
            lambda: frechet_distance([0.0], [["a"]], [0.0], [[1.0]]),
            TypeError,
            "cov1 must hold real numbers",
        ),
        (
            lambda: frechet_distance([0.0], None, [0.0], [[1.0]]),
            TypeError,
            "cov1 must hold real numbers, got None",
        ),
        (
            lambda: mean_and_covariance(None),
            TypeError,
            r"batches must be an iterable of float tensors \(B, D\), got None",
        ),
        (
            lambda: mean_and_covariance(POINTS.numpy()),
            TypeError,
            "batches must be a floating-point tensor, got a numpy array",
        ),
        (
            lambda: fid(X.numpy(), X, features=FLAT),
            TypeError,
            "real must be a floating-point tensor, got a numpy array of float32",
        ),
        (
            lambda: fid(X, X.numpy(), features=FLAT),
            TypeError,
            "fake must be a floating-point tensor, got a numpy array of float32",
        ),
        (
            lambda: kid(X.to(torch.complex64), X, features=FLAT),
            TypeError,
            "real must be a floating-point tensor",
        ),
        (
            lambda: fid(X[..., :0], X[..., :0], features=FLAT),
            ValueError,
            "real must hold items with at least one value",
        ),
        (
            lambda: kid(POINTS[:, :0], POINTS[:, :0], features=None),
            ValueError,
            "real must hold items with at least one value",
        ),
        (
            lambda: extract_features(X, lambda x: x.flatten(1)[:, :0]),
            ValueError,
            r"features must return a float tensor \(8, D\)",
        ),
        (
            lambda: extract_features(X, lambda x: x.flatten(1).numpy()),
            ValueError,
            "features must return .*, got a numpy array",
        ),
        (
            lambda: extract_features(pictures(300), lambda x: x.flatten(1)[:, : len(x) // 20]),
            ValueError,
            r"\(44, 12\), got .*\(44, 2\)",
        ),
        (
            lambda: imagenet_features()(X[:, :1]),
            ValueError,
            r"pictures must have shape \(B, 3, H, W\), got \(8, 1, 4, 4\)",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("generator", [None, 0, np.random.default_rng(0)])
def test_randomness_comes_from_an_explicit_generator(generator):
    x, state = pictures(20).flatten(1), torch.get_rng_state()
    with pytest.raises(TypeError, match="generator must be a torch.Generator"):
        fid_interval(x, x, features=None, generator=generator, splits=2)
    with pytest.raises(TypeError, match="generator must be a torch.Generator"):
        noise_floor(x, 10, features=None, generator=generator, repetitions=2)
    fid_interval(x, x, features=None, generator=seeded(0), splits=2)
    noise_floor(x, 10, features=None, generator=seeded(0), repetitions=2)
    assert torch.equal(torch.get_rng_state(), state)


def test_rounding_beyond_the_range_is_accepted_and_more_is_not():
    real, fake = pictures(8), pictures(8, 1)
    fake[0, 0, 0, 0], fake[1, 0, 0, 0] = 1.0009, -1.0009
    assert fid(real, fake, features=FLAT) > 0
    with pytest.raises(
        ValueError, match=r"fake must lie in \[-1, 1\], got values in \[.*, 1.00199"
    ):
        fid(real, fake.where(fake <= 1, 1.002), features=FLAT)


@pytest.mark.parametrize("steps", [1, 10, 50])
@pytest.mark.parametrize("sample", [sample_ddim, sample_ddpm])
def test_samples_of_a_clipped_model_are_accepted(sample, steps):
    schedule, g = NoiseSchedule.linear(), seeded(0)
    x_T = torch.randn((16, 3, 4, 4), generator=g)
    x = sample(clipped(lambda x, t: 0.5 * x, schedule), schedule, x_T, steps=steps, generator=g)
    assert fid(pictures(16), x, features=FLAT) >= 0


def test_features_that_write_into_their_argument_leave_the_pictures_alone():
    real, fake = pictures(8), pictures(8, 1)
    before = real.clone(), fake.clone()
    for distance in (fid, kid):
        distance(real, fake, features=lambda x: x.mul_(0.5).flatten(1))
    assert torch.equal(real, before[0]) and torch.equal(fake, before[1])


def test_numpy_s_whole_numbers_are_ints():
    x = pictures(20).flatten(1)
    assert noise_floor(
        x, np.int64(10), features=None, generator=seeded(0), repetitions=np.int32(2)
    ) == noise_floor(x, 10, features=None, generator=seeded(0), repetitions=2)


def test_the_network_of_the_features_is_not_imported_with_the_module():
    code = "import sys, dgm_helpers.fid; print('efficientnet_lite_pytorch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert run.stdout.strip() == "False", run.stderr


def test_imagenet_features_see_pixels_enlarged_four_times():
    features = imagenet_features()
    x = torch.rand(3, 3, 16, 16, generator=seeded(0)) * 2 - 1
    y = features(x)
    assert y.shape == (3, 1280) and y.min() >= 0  # ReLU6 before the mean
    torch.testing.assert_close(
        features(x[1:2]), y[1:2], atol=1e-4, rtol=1e-3
    )  # pictures do not see each other
    assert (features(x.flip(-1)) - y).abs().max() > 0.01


@pytest.mark.parametrize("sizes", [(4, 4), (12, 7), (20, 20), (20, 30), (31, 5)])
def test_few_pictures_against_the_dimensions_do_not_change_the_distance(sizes):
    generator = seeded(0)
    real, fake = (torch.randn(n, 20, generator=generator) + n / 10 for n in sizes)
    distance, low, high = fid_interval(real, fake, features=None, generator=generator, splits=2)
    assert distance == pytest.approx(fid(real, fake, features=None), rel=1e-10)
    assert low <= distance <= high


def test_a_few_pictures_have_distance_0_to_themselves():
    x = torch.randn(12, 50, generator=seeded(0)) + 100
    distance, *_ = fid_interval(x, x, features=None, generator=seeded(0), splits=1)
    assert distance == pytest.approx(0, abs=1e-10)
