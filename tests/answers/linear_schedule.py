import numpy as np
import torch

import dgm_helpers as dgm


def _with_one(values):
    return np.concatenate([[1.0], values])


def _alpha(T, beta_1, beta_T):
    return _with_one(1 - np.linspace(beta_1, beta_T, T))


def by_a_loop(T, beta_1, beta_T):
    """passes"""
    alpha, alpha_bar = [1.0], [1.0]
    for t in range(1, T + 1):
        alpha.append(1 - (beta_1 + (beta_T - beta_1) * (t - 1) / (T - 1)))
        alpha_bar.append(alpha_bar[-1] * alpha[-1])
    return alpha, alpha_bar


def by_torch(T, beta_1, beta_T):
    """passes"""
    beta = torch.linspace(beta_1, beta_T, T, dtype=torch.float64)
    alpha = torch.cat([torch.ones(1, dtype=torch.float64), 1 - beta])
    return alpha, torch.cumprod(alpha, dim=0)


def by_one_array(T, beta_1, beta_T):
    """passes"""
    alpha = _alpha(T, beta_1, beta_T)
    return np.stack([alpha, np.exp(np.cumsum(np.log(alpha)))])


def with_gradient(T, beta_1, beta_T):
    """passes"""
    alpha = torch.from_numpy(_alpha(T, beta_1, beta_T)).requires_grad_()
    return [alpha, alpha.cumprod(0)]


def too_many(T, beta_1, beta_T):
    """beta is spaced over T + 1 numbers: there are T, from beta_1 to beta_T"""
    alpha = 1 - np.linspace(beta_1, beta_T, T + 1)
    return alpha, np.cumprod(alpha)


def too_many_by_steps(T, beta_1, beta_T):
    """beta is spaced over T + 1 numbers: there are T, from beta_1 to beta_T"""
    alpha = _with_one(1 - beta_1 - (beta_T - beta_1) / T * np.arange(T))
    return alpha, np.cumprod(alpha)


def of_beta(T, beta_1, beta_T):
    """alpha holds beta"""
    alpha = _alpha(T, beta_1, beta_T)
    return 1 - alpha, alpha


def swapped(T, beta_1, beta_T):
    """alpha holds alpha_bar: return alpha first"""
    alpha = _alpha(T, beta_1, beta_T)
    return np.cumprod(alpha), alpha


def hard_coded(T, beta_1, beta_T):
    """beta_1 and beta_T are not used"""
    alpha = _alpha(T, 1e-4, 0.02)
    return alpha, np.cumprod(alpha)


def hard_coded_with_T(T, beta_1, beta_T):
    """needs T + 1 = 11 entries in float64, as a NumPy array, got shape (1001,)"""
    alpha = _alpha(1000, beta_1, beta_T)
    return alpha, np.cumprod(alpha)


def falling(T, beta_1, beta_T):
    """beta falls: it grows from beta_1 to beta_T"""
    alpha = _alpha(T, beta_T, beta_1)
    return alpha, np.cumprod(alpha)


def linear_in_the_root(T, beta_1, beta_T):
    """the root of beta is spaced evenly, it is beta itself that should be"""
    alpha = _with_one(1 - np.linspace(beta_1**0.5, beta_T**0.5, T) ** 2)
    return alpha, np.cumprod(alpha)


def geometric(T, beta_1, beta_T):
    """beta is spaced by a factor: it is spaced evenly, linspace"""
    alpha = _with_one(1 - np.geomspace(beta_1, beta_T, T))
    return alpha, np.cumprod(alpha)


def cosine(T, beta_1, beta_T):
    """this is the cosine schedule: beta is spaced evenly"""
    schedule = dgm.NoiseSchedule.cosine(T)
    return schedule.alpha, schedule.alpha_bar


def one_plus_beta(T, beta_1, beta_T):
    """alpha is 1 + beta: the sign is wrong"""
    alpha = 2 - _alpha(T, beta_1, beta_T)
    return alpha, np.cumprod(alpha)


def of_roots(T, beta_1, beta_T):
    """you return the square root of alpha"""
    alpha = _alpha(T, beta_1, beta_T) ** 0.5
    return alpha, np.cumprod(alpha)


def alpha_too_late(T, beta_1, beta_T):
    """alpha is off by one: t holds t - 1"""
    alpha = _alpha(T, beta_1, beta_T)
    return _with_one(alpha[:-1]), np.cumprod(alpha)


def alpha_too_early(T, beta_1, beta_T):
    """alpha is off by one: t holds t + 1"""
    alpha = _alpha(T, beta_1, beta_T)
    return np.append(alpha[1:], alpha[-1]), np.cumprod(alpha)


def summed(T, beta_1, beta_T):
    """alpha_bar is a sum: take the running product, cumprod"""
    alpha = _alpha(T, beta_1, beta_T)
    return alpha, np.cumsum(alpha)


