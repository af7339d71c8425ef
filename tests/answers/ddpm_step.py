import math

import torch

import dgm_helpers as dgm


def _read(schedule, t, s):
    a_t, a_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
    return a_t, a_s, a_t / a_s


def _sigma2(a_t, a_s, alpha):
    return (1 - a_s) / (1 - a_t) * (1 - alpha)


def _step(x_t, eps, noise, a_t, a_s, alpha):
    mean = (x_t - (1 - alpha) / (1 - a_t).sqrt() * eps) / alpha.sqrt()
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def by_floats(schedule, x_t, eps, t, s, noise):
    """passes"""
    a_t, a_s = float(schedule.alpha_bar[t]), float(schedule.alpha_bar[s])
    beta = 1 - a_t / a_s
    x_s = (x_t - beta / math.sqrt(1 - a_t) * eps) / math.sqrt(1 - beta)
    if s > 0:
        x_s = x_s + math.sqrt(beta * (1 - a_s) / (1 - a_t)) * noise
    return x_s


def by_x0_hat(schedule, x_t, eps, t, s, noise):
    """passes"""
    a_t, a_s, alpha = _read(schedule, t, s)
    x0_hat = (x_t - torch.sqrt(1 - a_t) * eps) / torch.sqrt(a_t)
    mean = (a_s.sqrt() * (1 - alpha) * x0_hat + alpha.sqrt() * (1 - a_s) * x_t) / (1 - a_t)
    return mean + noise * torch.sqrt((1 - alpha) * (1 - a_s) / (1 - a_t))


def by_my_posterior(schedule, x_t, eps, t, s, noise):
    """passes"""
    mean, variance = dgm.posterior(schedule, dgm.x0_from_eps(schedule, x_t, t, eps), x_t, t, s)
    return torch.normal(mean, 0.0) + variance.sqrt() * noise


def with_column_coefficients(schedule, x_t, eps, t, s, noise):
    """passes"""
    values = (y.reshape(1, 1) for y in _read(schedule, t, s))
    return _step(x_t, eps, noise, *values).to(x_t.dtype)


def by_the_package(schedule, x_t, eps, t, s, noise):
    """this is the one you are to write"""
    return dgm.ddpm_step(schedule, x_t, eps, t, s, noise)


def by_the_packages_ddim(schedule, x_t, eps, t, s, noise):
    """your function calls the package's ddim_step"""
    return dgm.ddim_step(schedule, x_t, eps, t, s, noise, eta=1.0)


def by_the_packages_sampler(schedule, x_t, eps, t, s, noise):
    """your function calls the package's ddpm_step"""
    return dgm.sample_ddpm(lambda x, t: 0 * x, schedule, x_t, generator=dgm.seeded(0))


def no_noise(schedule, x_t, eps, t, s, noise):
    """sigma z is missing"""
    return by_x0_hat(schedule, x_t, eps, t, s, 0 * noise)


def subtracted(schedule, x_t, eps, t, s, noise):
    """sigma z is subtracted, not added"""
    return by_x0_hat(schedule, x_t, eps, t, s, -noise)


def variance(schedule, x_t, eps, t, s, noise):
    """z is multiplied by the variance, not by its square root"""
    scale = _sigma2(*_read(schedule, t, s)).sqrt()
    return by_x0_hat(schedule, x_t, eps, t, s, scale * noise)


def bare(schedule, x_t, eps, t, s, noise):
    """z is not multiplied by sigma"""
    return by_x0_hat(schedule, x_t, eps, t, s, 0 * noise) + (noise if s else 0)


def large(schedule, x_t, eps, t, s, noise):
    """sigma is the large one, the root of beta; the small one is asked for"""
    *_, alpha = _read(schedule, t, s)
    return by_x0_hat(schedule, x_t, eps, t, s, 0 * noise) + ((1 - alpha) * (s > 0)) ** 0.5 * noise


