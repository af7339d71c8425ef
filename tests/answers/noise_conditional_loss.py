import torch

import dgm_helpers as dgm


def _loss(
    score,
    x,
    sigmas,
    generator,
    target=lambda s, z, sigma: sigma * s + z,
    scale=lambda sigma: sigma,
    draw=torch.randn,
    level=None,
):
    index = torch.randint(len(sigmas), (len(x),), generator=generator)
    sigma = sigmas[index] if level is None else level(index)
    noise = draw(x.shape, generator=generator, dtype=x.dtype)
    column = sigma[:, None]
    there = score(x + scale(column) * noise, sigma)
    return target(there, noise, column).square().sum(1) / 2


def by_the_weight(score, x, sigmas, generator):
    """passes"""
    sigma = sigmas[torch.randint(0, len(sigmas), x.shape[:1], generator=generator)]
    eps = sigma.unsqueeze(1) * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    error = score(x + eps, sigma) + eps / sigma.unsqueeze(1) ** 2
    return 0.5 * sigma**2 * (error**2).sum(dim=1)


def by_the_packages_dsm(score, x, sigmas, generator):
    """passes"""
    sigma = torch.index_select(
        sigmas, 0, torch.randint(len(sigmas), (len(x),), generator=generator)
    )
    loss = dgm.denoising_score_matching(lambda y: score(y, sigma), x, sigma, generator=generator)
    return sigma.square() * loss


def by_take(score, x, sigmas, generator):
    """passes"""
    k = torch.empty(len(x), dtype=torch.int64).random_(0, len(sigmas), generator=generator)
    sigma = torch.take(sigmas, k)
    z = torch.empty_like(x).normal_(generator=generator)
    return (
        torch.einsum("b,bi->bi", sigma, score(x + torch.einsum("b,bi->bi", sigma, z), sigma))
        .add(z)
        .norm(dim=1)
        ** 2
        / 2
    )


def by_the_package(score, x, sigmas, generator):
    """this is the one you are to write"""
    return dgm.noise_conditional_score_matching(score, x, sigmas, generator=generator)


def noise_first(score, x, sigmas, generator):
    """the noise is drawn before the levels: the levels come first"""
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    sigma = sigmas[torch.randint(len(sigmas), (len(x),), generator=generator)]
    return (sigma[:, None] * score(x + sigma[:, None] * noise, sigma) + noise).square().sum(1) / 2


def one_level(score, x, sigmas, generator):
    """all points got the same level"""
    return _loss(score, x, sigmas, generator, level=lambda k: sigmas[k[:1]].expand(len(x)))


def largest_level(score, x, sigmas, generator):
    """all points got the same level"""
    return _loss(score, x, sigmas, generator, level=lambda k: sigmas[0].expand(len(x)))


def in_order(score, x, sigmas, generator):
    """the levels go through sigmas in order: draw them from the generator"""
    return _loss(score, x, sigmas, generator, level=lambda k: sigmas[torch.arange(len(k)) % 20])


def index_as_level(score, x, sigmas, generator):
    """are not levels of sigmas"""
    return _loss(score, x, sigmas, generator, level=lambda k: k.to(x.dtype) + 1)


def between_levels(score, x, sigmas, generator):
    """are not levels of sigmas"""
    return _loss(score, x, sigmas, generator, level=lambda k: 1 + 0.95 * k)


def never_the_first(score, x, sigmas, generator):
    """... the levels"""
    return _loss(score, x, sigmas, generator, level=lambda k: sigmas[k.clamp(min=9)])


def next_level(score, x, sigmas, generator):
    """the index of the level is off by one"""
    return _loss(score, x, sigmas, generator, level=lambda k: sigmas[(k + 1) % len(sigmas)])


def index_to_the_model(score, x, sigmas, generator):
    """give it sigma, no index"""
    k = torch.randint(len(sigmas), (len(x),), generator=generator)
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    there = score(x + sigmas[k][:, None] * noise, k.to(x.dtype) + 1)
    return (sigmas[k][:, None] * there + noise).square().sum(1) / 2


def column_to_the_model(score, x, sigmas, generator):
    """the model must get sigma"""
    return _loss(lambda y, s: score(y, s[:, None]), x, sigmas, generator)


def variance(score, x, sigmas, generator):
    """the noise has the standard deviation sigma, not sigma^2"""
    return _loss(score, x, sigmas, generator, scale=lambda s: s**2)


def root(score, x, sigmas, generator):
    """the noise is multiplied by the root of sigma: its standard deviation is sigma"""
    return _loss(score, x, sigmas, generator, scale=lambda s: s**0.5)


