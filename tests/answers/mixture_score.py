import math

import torch

import dgm_helpers as dgm


def _score(x, weights, means, c, log_weights=None, power=None, half=0.5, under=None):
    away = means - x[:, None]
    power = x.shape[1] / 2 if power is None else power
    log_weights = weights.log() if log_weights is None else log_weights
    log_parts = log_weights - half * away.square().sum(2) / c - power * c.log()
    r = log_parts.softmax(1)
    return (r[:, :, None] * away / (c if under is None else under)[:, None]).sum(1)


def by_autograd(x, weights, means, variances, sigma):
    """passes"""
    x = x.clone().requires_grad_()
    c = (variances + sigma**2)[:, None].expand_as(means)
    parts = torch.distributions.Independent(torch.distributions.Normal(means, c.sqrt()), 1)
    law = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(weights), parts)
    return torch.autograd.grad(law.log_prob(x).sum(), x)[0]


def by_shifted_exponents(x, weights, means, variances, sigma):
    """passes"""
    c = variances + sigma * sigma
    e = -torch.cdist(x, means).pow(2) / (2 * c) - x.shape[1] / 2 * torch.log(2 * math.pi * c)
    e = e + torch.log(weights)
    e = torch.exp(e - e.max(1, keepdim=True).values)
    r = e / e.sum(1, keepdim=True)
    return (r / c) @ means - (r / c).sum(1, keepdim=True) * x


def by_a_loop(x, weights, means, variances, sigma):
    """passes"""
    rows = []
    for point in x:
        c = variances + sigma**2
        away = means - point
        logs = weights.log() - (away**2).sum(1) / c / 2 - len(point) / 2 * c.log()
        r = torch.exp(logs - torch.logsumexp(logs, 0))
        rows.append(((r / c)[:, None] * away).sum(0))
    return torch.stack(rows)


def by_the_package(x, weights, means, variances, sigma):
    """this is the one you are to write"""
    return dgm.GaussianMixture(weights, means, variances).score(x, sigma)


def by_the_packages_density(x, weights, means, variances, sigma):
    """your function calls the package's GaussianMixture.log_prob"""
    return dgm.GaussianMixture(weights, means, variances).log_prob(x, sigma)


def by_the_packages_noise(x, weights, means, variances, sigma):
    """your function calls the package's GaussianMixture.score"""
    schedule = dgm.NoiseSchedule.linear()
    return dgm.GaussianMixture(weights, means, variances).eps_model(schedule)(x, 1)


def wrong_sign(x, weights, means, variances, sigma):
    """the sign is wrong: the score points to where the density grows"""
    return -_score(x, weights, means, variances + sigma**2)


def by_weights(x, weights, means, variances, sigma):
    """the weights w_k stand where the probabilities r_k(x) belong"""
    pull = (means - x[:, None]) / (variances + sigma**2)[:, None]
    return (weights[:, None] * pull).sum(1)


def no_sigma(x, weights, means, variances, sigma):
    """sigma^2 is missing beside the variances"""
    return _score(x, weights, means, variances)


def bare_sigma(x, weights, means, variances, sigma):
    """sigma is added to the variances: its square belongs there"""
    return _score(x, weights, means, variances + sigma)


def only_sigma(x, weights, means, variances, sigma):
    """the variances are left out: only sigma^2 is used"""
    return _score(x, weights, means, torch.full_like(variances, max(sigma, 1e-3) ** 2))


def variances_squared(x, weights, means, variances, sigma):
    """the variances are squared: they are variances already"""
    return _score(x, weights, means, variances**2 + sigma**2)


def roots(x, weights, means, variances, sigma):
    """the roots of the variances are taken"""
    return _score(x, weights, means, variances**0.5 + sigma**2)


def under_the_root(x, weights, means, variances, sigma):
    """you divide by the standard deviation: divide by the variance"""
    c = variances + sigma**2
    return _score(x, weights, means, c, under=c.sqrt())


def squared_under(x, weights, means, variances, sigma):
    """you divide by the variance twice"""
    c = variances + sigma**2
    return _score(x, weights, means, c, under=c**2)


def not_divided(x, weights, means, variances, sigma):
    """you do not divide by the variance"""
    c = variances + sigma**2
    return _score(x, weights, means, c, under=torch.ones_like(c))


def only_old_variance_under(x, weights, means, variances, sigma):
    """you divide by the variance without sigma^2"""
    return _score(x, weights, means, variances + sigma**2, under=variances)