def beta_of_one_step(schedule, x_t, eps, t, s, noise):
    """sigma is the root of beta_t, which is that of one step, and the large one"""
    still = by_x0_hat(schedule, x_t, eps, t, s, 0 * noise)
    return still + schedule.beta[t].sqrt() * noise * (s > 0)


def beta_variance(schedule, x_t, eps, t, s, noise):
    """z is multiplied by beta_t: it is the root of the small variance that belongs there"""
    return by_x0_hat(schedule, x_t, eps, t, s, 0 * noise) + schedule.beta[t] * noise * (s > 0)


def upside_down(schedule, x_t, eps, t, s, noise):
    """t and s are swapped in (1 - alpha_bar_s) / (1 - alpha_bar_t)"""
    a_t, a_s, alpha = _read(schedule, t, s)
    sigma = ((1 - a_t) / (1 - a_s) * (1 - alpha)).sqrt() if s else 0
    return by_x0_hat(schedule, x_t, eps, t, s, 0 * noise) + sigma * noise


def noise_of_x_t(schedule, x_t, eps, t, s, noise):
    """z is multiplied by the root of 1 - alpha_bar_s: that is the noise of x_s, not of the step"""
    a_s = schedule.alpha_bar[s]
    return by_x0_hat(schedule, x_t, eps, t, s, 0 * noise) + (1 - a_s).sqrt() * noise


def one_step_sigma(schedule, x_t, eps, t, s, noise):
    """alpha_t leads from t - 1 to t; from s to t, alpha is alpha_bar_t / alpha_bar_s"""
    a_t, a_s, _ = _read(schedule, t, s)
    sigma = _sigma2(a_t, a_s, schedule.alpha[t]).sqrt()
    return by_x0_hat(schedule, x_t, eps, t, s, 0 * noise) + sigma * noise


def sigma_before_t(schedule, x_t, eps, t, s, noise):
    """1 - alpha_bar at t - 1 stands in sigma where that at s belongs"""
    a_t, _, alpha = _read(schedule, t, s)
    sigma = _sigma2(a_t, schedule.alpha_bar[t - 1], alpha).sqrt()
    return by_x0_hat(schedule, x_t, eps, t, s, 0 * noise) + sigma * noise


def sigma_without_beta(schedule, x_t, eps, t, s, noise):
    """1 - alpha is missing in sigma, the second factor of the small variance"""
    a_t, a_s, _ = _read(schedule, t, s)
    sigma = ((1 - a_s) / (1 - a_t)).sqrt()
    return by_x0_hat(schedule, x_t, eps, t, s, 0 * noise) + sigma * noise


def sigma_times_alpha(schedule, x_t, eps, t, s, noise):
    """alpha stands in sigma where 1 - alpha belongs"""
    a_t, a_s, alpha = _read(schedule, t, s)
    sigma = ((1 - a_s) / (1 - a_t) * alpha).sqrt()
    return by_x0_hat(schedule, x_t, eps, t, s, 0 * noise) + sigma * noise


def sigma_of_ratio_of_bars(schedule, x_t, eps, t, s, noise):
    """alpha_bar_s / alpha_bar_t stands in sigma where (1 - alpha_bar_s) / (1 - alpha_bar_t) belongs"""
    a_t, a_s, alpha = _read(schedule, t, s)
    sigma = (a_s / a_t * (1 - alpha)).sqrt()
    return by_x0_hat(schedule, x_t, eps, t, s, 0 * noise) + sigma * noise


def no_noise_at_one(schedule, x_t, eps, t, s, noise):
    """the noise is left out at s = 1: it is left out at s = 0 only"""
    return by_x0_hat(schedule, x_t, eps, t, s, noise if s > 1 else 0 * noise)


def last_step(schedule, x_t, eps, t, s, noise):
    """noise is added at the last step"""
    return by_x0_hat(schedule, x_t, eps, t, s, noise) + (s == 0) * 0.01 * noise


