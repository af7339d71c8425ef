import torch

import dgm_helpers as dgm


def _read(schedule, t, s):
    return schedule.alpha_bar[t], schedule.alpha_bar[s]


def _sigma2(a_t, a_s, eta):
    return eta**2 * (1 - a_s) / (1 - a_t) * (1 - a_t / a_s)


def _step(x_t, eps, noise, a_t, a_s, sigma2, taken=None):
    start = (x_t - (1 - a_t).sqrt() * eps) / a_t.sqrt()
    taken = sigma2 if taken is None else taken
    x_s = a_s.sqrt() * start + (1 - a_s - taken).clamp(min=0).sqrt() * eps
    return x_s if noise is None else x_s + sigma2.sqrt() * noise


def by_x0_hat(schedule, x_t, eps, t, s, noise, eta=0.0):
    """passes"""
    a_t, a_s = _read(schedule, t, s)
    start = (x_t - torch.sqrt(1 - a_t) * eps) / torch.sqrt(a_t)
    sigma = eta * torch.sqrt((1 - a_s) / (1 - a_t)) * torch.sqrt(1 - a_t / a_s)
    x_s = a_s**0.5 * start + torch.sqrt(1 - a_s - sigma**2) * eps
    return x_s if eta == 0 else x_s + sigma * noise


def in_single_precision(schedule, x_t, eps, t, s, noise, eta=0.0):
    """passes"""
    a_t, a_s = (y.float() for y in _read(schedule, t, s))
    return _step(
        x_t.float(),
        eps.float(),
        None if noise is None else noise.float(),
        a_t,
        a_s,
        _sigma2(a_t, a_s, eta),
    ).to(x_t.dtype)


def by_scaled_states(schedule, x_t, eps, t, s, noise, eta=0.0):
    """passes"""
    a_t, a_s = _read(schedule, t, s)
    sigma2 = _sigma2(a_t, a_s, eta)
    slope = (1 - a_s - sigma2).sqrt() - (a_s * (1 - a_t) / a_t).sqrt()
    x_s = (a_s / a_t).sqrt() * x_t + slope * eps
    return x_s + (sigma2.sqrt() * noise if eta else 0.0)


def by_the_package(schedule, x_t, eps, t, s, noise, eta=0.0):
    """this is the one you are to write"""
    return dgm.ddim_step(schedule, x_t, eps, t, s, noise, eta)


def by_the_packages_sampler(schedule, x_t, eps, t, s, noise, eta=0.0):
    """this is the one you are to write"""
    return dgm.sample_ddim(lambda x, t: eps, schedule, x_t, steps=2)


def no_noise(schedule, x_t, eps, t, s, noise, eta=0.0):
    """sigma z is missing"""
    a_t, a_s = _read(schedule, t, s)
    return _step(x_t, eps, None, a_t, a_s, _sigma2(a_t, a_s, eta))


def eta_ignored(schedule, x_t, eps, t, s, noise, eta=0.0):
    """sigma z is missing"""
    return by_x0_hat(schedule, x_t, eps, t, s, noise)


def subtracted(schedule, x_t, eps, t, s, noise, eta=0.0):
    """sigma z is subtracted, not added"""
    return by_x0_hat(schedule, x_t, eps, t, s, -noise if eta else None, eta)


def large(schedule, x_t, eps, t, s, noise, eta=0.0):
    """sigma is the large one; the small one is asked for"""
    a_t, a_s = _read(schedule, t, s)
    sigma2 = eta**2 * (1 - a_t / a_s) * (s > 0)
    return _step(x_t, eps, noise, a_t, a_s, sigma2)


def variance(schedule, x_t, eps, t, s, noise, eta=0.0):
    """z is multiplied by the variance, not by its square root"""
    sigma2 = _sigma2(*_read(schedule, t, s), eta)
    return by_x0_hat(
        schedule, x_t, eps, t, s, noise if noise is None else sigma2.sqrt() * noise, eta
    )


def root_of_eta(schedule, x_t, eps, t, s, noise, eta=0.0):
    """eta stands under the square root: sigma is eta times the root"""
    return by_x0_hat(schedule, x_t, eps, t, s, noise, eta**0.5)


def eta_squared(schedule, x_t, eps, t, s, noise, eta=0.0):
    """eta is squared in sigma: it is eta times the root"""
    return by_x0_hat(schedule, x_t, eps, t, s, noise, eta**2)


