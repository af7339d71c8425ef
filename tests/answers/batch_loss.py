import torch
import torch.nn.functional as F

import dgm_helpers as dgm


def _draw(schedule, x0, generator, low=1, more=1):
    t = torch.randint(low, schedule.T + more, (len(x0),), generator=generator)
    return t, torch.randn(x0.shape, generator=generator, dtype=x0.dtype)


def _loss(eps_model, schedule, x0, t, noise):
    x_t = dgm.perturb_input(schedule, x0, t, noise)
    return (noise - eps_model(x_t, t)).square().flatten(1).mean(1)


def _noised(eps_model, schedule, x0, generator, factors, table="alpha_bar"):
    t, noise = _draw(schedule, x0, generator)
    a = getattr(schedule, table)[t].reshape(-1, *[1] * (x0.ndim - 1))
    x, z = factors(a)
    return (noise - eps_model((x * x0 + z * noise).to(x0.dtype), t)).square().flatten(1).mean(1)


def by_mse_loss(eps_model, schedule, x0, generator):
    """passes"""
    t, noise = _draw(schedule, x0, generator)
    eps = eps_model(dgm.perturb_input(schedule, x0, t, noise), t)
    return F.mse_loss(eps, noise, reduction="none").mean(tuple(range(1, x0.ndim)))


def noise_first(eps_model, schedule, x0, generator):
    """passes"""
    noise = torch.randn(x0.shape, generator=generator, dtype=x0.dtype)
    t = torch.randint(schedule.T, (len(x0),), generator=generator) + 1
    return _loss(eps_model, schedule, x0, t, noise)


def by_rounding_up(eps_model, schedule, x0, generator):
    """passes"""
    t = (schedule.T * (1 - torch.rand(len(x0), generator=generator))).ceil().long()
    return _loss(eps_model, schedule, x0, t, torch.empty_like(x0).normal_(generator=generator))


def in_single_precision(eps_model, schedule, x0, generator):
    """passes"""
    t, noise = _draw(schedule, x0, generator)
    a = schedule.alpha_bar.float()[t].view(-1, *[1] * (x0.dim() - 1))
    error = eps_model(a.sqrt() * x0 + (1 - a).sqrt() * noise, t) - noise
    return torch.linalg.vector_norm(error.flatten(1), dim=1) ** 2 / x0[0].numel()


def by_multinomial(eps_model, schedule, x0, generator):
    """passes"""
    p = torch.ones(schedule.T) / schedule.T
    t = 1 + torch.multinomial(p, len(x0), replacement=True, generator=generator)
    return _loss(eps_model, schedule, x0, t, torch.randn(x0.shape, generator=generator))


def with_progress_and_prints(eps_model, schedule, x0, generator):
    """passes"""
    from tqdm.auto import tqdm

    for _ in tqdm([1]):
        t, noise = _draw(schedule, x0, generator)
    print("t", t[:3], "x" * 10**6)
    return _loss(eps_model, schedule, x0, t, noise)


def by_the_package(eps_model, schedule, x0, generator):
    """this is the one you are to write"""
    t, noise = _draw(schedule, x0, generator)
    return dgm.simple_loss(eps_model, schedule, x0, t, noise)


def never_T(eps_model, schedule, x0, generator):
    """t must reach T = 1000, the largest was 999"""
    return _loss(eps_model, schedule, x0, *_draw(schedule, x0, generator, more=0))


def from_zero(eps_model, schedule, x0, generator):
    """t = 0 was drawn"""
    return _loss(eps_model, schedule, x0, *_draw(schedule, x0, generator, low=0))


def one_t(eps_model, schedule, x0, generator):
    """got one t for the whole batch"""
    t, noise = _draw(schedule, x0, generator)
    return _loss(eps_model, schedule, x0, t[:1].expand(len(t)), noise)


def always_the_end(eps_model, schedule, x0, generator):
    """got one t for the whole batch"""
    t, noise = _draw(schedule, x0, generator)
    return _loss(eps_model, schedule, x0, torch.full_like(t, schedule.T), noise)