def wrong_sign(schedule, x_t, eps, t, s, noise):
    """the sign of eps is wrong: the noise is taken off"""
    return by_x0_hat(schedule, x_t, -eps, t, s, noise)


def no_root_under_eps(schedule, x_t, eps, t, s, noise):
    """the square root of 1 - alpha_bar_t is missing"""
    b = (1 - schedule.alpha_bar[t]).sqrt()
    return by_x0_hat(schedule, x_t, eps / b, t, s, noise)


def no_root_under_all(schedule, x_t, eps, t, s, noise):
    """the square root of alpha is missing"""
    a_t, a_s, alpha = _read(schedule, t, s)
    mean = (x_t - (1 - alpha) / (1 - a_t).sqrt() * eps) / alpha
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def no_roots(schedule, x_t, eps, t, s, noise):
    """both square roots are missing"""
    a_t, a_s, alpha = _read(schedule, t, s)
    mean = (x_t - (1 - alpha) / (1 - a_t) * eps) / alpha
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def root_of_alpha_bar(schedule, x_t, eps, t, s, noise):
    """the root of alpha_bar_t stands in place of that of alpha"""
    a_t, a_s, alpha = _read(schedule, t, s)
    mean = (x_t - (1 - alpha) / (1 - a_t).sqrt() * eps) / a_t.sqrt()
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def root_of_alpha_bar_s(schedule, x_t, eps, t, s, noise):
    """the root of alpha_bar_s stands in place of that of alpha"""
    a_t, a_s, alpha = _read(schedule, t, s)
    mean = (x_t - (1 - alpha) / (1 - a_t).sqrt() * eps) / a_s.sqrt()
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def multiplied(schedule, x_t, eps, t, s, noise):
    """the mean is multiplied by the root of alpha: divide"""
    a_t, a_s, alpha = _read(schedule, t, s)
    mean = (x_t - (1 - alpha) / (1 - a_t).sqrt() * eps) * alpha.sqrt()
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def not_divided(schedule, x_t, eps, t, s, noise):
    """the mean is not divided by the root of alpha"""
    a_t, a_s, alpha = _read(schedule, t, s)
    mean = x_t - (1 - alpha) / (1 - a_t).sqrt() * eps
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def swapped(schedule, x_t, eps, t, s, noise):
    """1 - alpha and the root of 1 - alpha_bar_t are swapped in the factor of eps"""
    a_t, a_s, alpha = _read(schedule, t, s)
    mean = (x_t - (1 - a_t).sqrt() / (1 - alpha) * eps) / alpha.sqrt()
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def of_the_start(schedule, x_t, eps, t, s, noise):
    """the root of 1 - alpha_bar_t is taken off times eps, as for x0_hat: its factor is (1 - alpha) over that root"""
    a_t, a_s, alpha = _read(schedule, t, s)
    mean = (x_t - (1 - a_t).sqrt() * eps) / alpha.sqrt()
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def x0_hat(schedule, x_t, eps, t, s, noise):
    """this is x0_hat, not the mean of x_s"""
    a_t, a_s, alpha = _read(schedule, t, s)
    return (x_t - (1 - a_t).sqrt() * eps) / a_t.sqrt() + _sigma2(a_t, a_s, alpha).sqrt() * noise


def no_factor(schedule, x_t, eps, t, s, noise):
    """the factor of eps is missing"""
    a_t, a_s, alpha = _read(schedule, t, s)
    return (x_t - eps) / alpha.sqrt() + _sigma2(a_t, a_s, alpha).sqrt() * noise


