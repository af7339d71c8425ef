import torch

import dgm_helpers as dgm


def _sample(
    eps_model,
    schedule,
    proposals,
    stop_at,
    generator,
    start=None,
    step=dgm.ddpm_step,
    times=None,
    draw=torch.randn,
):
    def noise():
        return draw(proposals.shape, generator=generator, dtype=proposals.dtype)

    z = noise()
    x = dgm.perturb_input(schedule, proposals, stop_at, z)
    if start:
        x = start(schedule.alpha_bar[stop_at], z)
    for t in range(stop_at, 0, -1) if times is None else times:
        eps = eps_model(x, torch.full((len(x),), t))
        x = step(schedule, x, eps, t, t - 1, noise())
    return x


def by_a_while_loop(eps_model, schedule, proposals, *, stop_at, generator):
    """passes"""
    x = torch.randn(proposals.shape, generator=generator, dtype=proposals.dtype)
    a = schedule.alpha_bar[stop_at]
    x = a**0.5 * proposals + (1 - a) ** 0.5 * x
    t = stop_at
    while t > 0:
        eps = eps_model(x, torch.tensor([t] * len(x)))
        z = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        alpha, a = schedule.alpha[t], schedule.alpha_bar[t]
        x = (x - (1 - alpha) / (1 - a).sqrt() * eps) / alpha.sqrt()
        variance = (1 - schedule.alpha_bar[t - 1]) / (1 - a) * (1 - alpha)
        x = x + variance.sqrt() * z
        t -= 1
    return x


def by_the_reverse_process(eps_model, schedule, proposals, *, stop_at, generator):
    """passes"""
    if stop_at == 0:
        return proposals
    z = torch.randn(proposals.shape, generator=generator, dtype=proposals.dtype)
    x = dgm.perturb_input(schedule, proposals, stop_at, z)
    times = list(range(stop_at, -1, -1))
    steps = dgm.reverse_process(eps_model, schedule, x, times, dgm.ddpm_step, generator=generator)
    return list(steps)[-1].x


def without_gradients(eps_model, schedule, proposals, *, stop_at, generator):
    """passes"""
    from tqdm import trange

    with torch.no_grad():
        times = (stop_at - i for i in trange(stop_at))
        return _sample(eps_model, schedule, proposals, stop_at, generator, times=times)


def by_the_package(eps_model, schedule, proposals, *, stop_at, generator):
    """this is the one you are to write"""
    return dgm.sample_es_ddpm(eps_model, schedule, proposals, stop_at=stop_at, generator=generator)


def clean_start(eps_model, schedule, proposals, *, stop_at, generator):
    """the network saw proposals without noise"""
    return _sample(
        eps_model, schedule, proposals, stop_at, generator, lambda a, z: proposals.clone()
    )


def noise_only(eps_model, schedule, proposals, *, stop_at, generator):
    """the proposals are not used, this is the noise alone"""
    start = (lambda a, z: z) if stop_at else None
    return _sample(eps_model, schedule, proposals, stop_at, generator, start)


def scaled_noise_only(eps_model, schedule, proposals, *, stop_at, generator):
    """the proposals are left out"""
    start = (lambda a, z: (1 - a).sqrt() * z) if stop_at else None
    return _sample(eps_model, schedule, proposals, stop_at, generator, start)


def from_T(eps_model, schedule, proposals, *, stop_at, generator):
    """start at stop_at"""
    times = range(1000, 0, -1) if stop_at else []
    return _sample(eps_model, schedule, proposals, stop_at, generator, times=times)


def upwards(eps_model, schedule, proposals, *, stop_at, generator):
    """the first call is at t = 1: go down from stop_at to 1"""
    times = range(1, stop_at + 1)
    return _sample(eps_model, schedule, proposals, stop_at, generator, times=times)


def to_zero(eps_model, schedule, proposals, *, stop_at, generator):
    """off by one?"""
    x = _sample(eps_model, schedule, proposals, stop_at, generator)
    if stop_at:
        eps_model(x, torch.zeros(len(x), dtype=torch.int64))
    return x


