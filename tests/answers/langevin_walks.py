import math

import torch

import dgm_helpers as dgm


def _walk(
    score,
    x,
    step_size,
    steps,
    generator,
    drift=0.5,
    scale=math.sqrt,
    draw=torch.randn,
    states=None,
):
    states = [x] if states is None else states
    for _ in range(steps):
        s = score(x)
        z = 0
        if generator is not None:
            z = draw(x.shape, generator=generator, dtype=x.dtype)
        x = x + drift * step_size * s + scale(step_size) * z
        states.append(x)
    return torch.stack(states)


def noise_first(score, x, step_size, steps, generator=None):
    """passes"""
    path = torch.empty(steps + 1, *x.shape, dtype=x.dtype)
    path[0] = x
    for i in range(steps):
        z = torch.zeros_like(x)
        if generator is not None:
            z.normal_(generator=generator)
        path[i + 1] = path[i] + step_size / 2 * score(path[i]) + step_size**0.5 * z
    return path


def two_branches(score, x, step_size, steps, generator=None):
    """passes"""
    states = [x.clone()]
    with torch.no_grad():
        while len(states) <= steps:
            x = states[-1]
            x = x.add(score(x), alpha=step_size / 2)
            if generator:
                x = x.add(
                    torch.randn(*x.shape, generator=generator, dtype=x.dtype),
                    alpha=math.sqrt(step_size),
                )
            states.append(x)
    return torch.cat([state[None] for state in states])


def with_progress(score, x, step_size, steps, generator=None):
    """passes"""
    from tqdm import trange

    states = [x]
    for _ in trange(steps):
        states.append(_walk(score, states[-1], step_size, 1, generator)[1])
    return torch.stack(states)


def by_the_package(score, x, step_size, steps, generator=None):
    """this is the one you are to write"""
    if generator is None:
        return dgm.gradient_ascent(score, x, step_size=step_size, steps=steps, trajectory=True)
    return dgm.langevin(
        score, x, step_size=step_size, steps=steps, generator=generator, trajectory=True
    )


def downhill(score, x, step_size, steps, generator=None):
    """the ascent runs downhill: the sign of the score is wrong"""
    return _walk(score, x, step_size, steps, generator, drift=-0.5)


def whole_step(score, x, step_size, steps, generator=None):
    """half the step size stands before the score, you took all of it"""
    return _walk(score, x, step_size, steps, generator, drift=1.0)


def double_step(score, x, step_size, steps, generator=None):
    """the score is multiplied by twice the step size: half of it belongs there"""
    return _walk(score, x, step_size, steps, generator, drift=2.0)


def root_step(score, x, step_size, steps, generator=None):
    """the score is multiplied by the root of the step size: half the step size belongs there"""
    return _walk(score, x, step_size, steps, generator, drift=step_size**-0.5)


def squared_step(score, x, step_size, steps, generator=None):
    """the step size is squared before the score"""
    return _walk(score, x, step_size, steps, generator, drift=step_size / 2)


def no_step_size(score, x, step_size, steps, generator=None):
    """the step size is missing before the score"""
    return _walk(score, x, step_size, steps, generator, drift=1 / step_size)


def half_without_step_size(score, x, step_size, steps, generator=None):
    """the step size is missing before the score: half of it belongs there"""
    return _walk(score, x, step_size, steps, generator, drift=0.5 / step_size)


def unit_score(score, x, step_size, steps, generator=None):
    """the score is scaled to length 1: use it as it is"""
    return _walk(lambda y: torch.nn.functional.normalize(score(y)), x, step_size, steps, generator)


def frozen_score(score, x, step_size, steps, generator=None):
    """the score is that of the start in every step: take it where the walk is"""
    s = score(x)
    return _walk(lambda y: s, x, step_size, steps, generator)


def no_score(score, x, step_size, steps, generator=None):
    """the walk does not move: the score is not used"""
    return _walk(torch.zeros_like, x, step_size, steps, generator)


def variance(score, x, step_size, steps, generator=None):
    """the square root is missing"""
    return _walk(score, x, step_size, steps, generator, scale=lambda a: a)


def doubled(score, x, step_size, steps, generator=None):
    """the variance 2 alpha"""
    return _walk(score, x, step_size, steps, generator, scale=lambda a: (2 * a) ** 0.5)


