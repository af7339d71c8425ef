import math
import warnings

import numpy as np
import torch

import dgm_helpers as dgm
from dgm_helpers.diffusion import perturb_input as earlier_alias


def _a(schedule, x0, t):
    return schedule.alpha_bar[t].reshape(-1, *[1] * (x0.ndim - 1))


def _like(x0, a, x0_factor, noise, factor):
    return (x0_factor * x0 + factor * noise).to(x0.dtype)


def by_einsum(schedule, x0, t, noise):
    """passes"""
    a = schedule.alpha_bar.float()[t]
    return torch.einsum("b,b...->b...", a**0.5, x0) + torch.einsum(
        "b,b...->b...", (1 - a) ** 0.5, noise
    )


def by_a_loop(schedule, x0, t, noise):
    """passes"""
    rows = []
    for i in range(len(t)):
        a = float(schedule.alpha_bar[t[i]])
        rows.append(math.sqrt(a) * x0[i] + math.sqrt(1 - a) * noise[i])
    return torch.stack(rows)


def by_a_copied_tensor(schedule, x0, t, noise):
    """passes"""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        a = torch.tensor(schedule.alpha_bar[t])  # warns
    a = a.view(-1, *(1,) * (x0.dim() - 1))
    return (a.sqrt() * x0 + (1 - a).sqrt() * noise).float()


def by_complex_numbers(schedule, x0, t, noise):
    """passes"""
    a = _a(schedule, x0, t).to(torch.complex128)
    return (torch.sqrt(a) * x0 + torch.sqrt(1 - a) * noise).to(x0.dtype)


def by_transposing(schedule, x0, t, noise):
    """passes"""
    a = schedule.alpha_bar[t]
    signal, rest = (y.movedim(0, -1) for y in (x0, noise))  # the batch last
    return (a.sqrt() * signal + (1 - a).sqrt() * rest).movedim(-1, 0).to(x0.dtype)


def with_gradients(schedule, x0, t, noise):
    """passes"""
    return by_einsum(schedule, x0.requires_grad_(), t, noise)


def by_lerp_and_numpy(schedule, x0, t, noise):
    """passes"""
    a = _a(schedule, x0, t).numpy()
    return torch.from_numpy(np.sqrt(a) * x0.numpy() + np.sqrt(1 - a) * noise.numpy()).float()


def by_my_own_product(schedule, x0, t, noise):
    """passes"""
    a = torch.cumprod(1 - schedule.beta, 0)[t].reshape(-1, *[1] * (x0.ndim - 1)).float()
    return x0 * a.sqrt() + noise * (1 - a).sqrt()


def with_a_progress_bar(schedule, x0, t, noise):
    """passes"""
    from tqdm import tqdm

    rows = [
        by_einsum(schedule, x0[i][None], t[i][None], noise[i][None]) for i in tqdm(range(len(t)))
    ]
    return torch.cat(rows)


def both_roots(schedule, x0, t, noise):
    """both square roots are missing"""
    a = _a(schedule, x0, t)
    return _like(x0, a, a, noise, 1 - a)


def noise_root(schedule, x0, t, noise):
    """the square root of 1 - alpha_bar is missing"""
    a = _a(schedule, x0, t)
    return _like(x0, a, a.sqrt(), noise, 1 - a)


def signal_root(schedule, x0, t, noise):
    """the square root of alpha_bar is missing"""
    a = _a(schedule, x0, t)
    return _like(x0, a, a, noise, (1 - a).sqrt())


def variance_exploding(schedule, x0, t, noise):
    """x0 is not multiplied by the square root of alpha_bar"""
    return _like(x0, 0, 1, noise, (1 - _a(schedule, x0, t)).sqrt())


def added(schedule, x0, t, noise):
    """the noise is not multiplied by the square root of 1 - alpha_bar"""
    return _like(x0, 0, _a(schedule, x0, t).sqrt(), noise, 1)


def one_minus_root(schedule, x0, t, noise):
    """the noise is multiplied by 1 - sqrt(alpha_bar): the root is that of 1 - alpha_bar"""
    a = _a(schedule, x0, t).sqrt()
    return _like(x0, a, a, noise, 1 - a)


def same_factor(schedule, x0, t, noise):
    """the noise is multiplied by the square root of alpha_bar, that of 1 - alpha_bar belongs there"""
    a = _a(schedule, x0, t).sqrt()
    return _like(x0, a, a, noise, a)


def by_sigma(schedule, x0, t, noise):
    """the noise is divided by sqrt(alpha_bar): that is the scaled process x0 + sigma noise"""
    a = _a(schedule, x0, t)
    return _like(x0, a, 1, noise, ((1 - a) / a).sqrt())


def squared(schedule, x0, t, noise):
    """the factors are squared once more, not rooted"""
    a = _a(schedule, x0, t)
    return _like(x0, a, a**2, noise, (1 - a) ** 2)