def no_weights(x, weights, means, variances, sigma):
    """the weights are missing in r_k"""
    return _score(x, weights, means, variances + sigma**2, log_weights=0 * weights)


def no_log_of_weights(x, weights, means, variances, sigma):
    """the weights stand beside the logarithms: take their logarithm"""
    return _score(x, weights, means, variances + sigma**2, log_weights=weights)


def no_normaliser(x, weights, means, variances, sigma):
    """the factor c_k^(-d/2) is missing in r_k"""
    return _score(x, weights, means, variances + sigma**2, power=0)


def one_dimensional(x, weights, means, variances, sigma):
    """the factor in r_k is c_k^(-1/2), that of one dimension: it is c_k^(-d/2)"""
    return _score(x, weights, means, variances + sigma**2, power=0.5)


def wrong_power(x, weights, means, variances, sigma):
    """the factor in r_k is c_k^(-d): it is c_k^(-d/2)"""
    return _score(x, weights, means, variances + sigma**2, power=x.shape[1])


def no_half(x, weights, means, variances, sigma):
    """the factor 1/2 is missing in the exponent"""
    return _score(x, weights, means, variances + sigma**2, half=1.0)


def not_squared(x, weights, means, variances, sigma):
    """the distance in the exponent is not squared"""
    c = variances + sigma**2
    away = means - x[:, None]
    r = (weights.log() - away.norm(dim=2) / c / 2 - x.shape[1] / 2 * c.log()).softmax(1)
    return (r[:, :, None] * away / c[:, None]).sum(1)


def deviation_in_the_exponent(x, weights, means, variances, sigma):
    """the exponent is divided by the standard deviation, not by the variance"""
    c = variances + sigma**2
    away = means - x[:, None]
    r = (weights.log() - away.square().sum(2) / c.sqrt() / 2 - x.shape[1] / 2 * c.log()).softmax(1)
    return (r[:, :, None] * away / c[:, None]).sum(1)


def positive_exponent(x, weights, means, variances, sigma):
    """the sign in the exponent is wrong"""
    return _score(x, weights, means, variances + sigma**2, half=-0.5)


def other_axis(x, weights, means, variances, sigma):
    """softmax runs over the points: it runs over the components, dim 1"""
    c = variances + sigma**2
    away = means - x[:, None]
    logs = weights.log() - away.square().sum(2) / c / 2 - x.shape[1] / 2 * c.log()
    return (logs.softmax(0)[:, :, None] * away / c[:, None]).sum(1)


def not_normed(x, weights, means, variances, sigma):
    """the sum is not divided by the density: this is its gradient, not that of its logarithm"""
    c = variances + sigma**2
    away = means - x[:, None]
    density = (
        weights * (-away.square().sum(2) / c / 2).exp() / (2 * math.pi * c) ** (x.shape[1] / 2)
    )
    return (density[:, :, None] * away / c[:, None]).sum(1)


def nearest(x, weights, means, variances, sigma):
    """only the nearest component pulls: all do, by their probabilities"""
    c = variances + sigma**2
    k = torch.cdist(x, means).argmin(1)
    return (means[k] - x) / c[k, None]


def averaged(x, weights, means, variances, sigma):
    """the mean over the components: sum them, r_k sums to 1"""
    return _score(x, weights, means, variances + sigma**2) / len(weights)


def scaled(x, weights, means, variances, sigma):
    """the score is multiplied by sigma"""
    return _score(x, weights, means, variances + sigma**2) * (sigma or 1.0)


def densities(x, weights, means, variances, sigma):
    """take logarithms, then softmax"""
    c = variances + sigma**2
    away = means - x[:, None]
    density = weights * (-away.square().sum(2) / c / 2).exp() / c ** (x.shape[1] / 2)
    r = density / density.sum(1, keepdim=True)
    return (r[:, :, None] * away / c[:, None]).sum(1)


def two_dimensions(x, weights, means, variances, sigma):
    """... three components in three dimensions"""
    return _score(x, weights, means, variances + sigma**2, power=1.0)


def two_components(x, weights, means, variances, sigma):
    """... three components in three dimensions"""
    return _score(x, weights[:2], means[:2], (variances + sigma**2)[:2])


def density(x, weights, means, variances, sigma):
    """must be a float tensor of shape (200, 2)"""
    return _score(x, weights, means, variances + sigma**2).sum(1)