def half_variance(score, x, step_size, steps, generator=None):
    """the noise has the variance alpha / 2: the half belongs to the score only"""
    return _walk(score, x, step_size, steps, generator, scale=lambda a: (a / 2) ** 0.5)


def unit_noise(score, x, step_size, steps, generator=None):
    """the noise is not multiplied by the root of the step size"""
    return _walk(score, x, step_size, steps, generator, scale=lambda a: 1.0)


def uniform(score, x, step_size, steps, generator=None):
    """torch.randn, not torch.rand"""
    return _walk(score, x, step_size, steps, generator, draw=torch.rand)


def centred_uniform(score, x, step_size, steps, generator=None):
    """the noise is uniform: it must be normal, torch.randn"""

    def draw(shape, **keywords):
        return 12**0.5 * (torch.rand(shape, **keywords) - 0.5)

    return _walk(score, x, step_size, steps, generator, draw=draw)


def signs(score, x, step_size, steps, generator=None):
    """the noise is uniform: it must be normal, torch.randn"""

    def draw(shape, **keywords):
        return torch.randn(shape, **keywords).sign()

    return _walk(score, x, step_size, steps, generator, draw=draw)


def no_noise(score, x, step_size, steps, generator=None):
    """all chains got the same noise, or none"""
    return _walk(score, x, step_size, steps, None)


def shared_by_chains(score, x, step_size, steps, generator=None):
    """all chains got the same noise"""

    def draw(shape, **keywords):
        return torch.randn(shape[1], **keywords)

    return _walk(score, x, step_size, steps, generator, draw=draw)


def shared_by_coordinates(score, x, step_size, steps, generator=None):
    """both coordinates got the same noise"""

    def draw(shape, **keywords):
        return torch.randn(shape[0], 1, **keywords)

    return _walk(score, x, step_size, steps, generator, draw=draw)


def drawn_once(score, x, step_size, steps, generator=None):
    """both steps used the same noise"""
    z = None
    if generator is not None:
        z = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    return _walk(score, x, step_size, steps, generator, draw=lambda *_, **__: z)


def global_noise(score, x, step_size, steps, generator=None):
    """draw everything from the generator"""

    def draw(shape, generator, dtype):
        return torch.randn(shape, dtype=dtype)

    return _walk(score, x, step_size, steps, generator, draw=draw)


def always_noise(score, x, step_size, steps, generator=None):
    """without a generator there must be no noise"""
    return _walk(score, x, step_size, steps, generator or dgm.seeded(0))


def only_the_end(score, x, step_size, steps, generator=None):
    """the states from the start to the end"""
    return _walk(score, x, step_size, steps, generator)[-1]


def no_start(score, x, step_size, steps, generator=None):
    """the states from the start to the end"""
    return _walk(score, x, step_size, steps, generator)[1:]


def one_too_many(score, x, step_size, steps, generator=None):
    """the states from the start to the end"""
    return _walk(score, x, step_size, steps + 1, generator)


def a_list(score, x, step_size, steps, generator=None):
    """must be a float tensor of shape (4, 2, 2), got list"""
    return list(_walk(score, x, step_size, steps, generator))


def other_start(score, x, step_size, steps, generator=None):
    """the first state must be the start itself"""
    return _walk(score, torch.zeros_like(x), step_size, steps, generator)


def backwards(score, x, step_size, steps, generator=None):
    """the first state must be the start itself"""
    return _walk(score, x, step_size, steps, generator).flip(0)


def same_state(score, x, step_size, steps, generator=None):
    """changed its argument x in place"""
    states = [x]
    for _ in range(steps):
        x += step_size / 2 * score(x)
        states.append(x)
    return torch.stack(states)


def scaled_start(score, x, step_size, steps, generator=None):
    """unnamed"""
    path = _walk(score, 1.0 * x, step_size, steps, generator)
    return torch.cat([path[:1], 1.01 * path[1:]])


def forever(score, x, step_size, steps, generator=None):
    """your function did not end within"""
    states = [x]
    while True:
        try:
            while (states[-1] - states[0]).abs().max() < 1e9:
                states[-1] = states[-1] + 0 * score(states[-1])
        except Exception:
            pass