def int_t(eps_model, schedule, x0, generator):
    """the model must get t as a torch.int64 tensor"""
    t, noise = _draw(schedule, x0, generator)
    return _loss(lambda x, _: eps_model(x, t[0].item()), schedule, x0, t, noise)


def float_t(eps_model, schedule, x0, generator):
    """the model must get t as a torch.int64 tensor"""
    t, noise = _draw(schedule, x0, generator)
    return _loss(lambda x, t: eps_model(x, t / schedule.T), schedule, x0, t, noise)


def column_t(eps_model, schedule, x0, generator):
    """the model must get t as a torch.int64 tensor"""
    t, noise = _draw(schedule, x0, generator)
    return _loss(lambda x, t: eps_model(x, t[:, None]), schedule, x0, t, noise)


def late_t_preferred(eps_model, schedule, x0, generator):
    """fell into the ten tenths"""
    t, noise = _draw(schedule, x0, generator)
    other, _ = _draw(schedule, x0, generator)
    return _loss(eps_model, schedule, x0, torch.maximum(t, other), noise)


def normal_t(eps_model, schedule, x0, generator):
    """every picture needs its own t, uniform in 1…T"""
    _, noise = _draw(schedule, x0, generator)
    t = 500 + 200 * torch.randn(len(x0), generator=generator)
    return _loss(eps_model, schedule, x0, t.long().clamp(1, 1000), noise)