def bare(score, x, sigmas, generator):
    """the noise is not multiplied by sigma"""
    return _loss(score, x, sigmas, generator, scale=lambda s: 1.0)


def clean(score, x, sigmas, generator):
    """the score is taken at the clean point"""
    return _loss(score, x, sigmas, generator, scale=lambda s: 0.0)


def subtracted(score, x, sigmas, generator):
    """the noise is subtracted from x"""
    return _loss(score, x, sigmas, generator, scale=lambda s: -s)


def uniform(score, x, sigmas, generator):
    """the noise is uniform: it must be normal, torch.randn"""
    return _loss(score, x, sigmas, generator, draw=torch.rand)


def shared_noise(score, x, sigmas, generator):
    """all points got the same noise: draw it in the shape of x"""

    def draw(shape, **keywords):
        return torch.randn(1, shape[1], **keywords).expand(shape)

    return _loss(score, x, sigmas, generator, draw=draw)


def shared_by_coordinates(score, x, sigmas, generator):
    """both coordinates got the same noise: draw it in the shape of x"""

    def draw(shape, **keywords):
        return torch.randn(shape[0], 1, **keywords).expand(shape)

    return _loss(score, x, sigmas, generator, draw=draw)


def one_more_draw(score, x, sigmas, generator):
    """... with the draws in the order of the task"""

    def draw(shape, **keywords):
        torch.randn(5, **keywords)
        return torch.randn(shape, **keywords)

    return _loss(score, x, sigmas, generator, draw=draw)


def global_noise(score, x, sigmas, generator):
    """draw everything from the generator"""

    def draw(shape, generator, dtype):
        return torch.randn(shape, dtype=dtype)

    return _loss(score, x, sigmas, generator, draw=draw)


def no_weight(score, x, sigmas, generator):
    """the weight sigma^2 is missing: small levels would drown the large ones"""
    return _loss(score, x, sigmas, generator, lambda s, z, sigma: s + z / sigma)


def by_sigma(score, x, sigmas, generator):
    """the weight is sigma: it is sigma^2"""
    return _loss(score, x, sigmas, generator, lambda s, z, sigma: sigma**0.5 * (s + z / sigma))


def by_sigma_4(score, x, sigmas, generator):
    """the weight is sigma^4: it is sigma^2"""
    return _loss(score, x, sigmas, generator, lambda s, z, sigma: sigma**2 * (s + z / sigma))


def by_one_over(score, x, sigmas, generator):
    """the weight is 1 / sigma^2: it is sigma^2"""
    return _loss(score, x, sigmas, generator, lambda s, z, sigma: (s + z / sigma) / sigma)


def wrong_sign(score, x, sigmas, generator):
    """wrong sign: the target of the score is -noise / sigma"""
    return _loss(score, x, sigmas, generator, lambda s, z, sigma: sigma * s - z)


def target_by_square(score, x, sigmas, generator):
    """the noise is standard: divide it by sigma, not by sigma^2"""
    return _loss(score, x, sigmas, generator, lambda s, z, sigma: sigma * s + z / sigma)


def target_not_divided(score, x, sigmas, generator):
    """the noise in the target is not divided by sigma"""
    return _loss(score, x, sigmas, generator, lambda s, z, sigma: sigma * (s + z))


def plain_difference(score, x, sigmas, generator):
    """neither the score is multiplied by sigma nor the noise divided"""
    return _loss(score, x, sigmas, generator, lambda s, z, sigma: s + z)


def no_half(score, x, sigmas, generator):
    """the factor 1/2 is missing"""
    return 2 * _loss(score, x, sigmas, generator)


def averaged(score, x, sigmas, generator):
    """sum over the coordinates, not mean"""
    return _loss(score, x, sigmas, generator) / 2


def norm(score, x, sigmas, generator):
    """the norm is not squared"""
    return _loss(score, x, sigmas, generator).sqrt() / 2**0.5


def of_all(score, x, sigmas, generator):
    """the loss has one number a point"""
    return _loss(score, x, sigmas, generator).mean()


def every_level(score, x, sigmas, generator):
    """all points got the same level"""
    loss = 0
    for sigma in sigmas:
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        there = score(x + sigma * noise, sigma.expand(len(x)))
        loss = loss + (sigma * there + noise).square().sum(1) / 2
    return loss / len(sigmas)


def own_score(score, x, sigmas, generator):
    """the score was not called"""
    return _loss(lambda y, s: -y, x, sigmas, generator)


def untrained(score, x, sigmas, generator):
    """so it cannot train"""
    return _loss(score, x, sigmas, generator).detach()


def third(score, x, sigmas, generator):
    """unnamed"""
    return _loss(score, x, sigmas, generator) / 3
