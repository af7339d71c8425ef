import torch

import dgm_helpers as dgm


def by_the_assignments_form(score, x, noise, sigma):
    """passes"""
    eps = sigma * noise
    return 0.5 * torch.sum((score(x + eps) + eps / sigma**2) ** 2, dim=-1)


def by_norms(score, x, noise, sigma):
    """passes"""
    return torch.linalg.norm(score(x + sigma * noise) - (-noise / sigma), dim=1).pow(2) / 2


def by_mse_loss(score, x, noise, sigma):
    """passes"""
    there = score(x + sigma * noise)
    return torch.nn.functional.mse_loss(there, -noise / sigma, reduction="none").sum(1) / 2


def by_the_package(score, x, noise, sigma):
    """this is the one you are to write"""
    return dgm.denoising_score_matching(score, x, sigma, generator=dgm.seeded(4))


def no_half(score, x, noise, sigma):
    """the factor 1/2 is missing"""
    return 2 * by_norms(score, x, noise, sigma)


def wrong_sign(score, x, noise, sigma):
    """the sign of the noise is wrong: the target is minus the noise"""
    return (score(x + sigma * noise) - noise / sigma).square().sum(1) / 2


def by_the_square(score, x, noise, sigma):
    """the noise is standard: divide it by sigma, not by sigma^2"""
    return (score(x + sigma * noise) + noise / sigma**2).square().sum(1) / 2


def not_divided(score, x, noise, sigma):
    """the noise in the target is not divided by sigma"""
    return (score(x + sigma * noise) + noise).square().sum(1) / 2


def multiplied(score, x, noise, sigma):
    """the noise in the target is multiplied by sigma: divide"""
    return (score(x + sigma * noise) + sigma * noise).square().sum(1) / 2


def clean(score, x, noise, sigma):
    """the score is taken at the clean point"""
    return (score(x) + noise / sigma).square().sum(1) / 2


def of_the_noise(score, x, noise, sigma):
    """the score is taken at the noise alone"""
    return (score(sigma * noise) + noise / sigma).square().sum(1) / 2


def not_scaled(score, x, noise, sigma):
    """the noise is not scaled by sigma in the noised point"""
    return (score(x + noise) + noise / sigma).square().sum(1) / 2


def by_variance(score, x, noise, sigma):
    """the noise in the noised point is multiplied by sigma^2: its standard deviation is sigma"""
    return (score(x + sigma**2 * noise) + noise / sigma).square().sum(1) / 2


def by_root(score, x, noise, sigma):
    """the noise in the noised point is multiplied by sqrt(sigma): its standard deviation is sigma"""
    return (score(x + sigma**0.5 * noise) + noise / sigma).square().sum(1) / 2


def subtracted(score, x, noise, sigma):
    """the noise is subtracted from x"""
    return (score(x - sigma * noise) + noise / sigma).square().sum(1) / 2


def averaged(score, x, noise, sigma):
    """sum over the coordinates, not mean"""
    return (score(x + sigma * noise) + noise / sigma).square().mean(1) / 2


def third(score, x, noise, sigma):
    """unnamed"""
    return by_norms(score, x, noise, sigma) / 1.5


def norm(score, x, noise, sigma):
    """the norm is not squared"""
    return (score(x + sigma * noise) + noise / sigma).norm(dim=1) / 2


def absolute(score, x, noise, sigma):
    """the absolute values are summed: square them"""
    return (score(x + sigma * noise) + noise / sigma).abs().sum(1) / 2


def sum_squared(score, x, noise, sigma):
    """the sum is squared: sum the squares"""
    return (score(x + sigma * noise) + noise / sigma).sum(1).square() / 2


def weighted(score, x, noise, sigma):
    """the loss is multiplied by sigma^2: that weight comes later"""
    return sigma**2 * by_norms(score, x, noise, sigma)


def weighted_by_sigma(score, x, noise, sigma):
    """the loss is multiplied by sigma"""
    return sigma * by_norms(score, x, noise, sigma)


def towards_x(score, x, noise, sigma):
    """the target is x: it is minus the noise over sigma"""
    return (score(x + sigma * noise) - x).square().sum(1) / 2


def scaled_score(score, x, noise, sigma):
    """the loss is multiplied by sigma^2: that weight comes later"""
    return (sigma * score(x + sigma * noise) + noise).square().sum(1) / 2


def ddpm(score, x, noise, sigma):
    """x is scaled, as by DDPM: here only noise is added"""
    a = 1 / (1 + sigma**2)
    return (score(a**0.5 * (x + sigma * noise)) + noise / sigma).square().sum(1) / 2


def own_noise(score, x, noise, sigma):
    """the noise that is given is not used in the noised point: draw nothing"""
    own = torch.randn(x.shape, generator=dgm.seeded(0), dtype=x.dtype)
    return (score(x + sigma * own) + noise / sigma).square().sum(1) / 2


def of_all(score, x, noise, sigma):
    """one loss for each item"""
    return by_norms(score, x, noise, sigma).mean()


def by_entry(score, x, noise, sigma):
    """one loss for each item"""
    return (score(x + sigma * noise) + noise / sigma).square() / 2


def untrained(score, x, noise, sigma):
    """so it cannot train"""
    return by_norms(score, x, noise, sigma).detach()