def every_tenth(eps_model, schedule, x0, generator):
    """every picture needs its own t, uniform in 1…T"""
    t, noise = _draw(schedule, x0, generator)
    return _loss(eps_model, schedule, x0, (t + 9) // 10 * 10, noise)


def in_a_row(eps_model, schedule, x0, generator):
    """t does not change from call to call: draw it from the generator"""
    _, noise = _draw(schedule, x0, generator)
    t = 1 + torch.arange(len(x0)) % schedule.T
    return _loss(eps_model, schedule, x0, t, noise)


def global_t(eps_model, schedule, x0, generator):
    """draw everything from the generator"""
    _, noise = _draw(schedule, x0, generator)
    return _loss(eps_model, schedule, x0, torch.randint(1, 1001, (len(x0),)), noise)


def global_noise(eps_model, schedule, x0, generator):
    """draw everything from the generator"""
    t, _ = _draw(schedule, x0, generator)
    return _loss(eps_model, schedule, x0, t, torch.randn_like(x0))


def seeded_anew(eps_model, schedule, x0, generator):
    """two generators give the same draws: do not seed it inside, every batch would be the same"""
    generator.manual_seed(7)
    return _loss(eps_model, schedule, x0, *_draw(schedule, x0, generator))


def own_generator(eps_model, schedule, x0, generator):
    """two generators give the same draws: do not seed it inside, every batch would be the same"""
    return _loss(eps_model, schedule, x0, *_draw(schedule, x0, dgm.seeded(3)))


def rademacher(eps_model, schedule, x0, generator):
    """fourth moment is 1.00"""
    t, noise = _draw(schedule, x0, generator)
    return _loss(eps_model, schedule, x0, t, noise.sign())


def uniform(eps_model, schedule, x0, generator):
    """not standard normal: its mean is 0.50"""
    t, _ = _draw(schedule, x0, generator)
    return _loss(eps_model, schedule, x0, t, torch.rand(x0.shape, generator=generator))


def centred_uniform(eps_model, schedule, x0, generator):
    """fourth moment is 1.8"""
    t, _ = _draw(schedule, x0, generator)
    noise = 12**0.5 * (torch.rand(x0.shape, generator=generator) - 0.5)
    return _loss(eps_model, schedule, x0, t, noise)


def small_noise(eps_model, schedule, x0, generator):
    """not standard normal"""
    t, noise = _draw(schedule, x0, generator)
    return _loss(eps_model, schedule, x0, t, 0.5 * noise)


def clipped_noise(eps_model, schedule, x0, generator):
    """not standard normal"""
    t, noise = _draw(schedule, x0, generator)
    return _loss(eps_model, schedule, x0, t, noise.clamp(-1, 1))


def shared_noise(eps_model, schedule, x0, generator):
    """all pictures got the same noise"""
    t, noise = _draw(schedule, x0, generator)
    return _loss(eps_model, schedule, x0, t, noise[:1].expand(x0.shape))


def one_number_of_noise(eps_model, schedule, x0, generator):
    """all values of a picture got the same noise"""
    t, noise = _draw(schedule, x0, generator)
    noise = noise.flatten(1)[:, 0].reshape(-1, *[1] * (x0.ndim - 1)).expand(x0.shape)
    return _loss(eps_model, schedule, x0, t, noise)


def target_x0(eps_model, schedule, x0, generator):
    """is x0 the target?"""
    t, noise = _draw(schedule, x0, generator)
    x_t = dgm.perturb_input(schedule, x0, t, noise)
    return (x0 - eps_model(x_t, t)).square().flatten(1).mean(1)


def target_x_t(eps_model, schedule, x0, generator):
    """the target is x_t"""
    t, noise = _draw(schedule, x0, generator)
    x_t = dgm.perturb_input(schedule, x0, t, noise)
    return (x_t - eps_model(x_t, t)).square().flatten(1).mean(1)


def target_scaled_noise(eps_model, schedule, x0, generator):
    """the target is scaled noise, it should be the noise"""
    t, noise = _draw(schedule, x0, generator)
    x_t = dgm.perturb_input(schedule, x0, t, noise)
    b = dgm.perturb_input(schedule, 0 * x0, t, noise)
    return (b - eps_model(x_t, t)).square().flatten(1).mean(1)


def other_noise(eps_model, schedule, x0, generator):
    """is the noise of the loss the noise in x_t?"""
    t, noise = _draw(schedule, x0, generator)
    x_t = dgm.perturb_input(schedule, x0, t, noise)
    noise = torch.randn(x0.shape, generator=generator)
    return (noise - eps_model(x_t, t)).square().flatten(1).mean(1)


def clean_input(eps_model, schedule, x0, generator):
    """the model got x0, noise it first"""
    t, noise = _draw(schedule, x0, generator)
    return (noise - eps_model(x0, t)).square().flatten(1).mean(1)


def pure_noise_input(eps_model, schedule, x0, generator):
    """the model got noise without x0"""
    t, noise = _draw(schedule, x0, generator)
    return (noise - eps_model(noise, t)).square().flatten(1).mean(1)


def absolute(eps_model, schedule, x0, generator):
    """the absolute error: the square is asked for"""
    t, noise = _draw(schedule, x0, generator)
    eps = eps_model(dgm.perturb_input(schedule, x0, t, noise), t)
    return F.l1_loss(eps, noise, reduction="none").flatten(1).mean(1)


def huber(eps_model, schedule, x0, generator):
    """Huber's loss: the square is asked for"""
    t, noise = _draw(schedule, x0, generator)
    eps = eps_model(dgm.perturb_input(schedule, x0, t, noise), t)
    return F.smooth_l1_loss(eps, noise, reduction="none").flatten(1).mean(1)


def summed(eps_model, schedule, x0, generator):
    """the sum over the values instead of the mean"""
    return x0[0].numel() * by_mse_loss(eps_model, schedule, x0, generator)


def half(eps_model, schedule, x0, generator):
    """half the mean square"""
    return by_mse_loss(eps_model, schedule, x0, generator) / 2


def rooted(eps_model, schedule, x0, generator):
    """leave out the root"""
    return by_mse_loss(eps_model, schedule, x0, generator).sqrt()


def for_the_whole_batch(eps_model, schedule, x0, generator):
    """one loss per picture"""
    return by_mse_loss(eps_model, schedule, x0, generator).mean()


def added(eps_model, schedule, x0, generator):
    """added to the noise, not subtracted"""
    return by_mse_loss(lambda x, t: -eps_model(x, t), schedule, x0, generator)


def weighted(eps_model, schedule, x0, generator):
    """the loss of a picture is multiplied by a weight: every t counts alike"""
    seen = []

    def spy(x, t):
        seen.append(t)
        return eps_model(x, t)

    loss = by_mse_loss(spy, schedule, x0, generator)
    return loss * (1 - schedule.alpha_bar[seen[0]])


def untrained(eps_model, schedule, x0, generator):
    """so it cannot train"""
    with torch.no_grad():
        return by_mse_loss(eps_model, schedule, x0, generator)


def detached(eps_model, schedule, x0, generator):
    """so it cannot train"""
    return by_mse_loss(lambda x, t: eps_model(x, t).detach(), schedule, x0, generator)


def numbers(eps_model, schedule, x0, generator):
    """must be a float tensor of shape (20000,), got list"""
    return by_mse_loss(eps_model, schedule, x0, generator).tolist()


def own_model(eps_model, schedule, x0, generator):
    """eps_model was not called"""
    return by_mse_loss(lambda x, t: 0 * x, schedule, x0, generator)


def both_roots(eps_model, schedule, x0, generator):
    """both square roots are missing"""
    return _noised(eps_model, schedule, x0, generator, lambda a: (a, 1 - a))


def noise_root(eps_model, schedule, x0, generator):
    """the square root of 1 - alpha_bar is missing"""
    return _noised(eps_model, schedule, x0, generator, lambda a: (a.sqrt(), 1 - a))


def swapped(eps_model, schedule, x0, generator):
    """the factors of x0 and of the noise are swapped"""
    return _noised(eps_model, schedule, x0, generator, lambda a: ((1 - a).sqrt(), a.sqrt()))


def of_alpha(eps_model, schedule, x0, generator):
    """alpha in place of alpha_bar"""
    return _noised(
        eps_model, schedule, x0, generator, lambda a: (a.sqrt(), (1 - a).sqrt()), "alpha"
    )


def one_early(eps_model, schedule, x0, generator):
    """off by one: you use t - 1"""
    t, noise = _draw(schedule, x0, generator)
    x_t = dgm.perturb_input(schedule, x0, t - 1, noise)
    return (noise - eps_model(x_t, t)).square().flatten(1).mean(1)


def reshaped_wrongly(eps_model, schedule, x0, generator):
    """(B, 1, …, 1)"""
    t, noise = _draw(schedule, x0, generator)
    a = schedule.alpha_bar[t].float()
    x_t = a.sqrt() * x0 + (1 - a).sqrt() * noise
    return (noise - eps_model(x_t, t)).square().flatten(1).mean(1)


def clipped_input(eps_model, schedule, x0, generator):
    """x_t is clipped"""
    t, noise = _draw(schedule, x0, generator)
    x_t = dgm.perturb_input(schedule, x0, t, noise).clamp(-1, 1)
    return (noise - eps_model(x_t, t)).square().flatten(1).mean(1)


def the_labs_table(eps_model, schedule, x0, generator):
    """the lab's own schedule is read, not the one that is given"""
    t, noise = _draw(schedule, x0, generator)
    return _loss(eps_model, dgm.NoiseSchedule.linear(), x0, t, noise)


def the_labs_schedule(eps_model, schedule, x0, generator):
    """another schedule, T = 730: t must end there, the largest was"""
    return by_mse_loss(eps_model, dgm.NoiseSchedule.linear(), x0, generator)


def the_labs_table_at_the_noise(eps_model, schedule, x0, generator):
    """read the factor of the noise from the argument schedule"""
    t, noise = _draw(schedule, x0, generator)
    linear = dgm.NoiseSchedule.linear()
    x_t = dgm.perturb_input(schedule, x0, t, 0 * noise) + dgm.perturb_input(
        linear, 0 * x0, t, noise
    )
    return (noise - eps_model(x_t, t)).square().flatten(1).mean(1)


def a_thousand_timesteps(eps_model, schedule, x0, generator):
    """here T = 730: draw t from 1…T"""
    t = torch.randint(1, 1001, (len(x0),), generator=generator)
    noise = torch.randn(x0.shape, generator=generator)
    a = schedule.alpha_bar[t].reshape(-1, *[1] * (x0.ndim - 1))
    x_t = (a.sqrt() * x0 + (1 - a).sqrt() * noise).to(x0.dtype)
    return (noise - eps_model(x_t, t)).square().flatten(1).mean(1)