def always_one(schedule, x_t, eps, t, s, noise, eta=0.0):
    """eta is not used: sigma is eta times the root"""
    return by_x0_hat(schedule, x_t, eps, t, s, noise, 1.0)


def sigma_is_eta(schedule, x_t, eps, t, s, noise, eta=0.0):
    """sigma is eta itself: it is eta times the root of the small variance"""
    a_t, a_s = _read(schedule, t, s)
    return _step(x_t, eps, noise, a_t, a_s, torch.tensor(eta) ** 2 * (s > 0))


def upside_down(schedule, x_t, eps, t, s, noise, eta=0.0):
    """t and s are swapped in (1 - alpha_bar_s) / (1 - alpha_bar_t)"""
    a_t, a_s = _read(schedule, t, s)
    sigma2 = eta**2 * (1 - a_t) / (1 - a_s) * (1 - a_t / a_s) if s else 0 * a_t
    return _step(x_t, eps, noise, a_t, a_s, sigma2)


def upside_down_ratio(schedule, x_t, eps, t, s, noise, eta=0.0):
    """alpha_bar_t / alpha_bar_s upside down"""
    a_t, a_s = _read(schedule, t, s)
    return _step(x_t, eps, noise, a_t, a_s, eta**2 * (1 - a_s) / (1 - a_t) * (1 - a_s / a_t))


def no_step(schedule, x_t, eps, t, s, noise, eta=0.0):
    """1 - alpha_bar_t / alpha_bar_s is missing in sigma"""
    a_t, a_s = _read(schedule, t, s)
    return _step(x_t, eps, noise, a_t, a_s, eta**2 * (1 - a_s) / (1 - a_t))


def one_step_sigma(schedule, x_t, eps, t, s, noise, eta=0.0):
    """alpha_t leads from t - 1 to t; from s to t it is alpha_bar_t / alpha_bar_s"""
    a_t, a_s = _read(schedule, t, s)
    sigma2 = eta**2 * (1 - a_s) / (1 - a_t) * (1 - schedule.alpha[t])
    return _step(x_t, eps, noise, a_t, a_s, sigma2)


def one_minus_alpha_bar_t(schedule, x_t, eps, t, s, noise, eta=0.0):
    """1 - alpha_bar_t stands in sigma where 1 - alpha_bar_t / alpha_bar_s belongs"""
    a_t, a_s = _read(schedule, t, s)
    return _step(x_t, eps, noise, a_t, a_s, eta**2 * (1 - a_s) / (1 - a_t) * (1 - a_t))


def last_step(schedule, x_t, eps, t, s, noise, eta=0.0):
    """noise is added at the last step"""
    return by_x0_hat(schedule, x_t, eps, t, s, noise, eta) + (0.1 * noise if s == 0 else 0)


def always_noise(schedule, x_t, eps, t, s, noise, eta=0.0):
    """noise is added where eta is 0"""
    return by_x0_hat(schedule, x_t, eps, t, s, noise, eta) + (0.1 * noise if eta == 0 else 0)


def nothing_taken(schedule, x_t, eps, t, s, noise, eta=0.0):
    """sigma^2 is not taken off the old noise"""
    a_t, a_s = _read(schedule, t, s)
    return _step(x_t, eps, noise, a_t, a_s, _sigma2(a_t, a_s, eta), taken=0)


def sigma_taken_inside(schedule, x_t, eps, t, s, noise, eta=0.0):
    """sigma is taken off under the root: it is sigma^2"""
    a_t, a_s = _read(schedule, t, s)
    sigma2 = _sigma2(a_t, a_s, eta)
    return _step(x_t, eps, noise, a_t, a_s, sigma2, taken=sigma2.sqrt())


def added_under_the_root(schedule, x_t, eps, t, s, noise, eta=0.0):
    """sigma^2 is added under the root: it is taken off"""
    a_t, a_s = _read(schedule, t, s)
    sigma2 = _sigma2(a_t, a_s, eta)
    return _step(x_t, eps, noise, a_t, a_s, sigma2, taken=-sigma2)


def sigma_behind(schedule, x_t, eps, t, s, noise, eta=0.0):
    """sigma^2 is taken off under the root, not sigma behind it"""
    a_t, a_s = _read(schedule, t, s)
    sigma = _sigma2(a_t, a_s, eta).sqrt()
    return _step(x_t, eps, noise, a_t, a_s, sigma**2, taken=0) - sigma * eps