def one_too_few(eps_model, schedule, proposals, *, stop_at, generator):
    """got 199 from [200] to [2]: off by one?"""
    times = range(stop_at, 1, -1)
    return _sample(eps_model, schedule, proposals, stop_at, generator, times=times)


def one_too_late(eps_model, schedule, proposals, *, stop_at, generator):
    """got 199 from [199] to [1]: off by one?"""
    times = range(stop_at - 1, 0, -1)
    return _sample(eps_model, schedule, proposals, stop_at, generator, times=times)


def one_step_at_zero(eps_model, schedule, proposals, *, stop_at, generator):
    """stop_at = 0 needs no network"""
    return _sample(eps_model, schedule, proposals, max(stop_at, 1), generator)


def uniform(eps_model, schedule, proposals, *, stop_at, generator):
    """the noise is uniform, it must be normal: torch.randn"""
    return _sample(eps_model, schedule, proposals, stop_at, generator, draw=torch.rand)


def not_scaled(eps_model, schedule, proposals, *, stop_at, generator):
    """x0 is not multiplied by the square root of alpha_bar"""
    return _sample(
        eps_model,
        schedule,
        proposals,
        stop_at,
        generator,
        lambda a, z: proposals + (1 - a).sqrt() * z,
    )


def no_root(eps_model, schedule, proposals, *, stop_at, generator):
    """the square root of 1 - alpha_bar is missing"""
    return _sample(
        eps_model,
        schedule,
        proposals,
        stop_at,
        generator,
        lambda a, z: a.sqrt() * proposals + (1 - a) * z,
    )


def no_root_of_alpha_bar(eps_model, schedule, proposals, *, stop_at, generator):
    """the square root of alpha_bar is missing"""
    return _sample(
        eps_model,
        schedule,
        proposals,
        stop_at,
        generator,
        lambda a, z: a * proposals + (1 - a).sqrt() * z,
    )


def no_roots(eps_model, schedule, proposals, *, stop_at, generator):
    """both square roots are missing"""
    return _sample(
        eps_model,
        schedule,
        proposals,
        stop_at,
        generator,
        lambda a, z: a * proposals + (1 - a) * z,
    )


def swapped(eps_model, schedule, proposals, *, stop_at, generator):
    """the factors of x0 and of the noise are swapped"""
    return _sample(
        eps_model,
        schedule,
        proposals,
        stop_at,
        generator,
        lambda a, z: (1 - a).sqrt() * proposals + a.sqrt() * z if stop_at else proposals,
    )


def just_added(eps_model, schedule, proposals, *, stop_at, generator):
    """the noise is added as it is: noise the proposals as the forward process does"""
    return _sample(
        eps_model,
        schedule,
        proposals,
        stop_at,
        generator,
        lambda a, z: proposals + (z if stop_at else 0),
    )


def noised_to_T(eps_model, schedule, proposals, *, stop_at, generator):
    """the proposals are noised to T, not to stop_at"""
    z = torch.randn(proposals.shape, generator=generator, dtype=proposals.dtype)
    x = dgm.perturb_input(schedule, proposals, 1000 if stop_at else 0, z)
    for t in range(stop_at, 0, -1):
        z = torch.randn(proposals.shape, generator=generator, dtype=proposals.dtype)
        x = dgm.ddpm_step(schedule, x, eps_model(x, torch.full((len(x),), t)), t, t - 1, z)
    return x


def noised_too_little(eps_model, schedule, proposals, *, stop_at, generator):
    """off by one: you use t - 1"""
    z = torch.randn(proposals.shape, generator=generator, dtype=proposals.dtype)
    x = dgm.perturb_input(schedule, proposals, max(stop_at - 1, 0), z)
    for t in range(stop_at, 0, -1):
        z = torch.randn(proposals.shape, generator=generator, dtype=proposals.dtype)
        x = dgm.ddpm_step(schedule, x, eps_model(x, torch.full((len(x),), t)), t, t - 1, z)
    return x