def of_sums(T, beta_1, beta_T):
    """alpha_bar is 1 minus the sum of beta: it is the product of 1 - beta"""
    alpha = _alpha(T, beta_1, beta_T)
    return alpha, 1 - np.cumsum(1 - alpha)


def product_of_beta(T, beta_1, beta_T):
    """alpha_bar is the product of beta, not of 1 - beta"""
    alpha = _alpha(T, beta_1, beta_T)
    return alpha, np.append(1.0, np.cumprod(1 - alpha[1:]))


def one_minus_the_product(T, beta_1, beta_T):
    """this is 1 - alpha_bar, the variance of the noise"""
    alpha = _alpha(T, beta_1, beta_T)
    return alpha, 1 - np.cumprod(alpha)


def product_to_the_end(T, beta_1, beta_T):
    """every entry is the product to T, not to t"""
    alpha = _alpha(T, beta_1, beta_T)
    return alpha, np.full(T + 1, np.prod(alpha))


def product_from_the_end(T, beta_1, beta_T):
    """the product runs from t to T: it runs from 1 to t"""
    alpha = _alpha(T, beta_1, beta_T)
    return alpha, np.cumprod(alpha[::-1])[::-1]


def no_product(T, beta_1, beta_T):
    """alpha_bar is alpha; take the running product"""
    alpha = _alpha(T, beta_1, beta_T)
    return alpha, alpha


def power(T, beta_1, beta_T):
    """alpha_bar is alpha_t to the power t: multiply the different alpha"""
    alpha = _alpha(T, beta_1, beta_T)
    return alpha, alpha ** np.arange(T + 1)


def bar_too_late(T, beta_1, beta_T):
    """alpha_bar is off by one: t holds t - 1"""
    alpha = _alpha(T, beta_1, beta_T)
    return alpha, _with_one(np.cumprod(alpha)[:-1])


def bar_too_early(T, beta_1, beta_T):
    """alpha_bar is off by one: t holds t + 1"""
    alpha = _alpha(T, beta_1, beta_T)
    return alpha, np.cumprod(np.append(alpha[1:], alpha[-1]))


def root_of_bar(T, beta_1, beta_T):
    """you return the square root of alpha_bar"""
    alpha = _alpha(T, beta_1, beta_T)
    return alpha, np.cumprod(alpha) ** 0.5


def bar_squared(T, beta_1, beta_T):
    """alpha_bar is squared"""
    alpha = _alpha(T, beta_1, beta_T)
    return alpha, np.cumprod(alpha**2)


def no_one_at_the_start(T, beta_1, beta_T):
    """needs T + 1 = 1001 entries in float64, as a NumPy array, got shape (1000,)"""
    alpha = 1 - np.linspace(beta_1, beta_T, T)
    return alpha, np.cumprod(alpha)


def single_precision(T, beta_1, beta_T):
    """got shape (1001,) and float32: make beta in float64 from the start"""
    alpha = torch.from_numpy(_alpha(T, beta_1, beta_T)).float()
    return alpha, alpha.cumprod(0)


def three(T, beta_1, beta_T):
    """return two values, alpha and alpha_bar, got tuple"""
    alpha = _alpha(T, beta_1, beta_T)
    return 1 - alpha, alpha, np.cumprod(alpha)


def only_one(T, beta_1, beta_T):
    """return two values, alpha and alpha_bar"""
    return np.cumprod(_alpha(T, beta_1, beta_T))


def generated(T, beta_1, beta_T):
    """return two values, alpha and alpha_bar, got generator"""
    alpha = _alpha(T, beta_1, beta_T)
    yield alpha
    yield np.cumprod(alpha)


def ragged(T, beta_1, beta_T):
    """needs T + 1 = 1001 entries in float64"""
    return [[1.0], [1.0, 2.0]], [1.0]


def single_precision_made_double(T, beta_1, beta_T):
    """alpha has the precision of float32"""
    beta = torch.linspace(beta_1, beta_T, T, dtype=torch.float32)
    alpha = torch.cat([torch.ones(1), 1 - beta]).double()
    return alpha, alpha.cumprod(0)


def single_beta_made_double(T, beta_1, beta_T):
    """alpha has the precision of float32"""
    alpha = _with_one(1 - np.linspace(beta_1, beta_T, T, dtype=np.float32).astype(np.float64))
    return alpha, np.cumprod(alpha)


def single_alpha_made_double(T, beta_1, beta_T):
    """alpha has the precision of float32"""
    alpha = _alpha(T, beta_1, beta_T).astype(np.float32)
    return alpha.astype(np.float64), np.cumprod(alpha).astype(np.float64)


def single_product_made_double(T, beta_1, beta_T):
    """alpha_bar has the precision of float32"""
    alpha = _alpha(T, beta_1, beta_T)
    return alpha, np.cumprod(alpha.astype(np.float32)).astype(np.float64)