def beta_as_factor(schedule, x_t, eps, t, s, noise):
    """eps is not divided by the root of 1 - alpha_bar_t (in x0_hat: the root over 1 - alpha_bar_t is missing)"""
    a_t, a_s, alpha = _read(schedule, t, s)
    mean = (x_t - (1 - alpha) * eps) / alpha.sqrt()
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def root_of_beta_as_factor(schedule, x_t, eps, t, s, noise):
    """the root of 1 - alpha stands at eps: it is 1 - alpha over the root of 1 - alpha_bar_t"""
    a_t, a_s, alpha = _read(schedule, t, s)
    mean = (x_t - (1 - alpha).sqrt() / (1 - a_t).sqrt() * eps) / alpha.sqrt()
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def alpha_as_factor(schedule, x_t, eps, t, s, noise):
    """alpha stands at eps where 1 - alpha belongs"""
    a_t, a_s, alpha = _read(schedule, t, s)
    mean = (x_t - alpha / (1 - a_t).sqrt() * eps) / alpha.sqrt()
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def root_of_alpha_bar_under_eps(schedule, x_t, eps, t, s, noise):
    """eps is divided by the root of alpha_bar_t: that of 1 - alpha_bar_t belongs there"""
    a_t, a_s, alpha = _read(schedule, t, s)
    mean = (x_t - (1 - alpha) / a_t.sqrt() * eps) / alpha.sqrt()
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def _by(schedule, x_t, t, s, noise, start):
    a_t, a_s, alpha = _read(schedule, t, s)
    mean = (a_s.sqrt() * (1 - alpha) * start + alpha.sqrt() * (1 - a_s) * x_t) / (1 - a_t)
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def start_not_divided(schedule, x_t, eps, t, s, noise):
    """x0_hat is not divided by the root of alpha_bar_t"""
    a_t = schedule.alpha_bar[t]
    return _by(schedule, x_t, t, s, noise, x_t - (1 - a_t).sqrt() * eps)


def start_divided_without_root(schedule, x_t, eps, t, s, noise):
    """the square root of alpha_bar_t is missing in x0_hat"""
    a_t = schedule.alpha_bar[t]
    return _by(schedule, x_t, t, s, noise, (x_t - (1 - a_t).sqrt() * eps) / a_t)


def start_multiplied(schedule, x_t, eps, t, s, noise):
    """x0_hat is multiplied by the root of alpha_bar_t: divide"""
    a_t = schedule.alpha_bar[t]
    return _by(schedule, x_t, t, s, noise, (x_t - (1 - a_t).sqrt() * eps) * a_t.sqrt())


def start_bare_noise(schedule, x_t, eps, t, s, noise):
    """eps is not divided by the root of 1 - alpha_bar_t (in x0_hat: the root over 1 - alpha_bar_t is missing)"""
    a_t = schedule.alpha_bar[t]
    return _by(schedule, x_t, t, s, noise, (x_t - (1 - a_t) * eps) / a_t.sqrt())


def start_with_the_steps_noise(schedule, x_t, eps, t, s, noise):
    """the root of 1 - alpha stands in x0_hat where that of 1 - alpha_bar_t belongs"""
    a_t, _, alpha = _read(schedule, t, s)
    return _by(schedule, x_t, t, s, noise, (x_t - (1 - alpha).sqrt() * eps) / a_t.sqrt())


def start_without_brackets(schedule, x_t, eps, t, s, noise):
    """brackets are missing in x0_hat: divide the whole difference by the root of alpha_bar_t"""
    a_t = schedule.alpha_bar[t]
    return _by(schedule, x_t, t, s, noise, x_t - (1 - a_t).sqrt() * eps / a_t.sqrt())


def start_wrong_sign(schedule, x_t, eps, t, s, noise):
    """the sign of eps is wrong: the noise is taken off"""
    a_t = schedule.alpha_bar[t]
    return _by(schedule, x_t, t, s, noise, (x_t + (1 - a_t).sqrt() * eps) / a_t.sqrt())