def _bare(schedule, x_t, eps, t, s, noise, eta, which):
    a_t, a_s = _read(schedule, t, s)
    sigma2 = _sigma2(a_t, a_s, eta)
    values = [a_t, 1 - a_t, a_s, 1 - a_s - sigma2]
    a, b, c, d = (y if i == which else y.clamp(min=0).sqrt() for i, y in enumerate(values))
    x_s = c * (x_t - b * eps) / a + d * eps
    return x_s if noise is None else x_s + sigma2.sqrt() * noise


def bare_alpha_bar_t(schedule, x_t, eps, t, s, noise, eta=0.0):
    """the square root of alpha_bar_t is missing"""
    return _bare(schedule, x_t, eps, t, s, noise, eta, 0)


def bare_rest_at_t(schedule, x_t, eps, t, s, noise, eta=0.0):
    """the square root of 1 - alpha_bar_t is missing"""
    return _bare(schedule, x_t, eps, t, s, noise, eta, 1)


def bare_alpha_bar_s(schedule, x_t, eps, t, s, noise, eta=0.0):
    """the square root of alpha_bar_s is missing"""
    return _bare(schedule, x_t, eps, t, s, noise, eta, 2)


def bare_rest_at_s(schedule, x_t, eps, t, s, noise, eta=0.0):
    """the square root of 1 - alpha_bar_s - sigma^2 is missing"""
    return _bare(schedule, x_t, eps, t, s, noise, eta, 3)


def wrong_sign(schedule, x_t, eps, t, s, noise, eta=0.0):
    """the sign of eps in x0_hat is wrong: the noise is taken off"""
    a_t, a_s = _read(schedule, t, s)
    sigma2 = _sigma2(a_t, a_s, eta)
    there = (1 - a_s - sigma2).sqrt() * eps
    return 2 * there + by_x0_hat(schedule, x_t, -eps, t, s, noise, eta)


def direction_subtracted(schedule, x_t, eps, t, s, noise, eta=0.0):
    """the old noise is subtracted, not added to x0_hat"""
    a_t, a_s = _read(schedule, t, s)
    there = (1 - a_s - _sigma2(a_t, a_s, eta)).sqrt() * eps
    return by_x0_hat(schedule, x_t, eps, t, s, noise, eta) - 2 * there


def no_direction(schedule, x_t, eps, t, s, noise, eta=0.0):
    """the old noise eps is not added to x0_hat"""
    a_t, a_s = _read(schedule, t, s)
    there = (1 - a_s - _sigma2(a_t, a_s, eta)).sqrt() * eps
    return by_x0_hat(schedule, x_t, eps, t, s, noise, eta) - there


def start_not_scaled(schedule, x_t, eps, t, s, noise, eta=0.0):
    """x0_hat is not multiplied by the root of alpha_bar_s"""
    a_t, a_s = _read(schedule, t, s)
    start = (x_t - (1 - a_t).sqrt() * eps) / a_t.sqrt()
    return by_x0_hat(schedule, x_t, eps, t, s, noise, eta) + (1 - a_s.sqrt()) * start


def start_not_divided(schedule, x_t, eps, t, s, noise, eta=0.0):
    """x0_hat is not divided by the root of alpha_bar_t"""
    a_t, a_s = _read(schedule, t, s)
    start = (x_t - (1 - a_t).sqrt() * eps) / a_t.sqrt()
    return by_x0_hat(schedule, x_t, eps, t, s, noise, eta) + a_s.sqrt() * (a_t.sqrt() - 1) * start


def _start(schedule, x_t, eps, t, s, noise, eta, start):
    a_t, a_s = _read(schedule, t, s)
    right = (x_t - (1 - a_t).sqrt() * eps) / a_t.sqrt()
    return by_x0_hat(schedule, x_t, eps, t, s, noise, eta) + a_s.sqrt() * (start - right)


def start_without_brackets(schedule, x_t, eps, t, s, noise, eta=0.0):
    """brackets are missing in x0_hat: divide the whole difference by the root of alpha_bar_t"""
    a_t = schedule.alpha_bar[t]
    start = x_t - (1 - a_t).sqrt() * eps / a_t.sqrt()
    return _start(schedule, x_t, eps, t, s, noise, eta, start)


