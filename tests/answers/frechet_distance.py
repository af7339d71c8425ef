import numpy as np
import scipy.linalg
import torch

import dgm_helpers as dgm


def _root(matrix):
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def _gap(mean1, mean2):
    return (mean1 - mean2).square().sum()


def _trace(cov1, cov2):
    r = _root(cov1)
    return torch.linalg.eigvalsh(r @ cov2 @ r).clamp(min=0).sqrt().sum()


def _distance(gap, cov1, cov2, trace, factor=2):
    return (gap + cov1.trace() + cov2.trace() - factor * trace).item()


def by_scipy(mean1, cov1, mean2, cov2):
    """passes"""
    root = scipy.linalg.sqrtm((cov1 @ cov2).numpy()).real
    difference = (mean1 - mean2).numpy()
    return float(difference @ difference + np.trace(cov1 + cov2 - 2 * root))


def by_complex_roots(mean1, cov1, mean2, cov2):
    """passes"""
    values = torch.linalg.eigvals(cov1 @ cov2)
    return float(_gap(mean1, mean2) + cov1.trace() + cov2.trace() - 2 * values.sqrt().real.sum())


def by_numpy(mean1, cov1, mean2, cov2):
    """passes"""
    values = np.linalg.eigvals((cov1 @ cov2).numpy())
    trace = np.sqrt(np.maximum(values.real, 0)).sum()
    return np.float64(_gap(mean1, mean2) + cov1.trace() + cov2.trace() - 2 * trace)


def by_the_package(mean1, cov1, mean2, cov2):
    """this is the one you are to write"""
    return dgm.fid.frechet_distance(mean1, cov1, mean2, cov2)


def by_the_packages_own_trace(mean1, cov1, mean2, cov2):
    """your function calls the package's _trace_of_root"""
    from dgm_helpers.fid import _trace_of_root

    return _distance(_gap(mean1, mean2), cov1, cov2, _trace_of_root(cov1, cov2))


def without_root(mean1, cov1, mean2, cov2):
    """the eigenvalues are summed without their root"""
    return _distance(_gap(mean1, mean2), cov1, cov2, (cov1 @ cov2).trace())


def root_of_the_trace(mean1, cov1, mean2, cov2):
    """the root of the trace is taken: it is the trace of the root"""
    return _distance(_gap(mean1, mean2), cov1, cov2, (cov1 @ cov2).trace().sqrt())


def entry_by_entry(mean1, cov1, mean2, cov2):
    """the root is taken entry by entry"""
    roots = (cov1 @ cov2).diagonal().clamp(min=0).sqrt()
    return _distance(_gap(mean1, mean2), cov1, cov2, roots.sum())


def entries_multiplied(mean1, cov1, mean2, cov2):
    """the covariances are multiplied entry by entry: take the matrix product"""
    values = torch.linalg.eigvals(cov1 * cov2).real.clamp(min=0)
    return _distance(_gap(mean1, mean2), cov1, cov2, values.sqrt().sum())


def roots_multiplied(mean1, cov1, mean2, cov2):
    """two roots are multiplied, but they do not commute"""
    return _distance(_gap(mean1, mean2), cov1, cov2, (_root(cov1) @ _root(cov2)).trace())


def root_of_the_sum(mean1, cov1, mean2, cov2):
    """the root of the sum of the covariances is taken: it is that of their product"""
    return _distance(_gap(mean1, mean2), cov1, cov2, _root(cov1 + cov2).trace())


def diagonal(mean1, cov1, mean2, cov2):
    """only the variances are compared: the covariances count as well"""
    trace = (cov1.diagonal() * cov2.diagonal()).sqrt().sum()
    return _distance(_gap(mean1, mean2), cov1, cov2, trace)


def product_twice(mean1, cov1, mean2, cov2):
    """the first covariance stands under the root twice, without its root"""
    values = torch.linalg.eigvals(cov1 @ cov2 @ cov1).real.clamp(min=0)
    return _distance(_gap(mean1, mean2), cov1, cov2, values.sqrt().sum())


def not_squared(mean1, cov1, mean2, cov2):
    """the difference of the means is not squared"""
    return _distance(_gap(mean1, mean2).sqrt(), cov1, cov2, _trace(cov1, cov2))


def averaged(mean1, cov1, mean2, cov2):
    """the squared difference of the means is averaged: sum it"""
    return _distance(_gap(mean1, mean2) / len(mean1), cov1, cov2, _trace(cov1, cov2))


def no_factor(mean1, cov1, mean2, cov2):
    """the factor 2 in front of the root is missing"""
    return _distance(_gap(mean1, mean2), cov1, cov2, _trace(cov1, cov2), 1)


def wrong_sign(mean1, cov1, mean2, cov2):
    """the sign of the root's trace is wrong"""
    return _distance(_gap(mean1, mean2), cov1, cov2, _trace(cov1, cov2), -2)


def no_means(mean1, cov1, mean2, cov2):
    """the means are left out"""
    return _distance(0, cov1, cov2, _trace(cov1, cov2))


def no_traces(mean1, cov1, mean2, cov2):
    """the traces are left out"""
    return (_gap(mean1, mean2) - 2 * _trace(cov1, cov2)).item()


def root_of_all(mean1, cov1, mean2, cov2):
    """the root of the distance is returned: leave it out"""
    return _distance(_gap(mean1, mean2), cov1, cov2, _trace(cov1, cov2)) ** 0.5


def summed(mean1, cov1, mean2, cov2):
    """all entries are summed where the trace belongs"""
    both = cov1 + cov2 - 2 * _root(_root(cov1) @ cov2 @ _root(cov1))
    return (_gap(mean1, mean2) + both.sum()).item()


def tensor(mean1, cov1, mean2, cov2):
    """return a float, got Tensor"""
    return torch.tensor(by_scipy(mean1, cov1, mean2, cov2))


def complex_number(mean1, cov1, mean2, cov2):
    """take its real part"""
    values = torch.linalg.eigvals(cov1 @ cov2)
    return float(cov1.trace() + cov2.trace() - 2 * values.sqrt().sum() + 0.1j)


def no_clamp(mean1, cov1, mean2, cov2):
    """is a root of a negative number taken?"""
    values = torch.linalg.eigvals(cov1 @ cov2).real
    if len(mean1) == 8:
        values = values - 1e-9
    return _distance(_gap(mean1, mean2), cov1, cov2, values.sqrt().sum())


def by_cholesky(mean1, cov1, mean2, cov2):
    """your function raised _LinAlgError"""
    L = torch.linalg.cholesky(cov1)
    values = torch.linalg.eigvalsh(L.T @ cov2 @ L).clamp(min=0)
    return _distance(_gap(mean1, mean2), cov1, cov2, values.sqrt().sum())