def mean_without_brackets(schedule, x_t, eps, t, s, noise):
    """brackets are missing in the mean: divide the whole difference by the root of alpha"""
    a_t, a_s, alpha = _read(schedule, t, s)
    mean = x_t - (1 - alpha) / (1 - a_t).sqrt() * eps / alpha.sqrt()
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def noise_of_the_step(schedule, x_t, eps, t, s, noise):
    """the root of 1 - alpha stands under eps where that of 1 - alpha_bar_t belongs"""
    a_t, a_s, alpha = _read(schedule, t, s)
    mean = (x_t - (1 - alpha) / (1 - alpha).sqrt() * eps) / alpha.sqrt()
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def noise_at_s(schedule, x_t, eps, t, s, noise):
    """the root of 1 - alpha_bar_s stands under eps where that of 1 - alpha_bar_t belongs"""
    a_t, a_s, alpha = _read(schedule, t, s)
    mean = (x_t - (1 - alpha) / (1 - a_s).sqrt() * eps) / alpha.sqrt()
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def mean_before_t(schedule, x_t, eps, t, s, noise):
    """1 - alpha_bar at t - 1 stands at x_t where that at s belongs"""
    a_t, a_s, alpha = _read(schedule, t, s)
    start = (x_t - (1 - a_t).sqrt() * eps) / a_t.sqrt()
    before = schedule.alpha_bar[t - 1]
    mean = (a_s.sqrt() * (1 - alpha) * start + alpha.sqrt() * (1 - before) * x_t) / (1 - a_t)
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def clipped_start(schedule, x_t, eps, t, s, noise):
    """x0_hat is clipped to [-1, 1]: the step of the exercise does not clip"""
    a_t, a_s, alpha = _read(schedule, t, s)
    start = ((x_t - (1 - a_t).sqrt() * eps) / a_t.sqrt()).clamp(-1, 1)
    mean = (a_s.sqrt() * (1 - alpha) * start + alpha.sqrt() * (1 - a_s) * x_t) / (1 - a_t)
    return mean + _sigma2(a_t, a_s, alpha).sqrt() * noise


def clipped_mean(schedule, x_t, eps, t, s, noise):
    """the mean is clipped to [-1, 1]: the step of the exercise does not clip"""
    still = by_x0_hat(schedule, x_t, eps, t, s, 0 * noise)
    return still.clamp(-1, 1) + _sigma2(*_read(schedule, t, s)).sqrt() * noise


def clipped_state(schedule, x_t, eps, t, s, noise):
    """... it is not a sum of factors times"""
    return by_x0_hat(schedule, x_t, eps, t, s, noise).clamp(-3, 3)


def of_the_table(schedule, x_t, eps, t, s, noise):
    """alpha_t leads from t - 1 to t; from s to t, alpha is alpha_bar_t / alpha_bar_s"""
    a_t, a_s, _ = _read(schedule, t, s)
    return _step(x_t, eps, noise, a_t, a_s, schedule.alpha[t])


def upside_down_ratio(schedule, x_t, eps, t, s, noise):
    """is alpha_bar_t / alpha_bar_s upside down?"""
    a_t, a_s, alpha = _read(schedule, t, s)
    return _step(x_t, eps, noise, a_t, a_s, 1 / alpha)


def s_ignored(schedule, x_t, eps, t, s, noise):
    """s is not used: the step leads to s, yours to t - 1"""
    return _step(x_t, eps, noise, *_read(schedule, t, t - 1))


def both_early(schedule, x_t, eps, t, s, noise):
    """alpha_bar is off by one: read at t - 1 and s - 1"""
    return _step(x_t, eps, noise, *_read(schedule, t - 1, max(s - 1, 0)))


def both_late(schedule, x_t, eps, t, s, noise):
    """alpha_bar is off by one: read at t + 1 and s + 1"""
    return _step(x_t, eps, noise, *_read(schedule, min(t + 1, 1000), s + 1))


def t_early(schedule, x_t, eps, t, s, noise):
    """alpha_bar is off by one: read at t - 1 and s"""
    return _step(x_t, eps, noise, *_read(schedule, t - 1, s))


def t_late(schedule, x_t, eps, t, s, noise):
    """alpha_bar is off by one: read at t + 1 and s"""
    return _step(x_t, eps, noise, *_read(schedule, min(t + 1, 1000), s))