def swapped(schedule, x0, t, noise):
    """the factors of x0 and of the noise are swapped"""
    a = _a(schedule, x0, t)
    return _like(x0, a, (1 - a).sqrt(), noise, a.sqrt())


def subtracted(schedule, x0, t, noise):
    """the noise is subtracted, not added"""
    return by_einsum(schedule, x0, t, -noise)


def minus_x0(schedule, x0, t, noise):
    """the sign of x0 is wrong"""
    return by_einsum(schedule, -x0, t, noise)


def one_early(schedule, x0, t, noise):
    """off by one: you use t - 1"""
    return by_einsum(schedule, x0, t - 1, noise)


def one_early_clamped(schedule, x0, t, noise):
    """off by one: you use t - 1"""
    return by_einsum(schedule, x0, (t - 1).clamp(min=0), noise)


def one_late(schedule, x0, t, noise):
    """off by one: you use t + 1"""
    return by_einsum(schedule, x0, (t + 1).clamp(max=1000), noise)


def without_the_leading_one(schedule, x0, t, noise):
    """off by one: you use t + 1"""
    a = schedule.alpha_bar[1:][t.clamp(max=999)].reshape(-1, *[1] * (x0.ndim - 1))
    return _like(x0, a, a.sqrt(), noise, (1 - a).sqrt())


def backwards(schedule, x0, t, noise):
    """alpha_bar is read at T - t"""
    return by_einsum(schedule, x0, 1000 - t, noise)


def to_the_end(schedule, x0, t, noise):
    """the product runs to T, not to t"""
    return by_einsum(schedule, x0, torch.full_like(t, 1000), noise)


def of_alpha(schedule, x0, t, noise):
    """alpha in place of alpha_bar"""
    a = schedule.alpha[t].reshape(-1, *[1] * (x0.ndim - 1))
    return _like(x0, a, a.sqrt(), noise, (1 - a).sqrt())


def of_beta(schedule, x0, t, noise):
    """beta in place of alpha_bar"""
    a = schedule.beta[t].reshape(-1, *[1] * (x0.ndim - 1))
    return _like(x0, a, a.sqrt(), noise, (1 - a).sqrt())


def of_beta_swapped(schedule, x0, t, noise):
    """beta is that of one step; from x0 to x_t it is 1 - alpha_bar"""
    a, b = (y[t].reshape(-1, *[1] * (x0.ndim - 1)) for y in (schedule.alpha_bar, schedule.beta))
    return _like(x0, a, a.sqrt(), noise, b.sqrt())


def summed_beta(schedule, x0, t, noise):
    """alpha_bar is 1 minus the sum of beta: take the product of 1 - beta"""
    a = (1 - schedule.beta.cumsum(0)).clamp(min=0)[t].reshape(-1, *[1] * (x0.ndim - 1))
    return _like(x0, a, a.sqrt(), noise, (1 - a).sqrt())


def first_t(schedule, x0, t, noise):
    """t[0] is used for the whole batch: each item has its own t"""
    return by_einsum(schedule, x0, t[:1].expand(len(t)), noise)


def first_t_as_a_number(schedule, x0, t, noise):
    """t[0] is used for the whole batch: each item has its own t"""
    a = schedule.alpha_bar[t[0].item()]
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


def last_t(schedule, x0, t, noise):
    """t[-1] is used for the whole batch: each item has its own t"""
    return by_einsum(schedule, x0, t[-1:].expand(len(t)), noise)


def largest_t(schedule, x0, t, noise):
    """the largest t is used for the whole batch: each item has its own t"""
    return by_einsum(schedule, x0, t.max().expand(len(t)), noise)


def mean_alpha_bar(schedule, x0, t, noise):
    """the mean of alpha_bar over the batch is used: each item has its own"""
    a = schedule.alpha_bar[t].mean()
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


def int_of_t(schedule, x0, t, noise):
    """t holds a timestep for each item"""
    a = schedule.alpha_bar[int(t)]
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


def item_of_t(schedule, x0, t, noise):
    """t holds a timestep for each item"""
    a = schedule.alpha_bar[t.item()]
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


def clipped(schedule, x0, t, noise):
    """x_t is clipped to [-1, 1]: noise may lie outside"""
    return by_einsum(schedule, x0, t, noise).clamp(-1, 1)


def clipped_start(schedule, x0, t, noise):
    """x0 is clipped to [-1, 1]: leave it as it is"""
    return by_einsum(schedule, x0.clamp(-1, 1), t, noise)


def own_noise(schedule, x0, t, noise):
    """the noise is given, do not draw it anew"""
    return by_einsum(schedule, x0, t, torch.randn_like(x0))