def start_with_the_steps_noise(schedule, x_t, eps, t, s, noise, eta=0.0):
    """the root of 1 - alpha_bar_t / alpha_bar_s stands in x0_hat where that of 1 - alpha_bar_t belongs"""
    a_t, a_s = _read(schedule, t, s)
    start = (x_t - (1 - a_t / a_s).sqrt() * eps) / a_t.sqrt()
    return _start(schedule, x_t, eps, t, s, noise, eta, start)


def start_with_the_noise_at_s(schedule, x_t, eps, t, s, noise, eta=0.0):
    """the root of 1 - alpha_bar_s stands in x0_hat where that of 1 - alpha_bar_t belongs"""
    a_t, a_s = _read(schedule, t, s)
    return _start(schedule, x_t, eps, t, s, noise, eta, (x_t - (1 - a_s).sqrt() * eps) / a_t.sqrt())


def direction_at_t(schedule, x_t, eps, t, s, noise, eta=0.0):
    """1 - alpha_bar_t stands at the old noise where 1 - alpha_bar_s belongs"""
    a_t, a_s = _read(schedule, t, s)
    sigma2 = _sigma2(a_t, a_s, eta)
    change = (1 - a_t - sigma2).clamp(min=0).sqrt() - (1 - a_s - sigma2).sqrt()
    return by_x0_hat(schedule, x_t, eps, t, s, noise, eta) + change * eps


def scaled_as_at_t(schedule, x_t, eps, t, s, noise, eta=0.0):
    """x0_hat is multiplied by the root of alpha_bar_t: that of alpha_bar_s belongs there"""
    a_t, a_s = _read(schedule, t, s)
    start = (x_t - (1 - a_t).sqrt() * eps) / a_t.sqrt()
    return _start(schedule, x_t, eps, t, s, noise, eta, start * (a_t / a_s).sqrt())


def sigma_before_t(schedule, x_t, eps, t, s, noise, eta=0.0):
    """1 - alpha_bar at t - 1 stands in sigma where that at s belongs"""
    a_t, a_s = _read(schedule, t, s)
    sigma2 = eta**2 * (1 - schedule.alpha_bar[t - 1]) / (1 - a_t) * (1 - a_t / a_s)
    return _step(x_t, eps, noise, a_t, a_s, sigma2)


def no_noise_at_one(schedule, x_t, eps, t, s, noise, eta=0.0):
    """the noise is left out at s = 1: it is left out at s = 0 only"""
    return by_x0_hat(schedule, x_t, eps, t, s, noise if s > 1 or not eta else 0 * noise, eta)


def clipped_start(schedule, x_t, eps, t, s, noise, eta=0.0):
    """x0_hat is clipped to [-1, 1]: the step of the exercise does not clip"""
    a_t, a_s = _read(schedule, t, s)
    start = (x_t - (1 - a_t).sqrt() * eps) / a_t.sqrt()
    return by_x0_hat(schedule, x_t, eps, t, s, noise, eta) + a_s.sqrt() * (
        start.clamp(-1, 1) - start
    )


def ddpm(schedule, x_t, eps, t, s, noise, eta=0.0):
    """noise is added where eta is 0"""
    if eta == 0:
        return dgm.ddpm_step(schedule, x_t, eps, t, s, noise)
    return by_x0_hat(schedule, x_t, eps, t, s, noise, eta)


def swapped_times(schedule, x_t, eps, t, s, noise, eta=0.0):
    """t and s are swapped in x0_hat and in the new state"""
    a_t, a_s = _read(schedule, t, s)
    sigma2 = _sigma2(a_t, a_s, eta)
    x_s = a_t.sqrt() * (x_t - (1 - a_s).sqrt() * eps) / a_s.sqrt()
    x_s = x_s + (1 - a_t - sigma2).clamp(min=0).sqrt() * eps
    return x_s if noise is None else x_s + sigma2.sqrt() * noise


def _shifted(schedule, x_t, eps, noise, eta, t, s):
    a_t, a_s = _read(schedule, t, s)
    return _step(x_t, eps, noise, a_t, a_s, _sigma2(a_t, a_s, eta))


def s_ignored(schedule, x_t, eps, t, s, noise, eta=0.0):
    """s is not used: the step leads to s, yours to t - 1"""
    return _shifted(schedule, x_t, eps, noise, eta, t, t - 1)


def both_early(schedule, x_t, eps, t, s, noise, eta=0.0):
    """alpha_bar is off by one: read at t - 1 and s - 1"""
    return _shifted(schedule, x_t, eps, noise, eta, t - 1, max(s - 1, 0))