def s_early(schedule, x_t, eps, t, s, noise):
    """alpha_bar is off by one: read at t and s - 1"""
    return _step(x_t, eps, noise, *_read(schedule, t, max(s - 1, 0)))


def s_late(schedule, x_t, eps, t, s, noise):
    """alpha_bar is off by one: read at t and s + 1"""
    return _step(x_t, eps, noise, *_read(schedule, t, s + 1))


def sigma_early(schedule, x_t, eps, t, s, noise):
    """alpha_bar is off by one: read at t - 1 and s - 1"""
    sigma = _sigma2(*_read(schedule, t - 1, max(s - 1, 0))).sqrt()
    return by_x0_hat(schedule, x_t, eps, t, s, 0 * noise) + sigma * noise


def own_noise(schedule, x_t, eps, t, s, noise):
    """the noise is given, do not draw it anew"""
    return by_x0_hat(schedule, x_t, eps, t, s, torch.randn_like(x_t))


def in_place(schedule, x_t, eps, t, s, noise):
    """changed its argument x_t in place"""
    x_t -= 0.5
    return by_x0_hat(schedule, x_t, eps, t, s, noise)


def half_sigma(schedule, x_t, eps, t, s, noise):
    """... the factor of z is"""
    return by_x0_hat(schedule, x_t, eps, t, s, noise / 2)


def crashes(schedule, x_t, eps, t, s, noise):
    """t and s are ints here"""
    return by_x0_hat(schedule, x_t, eps, t.long(), s, noise)


_SHIFTS = {
    "s is not used: the step leads to s, yours to t - 1": lambda t, s: (t, t - 1),
    "alpha_bar is off by one: read at t - 1 and s - 1": lambda t, s: (t - 1, max(s - 1, 0)),
    "alpha_bar is off by one: read at t + 1 and s + 1": lambda t, s: (min(t + 1, 1000), s + 1),
    "alpha_bar is off by one: read at t - 1 and s": lambda t, s: (t - 1, s),
    "alpha_bar is off by one: read at t + 1 and s": lambda t, s: (min(t + 1, 1000), s),
    "alpha_bar is off by one: read at t and s - 1": lambda t, s: (t, max(s - 1, 0)),
    "alpha_bar is off by one: read at t and s + 1": lambda t, s: (t, s + 1),
}


def _part_only(mean, shift):
    def answer(schedule, x_t, eps, t, s, noise):
        right, wrong = _read(schedule, t, s), _read(schedule, *shift(t, s))
        still = _step(x_t, eps, 0 * noise, *(wrong if mean else right))
        return still + _sigma2(*(right if mean else wrong)).sqrt() * noise

    return answer


for _i, (_words, _shift) in enumerate(_SHIFTS.items()):
    for _mean in (True, False) if _i else (False,):
        _answer = _part_only(_mean, _shift)
        _answer.__name__ = f"{'mean' if _mean else 'sigma'}_only_{_i}"
        _answer.__doc__ = _words
        globals()[_answer.__name__] = _answer


def mean_of_the_table(schedule, x_t, eps, t, s, noise):
    """alpha_t leads from t - 1 to t; from s to t, alpha is alpha_bar_t / alpha_bar_s"""
    a_t, a_s, alpha = _read(schedule, t, s)
    still = _step(x_t, eps, 0 * noise, a_t, a_s, schedule.alpha[t])
    return still + _sigma2(a_t, a_s, alpha).sqrt() * noise


def the_labs_table(schedule, x_t, eps, t, s, noise):
    """the lab's own schedule is read, not the one that is given"""
    return by_x0_hat(dgm.NoiseSchedule.linear(), x_t, eps, t, s, noise)


def the_labs_table_in_sigma(schedule, x_t, eps, t, s, noise):
    """read all from the argument schedule"""
    sigma = _sigma2(*_read(dgm.NoiseSchedule.linear(), t, s)).sqrt()
    return by_x0_hat(schedule, x_t, eps, t, s, 0 * noise) + sigma * noise
