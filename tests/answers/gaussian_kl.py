import torch

import dgm_helpers as dgm


def _ratio(variance1, variance2):
    return variance1 / variance2


def by_logs(mean1, variance1, mean2, variance2):
    """passes"""
    log1, log2 = variance1.log(), variance2.log()
    terms = log2 - log1 + (log1 - log2).exp() + (mean1 - mean2) ** 2 * (-log2).exp() - 1
    return 0.5 * terms.flatten(1).sum(-1)


def by_items(mean1, variance1, mean2, variance2):
    """passes"""
    v1, v2 = variance1.expand_as(mean1), variance2.expand_as(mean1)
    laws = [torch.distributions.Normal(m, v**0.5) for m, v in ((mean1, v1), (mean2, v2))]
    every = torch.distributions.kl_divergence(*laws)
    return torch.stack([one.sum() for one in every])


def in_single_precision(mean1, variance1, mean2, variance2):
    """passes"""
    m1, v1, m2, v2 = (y.float() for y in (mean1, variance1, mean2, variance2))
    terms = v1 / v2 - 1 - (v1 / v2).log() + (m1 - m2) ** 2 / v2
    return terms.sum(tuple(range(1, m1.ndim))) / 2


def by_the_package(mean1, variance1, mean2, variance2):
    """this is the one you are to write"""
    return dgm.gaussian_kl(mean1, variance1, mean2, variance2)


def swapped(mean1, variance1, mean2, variance2):
    """the arguments are swapped: q comes first"""
    return by_logs(mean2, variance2, mean1, variance1)


def no_half(mean1, variance1, mean2, variance2):
    """the factor 1/2 is missing"""
    return 2 * by_logs(mean1, variance1, mean2, variance2)


def bits(mean1, variance1, mean2, variance2):
    """in nats, please, not in bits"""
    return by_logs(mean1, variance1, mean2, variance2) / torch.tensor(2.0).log()


def log2(mean1, variance1, mean2, variance2):
    """the logarithm is natural, not that to base 2"""
    r = _ratio(variance1, variance2)
    terms = r - 1 - r.log2() + (mean1 - mean2).square() / variance2
    return terms.flatten(1).sum(1) / 2


def deviations(mean1, variance1, mean2, variance2):
    """the variances are taken for standard deviations"""
    return by_logs(mean1, variance1**2, mean2, variance2**2)


def roots(mean1, variance1, mean2, variance2):
    """the roots of the variances stand where the variances belong"""
    return by_logs(mean1, variance1**0.5, mean2, variance2**0.5)


def averaged(mean1, variance1, mean2, variance2):
    """sum over the coordinates, not mean"""
    return by_logs(mean1, variance1, mean2, variance2) / mean1[0].numel()


def wrong_sign(mean1, variance1, mean2, variance2):
    """the sign of the logarithm is wrong"""
    r = _ratio(variance1, variance2)
    terms = r - 1 + r.log() + (mean1 - mean2).square() / variance2
    return terms.flatten(1).sum(1) / 2


def no_log(mean1, variance1, mean2, variance2):
    """the logarithm is left out"""
    terms = _ratio(variance1, variance2) - 1 + (mean1 - mean2).square() / variance2
    return terms.flatten(1).sum(1) / 2


def no_one(mean1, variance1, mean2, variance2):
    """the -1 is left out"""
    return by_logs(mean1, variance1, mean2, variance2) + mean1[0].numel() / 2


def not_squared(mean1, variance1, mean2, variance2):
    """the difference of the means is not squared"""
    r = _ratio(variance1, variance2)
    terms = r - 1 - r.log() + (mean1 - mean2) / variance2
    return terms.flatten(1).sum(1) / 2


def no_means(mean1, variance1, mean2, variance2):
    """the means are left out"""
    return by_logs(0 * mean1, variance1, 0 * mean2, variance2)


def not_divided(mean1, variance1, mean2, variance2):
    """the difference of the means is not divided by the second variance"""
    r = _ratio(variance1, variance2)
    return (r - 1 - r.log() + (mean1 - mean2).square()).flatten(1).sum(1) / 2


def divided_by_the_first(mean1, variance1, mean2, variance2):
    """the difference of the means is divided by the first variance: the second belongs there"""
    r = _ratio(variance1, variance2)
    return (r - 1 - r.log() + (mean1 - mean2).square() / variance1).flatten(1).sum(1) / 2


def upside_down(mean1, variance1, mean2, variance2):
    """the ratio of the variances is upside down: the first over the second"""
    r = 1 / _ratio(variance1, variance2)
    return (r - 1 - r.log() + (mean1 - mean2).square() / variance2).flatten(1).sum(1) / 2


def negative(mean1, variance1, mean2, variance2):
    """the sign is wrong: a divergence is never negative"""
    return -by_logs(mean1, variance1, mean2, variance2)


def counted_once(mean1, variance1, mean2, variance2):
    """a variance that is shared counts for every coordinate, you count it once"""
    r = _ratio(variance1, variance2)
    once = (r - 1 - r.log()).flatten(1).sum(1)
    return (once + ((mean1 - mean2).square() / variance2).flatten(1).sum(1)) / 2


def of_all(mean1, variance1, mean2, variance2):
    """one number for each item"""
    return by_logs(mean1, variance1, mean2, variance2).sum()


def symmetric(mean1, variance1, mean2, variance2):
    """this is the mean of both directions: the divergence of the first from the second is asked for"""
    there = by_logs(mean1, variance1, mean2, variance2)
    return (there + by_logs(mean2, variance2, mean1, variance1)) / 2