def both_late(schedule, x_t, eps, t, s, noise, eta=0.0):
    """alpha_bar is off by one: read at t + 1 and s + 1"""
    return _shifted(schedule, x_t, eps, noise, eta, min(t + 1, 1000), s + 1)


def t_early(schedule, x_t, eps, t, s, noise, eta=0.0):
    """alpha_bar is off by one: read at t - 1 and s"""
    return _shifted(schedule, x_t, eps, noise, eta, t - 1, s)


def t_late(schedule, x_t, eps, t, s, noise, eta=0.0):
    """alpha_bar is off by one: read at t + 1 and s"""
    return _shifted(schedule, x_t, eps, noise, eta, min(t + 1, 1000), s)


def s_early(schedule, x_t, eps, t, s, noise, eta=0.0):
    """alpha_bar is off by one: read at t and s - 1"""
    return _shifted(schedule, x_t, eps, noise, eta, t, max(s - 1, 0))


def s_late(schedule, x_t, eps, t, s, noise, eta=0.0):
    """alpha_bar is off by one: read at t and s + 1"""
    return _shifted(schedule, x_t, eps, noise, eta, t, s + 1)


def needs_noise(schedule, x_t, eps, t, s, noise, eta=0.0):
    """where eta is 0 there may be no noise"""
    a_t, a_s = _read(schedule, t, s)
    sigma2 = _sigma2(a_t, a_s, eta)
    return _step(x_t, eps, None, a_t, a_s, sigma2) + sigma2.sqrt() * noise


def own_noise(schedule, x_t, eps, t, s, noise, eta=0.0):
    """the noise is given, do not draw it anew"""
    return by_x0_hat(schedule, x_t, eps, t, s, torch.randn_like(x_t), eta)


def other_default(schedule, x_t, eps, t, s, noise, eta=1.0):
    """the default of eta must be 0"""
    return by_x0_hat(schedule, x_t, eps, t, s, noise, eta)


def some_factor(schedule, x_t, eps, t, s, noise, eta=0.0):
    """... the factor of eps is"""
    return by_x0_hat(schedule, x_t, 0.9 * eps, t, s, noise, eta)


def in_place(schedule, x_t, eps, t, s, noise, eta=0.0):
    """changed its argument eps in place"""
    eps *= 0.5
    return by_x0_hat(schedule, x_t, 2 * eps, t, s, noise, eta)


_SHIFTS = {
    "s is not used: the step leads to s, yours to t - 1": lambda t, s: (t, t - 1),
    "alpha_bar is off by one: read at t - 1 and s - 1": lambda t, s: (t - 1, max(s - 1, 0)),
    "alpha_bar is off by one: read at t + 1 and s + 1": lambda t, s: (min(t + 1, 1000), s + 1),
    "alpha_bar is off by one: read at t - 1 and s": lambda t, s: (t - 1, s),
    "alpha_bar is off by one: read at t + 1 and s": lambda t, s: (min(t + 1, 1000), s),
    "alpha_bar is off by one: read at t and s - 1": lambda t, s: (t, max(s - 1, 0)),
    "alpha_bar is off by one: read at t and s + 1": lambda t, s: (t, s + 1),
}


def _sigma_right(shift):
    def answer(schedule, x_t, eps, t, s, noise, eta=0.0):
        sigma2 = _sigma2(*_read(schedule, t, s), eta)
        return _step(x_t, eps, noise, *_read(schedule, *shift(t, s)), sigma2)

    return answer


for _i, (_words, _shift) in enumerate(_SHIFTS.items()):
    _answer = _sigma_right(_shift)
    _answer.__name__, _answer.__doc__ = f"sigma_right_{_i}", _words
    globals()[_answer.__name__] = _answer


def the_labs_table(schedule, x_t, eps, t, s, noise, eta=0.0):
    """the lab's own schedule is read, not the one that is given"""
    return by_x0_hat(dgm.NoiseSchedule.linear(), x_t, eps, t, s, noise, eta)


def the_labs_table_at_s(schedule, x_t, eps, t, s, noise, eta=0.0):
    """read all from the argument schedule"""
    a_t, a_s = schedule.alpha_bar[t], dgm.NoiseSchedule.linear().alpha_bar[s]
    return _step(x_t, eps, noise, a_t, a_s, _sigma2(a_t, a_s, eta).clamp(min=0))
