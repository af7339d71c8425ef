import math

import torch

import dgm_helpers as dgm


def _anneal(
    score,
    x,
    sigmas,
    step_size,
    steps_per_level,
    generator,
    step=lambda a, s, last, first: a * (s / last) ** 2,
    drift=0.5,
    scale=lambda a: a**0.5,
    draw=torch.randn,
):
    for sigma in sigmas:
        alpha = step(step_size, sigma, sigmas[-1], sigmas[0])
        for _ in range(steps_per_level):
            s = score(x, sigma.expand(len(x)))
            z = draw(x.shape, generator=generator, dtype=x.dtype)
            x = x + drift * alpha * s + scale(alpha) * z
    return x


def by_floats(score, x, sigmas, step_size, steps_per_level, generator):
    """passes"""
    last = float(sigmas[-1])
    for sigma in sigmas.tolist():
        alpha = step_size * sigma**2 / last**2
        for _ in range(steps_per_level):
            s = score(x, torch.full_like(x[:, 0], sigma))
            x = x + alpha / 2 * s
            x = x + math.sqrt(alpha) * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    return x


def by_one_loop(score, x, sigmas, step_size, steps_per_level, generator):
    """passes"""
    for i in range(len(sigmas) * steps_per_level):
        sigma = sigmas[i // steps_per_level]
        alpha = step_size * (sigma / sigmas.min()).square()
        z = torch.empty_like(x).normal_(generator=generator)
        x = torch.addcmul(x, alpha / 2, score(x, sigma.repeat(len(x)))) + alpha.sqrt() * z
    return x


def by_plain_langevin(score, x, sigmas, step_size, steps_per_level, generator):
    """passes"""
    for sigma in sigmas:
        x = dgm.langevin(
            lambda y: score(y, sigma.expand(len(y))),
            x,
            step_size=float(step_size * (sigma / sigmas[-1]) ** 2),
            steps=steps_per_level,
            generator=generator,
        )
    return x


def by_the_package(score, x, sigmas, step_size, steps_per_level, generator):
    """this is the one you are to write"""
    return dgm.annealed_langevin(
        score,
        x,
        sigmas,
        step_size=step_size,
        steps_per_level=steps_per_level,
        generator=generator,
    )


def by_sigma(score, x, sigmas, step_size, steps_per_level, generator):
    """the step grows like sigma^2, you let it grow like sigma"""
    step = lambda a, s, last, first: a * s / last  # noqa: E731
    return _anneal(score, x, sigmas, step_size, steps_per_level, generator, step)


def by_the_first(score, x, sigmas, step_size, steps_per_level, generator):
    """step_size is the step at the last level: divide by sigmas[-1]"""
    step = lambda a, s, last, first: a * (s / first) ** 2  # noqa: E731
    return _anneal(score, x, sigmas, step_size, steps_per_level, generator, step)


def upside_down(score, x, sigmas, step_size, steps_per_level, generator):
    """the ratio is upside down: large levels need large steps"""
    step = lambda a, s, last, first: a * (last / s) ** 2  # noqa: E731
    return _anneal(score, x, sigmas, step_size, steps_per_level, generator, step)


def constant(score, x, sigmas, step_size, steps_per_level, generator):
    """every level has the same step; scale it by (sigma / sigmas[-1])^2"""
    step = lambda a, s, last, first: torch.tensor(a)  # noqa: E731
    return _anneal(score, x, sigmas, step_size, steps_per_level, generator, step)


def not_divided(score, x, sigmas, step_size, steps_per_level, generator):
    """the step is not divided by sigmas[-1]^2"""
    step = lambda a, s, last, first: a * s**2  # noqa: E731
    return _anneal(score, x, sigmas, step_size, steps_per_level, generator, step)


def divided_once(score, x, sigmas, step_size, steps_per_level, generator):
    """the step is divided by sigmas[-1], not by its square"""
    step = lambda a, s, last, first: a * s**2 / last  # noqa: E731
    return _anneal(score, x, sigmas, step_size, steps_per_level, generator, step)


def by_root(score, x, sigmas, step_size, steps_per_level, generator):
    """the step grows like the root of sigma: it grows like sigma^2"""
    step = lambda a, s, last, first: a * (s / last) ** 0.5  # noqa: E731
    return _anneal(score, x, sigmas, step_size, steps_per_level, generator, step)


def whole_drift(score, x, sigmas, step_size, steps_per_level, generator):
    """the drift is alpha / 2 times the score, you use alpha"""
    return _anneal(score, x, sigmas, step_size, steps_per_level, generator, drift=1.0)


def downhill(score, x, sigmas, step_size, steps_per_level, generator):
    """the sign of the score is wrong"""
    return _anneal(score, x, sigmas, step_size, steps_per_level, generator, drift=-0.5)


def no_drift(score, x, sigmas, step_size, steps_per_level, generator):
    """the score is not used"""
    return _anneal(score, x, sigmas, step_size, steps_per_level, generator, drift=0.0)


def no_root(score, x, sigmas, step_size, steps_per_level, generator):
    """the noise has the standard deviation sqrt(alpha), you use alpha"""
    return _anneal(
        score, x, sigmas, step_size, steps_per_level, generator, scale=lambda alpha: alpha
    )


def two_alpha(score, x, sigmas, step_size, steps_per_level, generator):
    """the noise has the variance 2 alpha: it is alpha, beside alpha / 2 at the score"""
    return _anneal(
        score, x, sigmas, step_size, steps_per_level, generator, scale=lambda a: (2 * a) ** 0.5
    )


def other_convention(score, x, sigmas, step_size, steps_per_level, generator):
    """the drift is alpha and the variance 2 alpha: here they are alpha / 2 and alpha"""
    return _anneal(
        score,
        x,
        sigmas,
        step_size,
        steps_per_level,
        generator,
        drift=1.0,
        scale=lambda a: (2 * a) ** 0.5,
    )


def unit_noise(score, x, sigmas, step_size, steps_per_level, generator):
    """the noise is not multiplied by sqrt(alpha)"""
    return _anneal(score, x, sigmas, step_size, steps_per_level, generator, scale=lambda a: 1.0)


def no_noise(score, x, sigmas, step_size, steps_per_level, generator):
    """there is no noise in the steps"""
    return _anneal(score, x, sigmas, step_size, steps_per_level, generator, scale=lambda a: 0.0)


def uniform(score, x, sigmas, step_size, steps_per_level, generator):
    """the noise is uniform: it must be normal, torch.randn"""
    return _anneal(score, x, sigmas, step_size, steps_per_level, generator, draw=torch.rand)


def rising(score, x, sigmas, step_size, steps_per_level, generator):
    """the levels rise: begin with the largest, sigmas[0]"""
    step = lambda a, s, last, first: a * (s / first) ** 2  # noqa: E731
    return _anneal(score, x, sigmas.flip(0), step_size, steps_per_level, generator, step)


def last_level_left_out(score, x, sigmas, step_size, steps_per_level, generator):
    """the last level is left out"""
    step = lambda a, s, last, first: a * (s / sigmas[-1]) ** 2  # noqa: E731
    return _anneal(score, x, sigmas[:-1], step_size, steps_per_level, generator, step)


def first_level_left_out(score, x, sigmas, step_size, steps_per_level, generator):
    """the first level is left out"""
    return _anneal(score, x, sigmas[1:], step_size, steps_per_level, generator)


def one_step_per_level(score, x, sigmas, step_size, steps_per_level, generator):
    """every level has one step only: it has steps_per_level"""
    return _anneal(score, x, sigmas, step_size, 1, generator)


def one_step_more(score, x, sigmas, step_size, steps_per_level, generator):
    """every level has one step too many"""
    return _anneal(score, x, sigmas, step_size, steps_per_level + 1, generator)


def one_step_less(score, x, sigmas, step_size, steps_per_level, generator):
    """every level has one step too few"""
    return _anneal(score, x, sigmas, step_size, steps_per_level - 1, generator)


def from_the_start_each_time(score, x, sigmas, step_size, steps_per_level, generator):
    """every level begins anew at x: go on where the level before ended"""
    start = x
    for sigma in sigmas:
        x = start
        alpha = step_size * (sigma / sigmas[-1]) ** 2
        for _ in range(steps_per_level):
            z = torch.randn(x.shape, generator=generator, dtype=x.dtype)
            x = x + alpha / 2 * score(x, sigma.expand(len(x))) + alpha.sqrt() * z
    return x


def same_noise(score, x, sigmas, step_size, steps_per_level, generator):
    """every step has the same noise: draw it anew"""
    z = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    return _anneal(score, x, sigmas, step_size, steps_per_level, generator, draw=lambda *_, **__: z)


def noise_once_a_level(score, x, sigmas, step_size, steps_per_level, generator):
    """the noise is drawn once a level: draw it anew in every step"""
    for sigma in sigmas:
        alpha = step_size * (sigma / sigmas[-1]) ** 2
        z = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        for _ in range(steps_per_level):
            x = x + alpha / 2 * score(x, sigma.expand(len(x))) + alpha.sqrt() * z
    return x


def score_once_a_level(score, x, sigmas, step_size, steps_per_level, generator):
    """the score is taken once a level: take it in every step"""
    for sigma in sigmas:
        alpha = step_size * (sigma / sigmas[-1]) ** 2
        s = score(x, sigma.expand(len(x)))
        for _ in range(steps_per_level):
            z = torch.randn(x.shape, generator=generator, dtype=x.dtype)
            x = x + alpha / 2 * s + alpha.sqrt() * z
    return x


def smallest_score(score, x, sigmas, step_size, steps_per_level, generator):
    """the score is that of the last level in every step: give it the level"""
    return _anneal(
        lambda y, s: score(y, sigmas[-1].expand(len(y))),
        x,
        sigmas,
        step_size,
        steps_per_level,
        generator,
    )


def denoised(score, x, sigmas, step_size, steps_per_level, generator):
    """a denoising step is added at the end: leave it out"""
    x = _anneal(score, x, sigmas, step_size, steps_per_level, generator)
    return x + sigmas[-1] ** 2 * score(x, sigmas[-1].expand(len(x)))


def silent_end(score, x, sigmas, step_size, steps_per_level, generator):
    """the last step has no noise: it has, as every step"""
    n = [len(sigmas) * steps_per_level]

    def draw(shape, **keywords):
        n[0] -= 1
        return torch.randn(shape, **keywords) * (n[0] > 0)

    return _anneal(score, x, sigmas, step_size, steps_per_level, generator, draw=draw)


def own_start(score, x, sigmas, step_size, steps_per_level, generator):
    """x is not used: start there"""
    x = sigmas[0] * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    return _anneal(score, x, sigmas, step_size, steps_per_level, generator)


def start(score, x, sigmas, step_size, steps_per_level, generator):
    """the start came back unchanged"""
    _anneal(score, x, sigmas, step_size, steps_per_level, generator)
    return x


def global_noise(score, x, sigmas, step_size, steps_per_level, generator):
    """draw everything from the generator"""

    def draw(shape, generator, dtype):
        return torch.randn(shape, dtype=dtype)

    return _anneal(score, x, sigmas, step_size, steps_per_level, generator, draw=draw)


def number(score, x, sigmas, step_size, steps_per_level, generator):
    """the model must get sigma"""
    return _anneal(lambda y, s: score(y, s[0]), x, sigmas, step_size, steps_per_level, generator)


def every_state(score, x, sigmas, step_size, steps_per_level, generator):
    """must be a float tensor of shape (5, 2)"""
    return torch.stack([x, _anneal(score, x, sigmas, step_size, steps_per_level, generator)])


def twice(score, x, sigmas, step_size, steps_per_level, generator):
    """the score must be called once for each step"""
    return _anneal(
        lambda y, s: (score(y, s) + score(y, s)) / 2,
        x,
        sigmas,
        step_size,
        steps_per_level,
        generator,
    )


def extra_draw(score, x, sigmas, step_size, steps_per_level, generator):
    """unnamed"""
    torch.randn(11, generator=generator)
    return _anneal(score, x, sigmas, step_size, steps_per_level, generator)