def own_noise_seeded(schedule, x0, t, noise):
    """the noise that is given is not used"""
    torch.manual_seed(0)
    return by_einsum(schedule, x0, t, torch.randn(x0.shape))


def only_the_noise(schedule, x0, t, noise):
    """x0 is not used, this is the noise alone"""
    return (1 - _a(schedule, x0, t)).sqrt().float() * noise


def no_reshape(schedule, x0, t, noise):
    """alpha_bar[t] needs the shape (B, 1, …, 1)"""
    a = schedule.alpha_bar[t]
    return (a.sqrt() * x0 + (1 - a).sqrt() * noise).float()


def only_pictures(schedule, x0, t, noise):
    """with as many axes as x0"""
    a = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    return (a.sqrt() * x0 + (1 - a).sqrt() * noise).float()


def double(schedule, x0, t, noise):
    """cast back from float64"""
    a = _a(schedule, x0, t)
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


def in_place(schedule, x0, t, noise):
    """changed its argument x0 in place"""
    a = _a(schedule, x0, t).float()
    x0 *= a.sqrt()
    return x0 + (1 - a).sqrt() * noise


def printed(schedule, x0, t, noise):
    """is a return missing?"""
    print(by_einsum(schedule, x0, t, noise))


def typo(schedule, x0, t, noise):
    """your function raised RuntimeError: Expected one of cpu, cuda"""
    return by_einsum(schedule, x0.to("gpu"), t, noise)


def leaves(schedule, x0, t, noise):
    """your function raised SystemExit"""
    raise SystemExit(0)


def asks(schedule, x0, t, noise):
    """your function waits for input"""
    input("t? ")
    return by_einsum(schedule, x0, t, noise)


def recursive(schedule, x0, t, noise):
    """your function raised RecursionError"""
    return recursive(schedule, x0, t, noise)


def huge(schedule, x0, t, noise):
    """a check allows 4 GiB more"""
    return torch.ones(10**12) * x0


def tenth_part_wrong(schedule, x0, t, noise):
    """... the factor of noise is"""
    a = _a(schedule, x0, t).float()
    return a.sqrt() * x0 + 0.9 * (1 - a).sqrt() * noise


def the_packages(schedule, x0, t, noise):
    """this is the one you are to write"""
    return dgm.perturb_input(schedule, x0, t, noise)


def the_packages_by_an_alias(schedule, x0, t, noise):
    """this is the one you are to write"""
    return earlier_alias(schedule, x0, t, noise)


def the_packages_by_its_module(schedule, x0, t, noise):
    """this is the one you are to write"""
    import dgm_helpers.diffusion

    return dgm_helpers.diffusion.perturb_input(schedule, x0, t, noise)


def the_packages_indirectly(schedule, x0, t, noise):
    """this is the one you are to write"""
    seen = []

    def spy(x_t, t):
        seen.append(x_t)
        return noise

    dgm.simple_loss(spy, schedule, x0, t, noise)
    return seen[0]


def root_of_a_root(schedule, x0, t, noise):
    """alpha_bar is rooted twice: the factors are sqrt(alpha_bar) and sqrt(1 - alpha_bar)"""
    a = _a(schedule, x0, t).sqrt()
    return _like(x0, a, a.sqrt(), noise, (1 - a).sqrt())


def root_of_a_root_at_x0(schedule, x0, t, noise):
    """x0 is multiplied by the fourth root of alpha_bar: take the square root once"""
    a = _a(schedule, x0, t)
    return _like(x0, a, a**0.25, noise, (1 - a).sqrt())


def root_of_one_minus_the_root(schedule, x0, t, noise):
    """the noise is multiplied by sqrt(1 - sqrt(alpha_bar)): the root is that of 1 - alpha_bar"""
    a = _a(schedule, x0, t)
    return _like(x0, a, a.sqrt(), noise, (1 - a.sqrt()).sqrt())


def root_of_a_root_at_the_noise(schedule, x0, t, noise):
    """the noise is multiplied by the fourth root of 1 - alpha_bar: take the square root once"""
    a = _a(schedule, x0, t)
    return _like(x0, a, a.sqrt(), noise, (1 - a) ** 0.25)


def brackets(schedule, x0, t, noise):
    """... it is not a sum of factors times x0 and noise"""
    a = _a(schedule, x0, t)
    return (a.sqrt() * x0 + (1 - a.sqrt() * noise)).to(x0.dtype)


def the_labs_table(schedule, x0, t, noise):
    """the lab's own schedule is read, not the one that is given"""
    return by_einsum(dgm.NoiseSchedule.linear(), x0, t, noise)


def the_labs_table_at_the_noise(schedule, x0, t, noise):
    """read all from the argument schedule"""
    a, b = _a(schedule, x0, t), _a(dgm.NoiseSchedule.linear(), x0, t)
    return _like(x0, a, a.sqrt(), noise, (1 - b).sqrt())