def noised_too_much(eps_model, schedule, proposals, *, stop_at, generator):
    """off by one: you use t + 1"""
    z = torch.randn(proposals.shape, generator=generator, dtype=proposals.dtype)
    x = dgm.perturb_input(schedule, proposals, stop_at + 1 if stop_at else 0, z)
    for t in range(stop_at, 0, -1):
        z = torch.randn(proposals.shape, generator=generator, dtype=proposals.dtype)
        x = dgm.ddpm_step(schedule, x, eps_model(x, torch.full((len(x),), t)), t, t - 1, z)
    return x


def by_alpha(eps_model, schedule, proposals, *, stop_at, generator):
    """alpha in place of alpha_bar"""
    alpha = schedule.alpha[stop_at]
    return _sample(
        eps_model,
        schedule,
        proposals,
        stop_at,
        generator,
        lambda a, z: alpha.sqrt() * proposals + (1 - alpha).sqrt() * z,
    )


def large(eps_model, schedule, proposals, *, stop_at, generator):
    """sigma is the large one; the small one is asked for"""

    def step(*arguments):
        return dgm.ddpm_step(*arguments, variance="large")

    return _sample(eps_model, schedule, proposals, stop_at, generator, step=step)


def silent(eps_model, schedule, proposals, *, stop_at, generator):
    """the steps add no noise"""

    def step(schedule, x, eps, t, s, z):
        return dgm.ddpm_step(schedule, x, eps, t, s, 0 * z)

    return _sample(eps_model, schedule, proposals, stop_at, generator, step=step)


def ddim(eps_model, schedule, proposals, *, stop_at, generator):
    """the steps are those of deterministic DDIM: DDPM's are asked for"""
    return _sample(eps_model, schedule, proposals, stop_at, generator, step=dgm.ddim_step)


def never_silent(eps_model, schedule, proposals, *, stop_at, generator):
    """noise is added at the last step"""

    def step(schedule, x, eps, t, s, z):
        x = dgm.ddpm_step(schedule, x, eps, t, s, z)
        return x if s else x + schedule.beta[1].sqrt() * z

    return _sample(eps_model, schedule, proposals, stop_at, generator, step=step)


def same_noise(eps_model, schedule, proposals, *, stop_at, generator):
    """every step gets the same noise: draw it anew"""
    kept = []

    def draw(shape, **keywords):
        if len(kept) < 2:
            kept.append(torch.randn(shape, **keywords))
        return kept[-1]

    return _sample(eps_model, schedule, proposals, stop_at, generator, draw=draw)


def noise_of_the_start(eps_model, schedule, proposals, *, stop_at, generator):
    """the noise of the start is used again in every step"""
    z = torch.randn(proposals.shape, generator=generator, dtype=proposals.dtype)

    def draw(shape, **keywords):
        return z

    return _sample(eps_model, schedule, proposals, stop_at, generator, draw=draw)


def global_noise(eps_model, schedule, proposals, *, stop_at, generator):
    """draw everything from the generator"""
    return _sample(eps_model, schedule, proposals, stop_at, None)


def number(eps_model, schedule, proposals, *, stop_at, generator):
    """the model must get t"""
    return _sample(lambda x, t: eps_model(x, int(t[0])), schedule, proposals, stop_at, generator)


def unchanged(eps_model, schedule, proposals, *, stop_at, generator):
    """200 calls at t = 200"""
    return proposals


def always_noised(eps_model, schedule, proposals, *, stop_at, generator):
    """stop_at = 0 must return the proposals unchanged"""
    x = _sample(eps_model, schedule, proposals, stop_at, generator)
    return x + 0.01 * torch.randn(x.shape, generator=generator)


def the_labs_table(eps_model, schedule, proposals, *, stop_at, generator):
    """the lab's own schedule is read, not the one that is given"""
    return by_a_while_loop(
        eps_model, dgm.NoiseSchedule.linear(), proposals, stop_at=stop_at, generator=generator
    )


def the_labs_table_in_the_steps(eps_model, schedule, proposals, *, stop_at, generator):
    """read all from the argument schedule"""

    def step(_, *rest):
        return dgm.ddpm_step(dgm.NoiseSchedule.linear(), *rest)

    return _sample(eps_model, schedule, proposals, stop_at, generator, step=step)
