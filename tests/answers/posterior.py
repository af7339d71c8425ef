import torch

import dgm_helpers as dgm


def _formula(x0, x_t, a_t, a_s, a, p=0.5, q=0.5, over=None):
    over = 1 - a_t if over is None else over
    return (a_s**p * (1 - a) * x0 + a**q * (1 - a_s) * x_t) / over


def _read(schedule, t, s):
    a_t, a_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
    return a_t, a_s, a_t / a_s


def _variance(a_t, a_s, a):
    return (1 - a_s) / (1 - a_t) * (1 - a)


def _both(x0, x_t, *values):
    return _formula(x0, x_t, *values), _variance(*values)


def by_floats(schedule, x0, x_t, t, s):
    """passes"""
    a_t, a_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
    return list(_both(x0, x_t, a_t, a_s, a_t / a_s))


def by_a_regression(schedule, x0, x_t, t, s):
    """passes"""
    a_t, a_s, a = _read(schedule, t, s)
    gain = a.sqrt() * (1 - a_s) / (1 - a_t)
    return a_s.sqrt() * x0 + gain * (x_t - a_t.sqrt() * x0), (1 - a_s) * (1 - gain * a.sqrt())


def by_items(schedule, x0, x_t, t, s):
    """passes"""
    mean, variance = _both(x0, x_t, *_read(schedule, t, s))
    return torch.stack(list(mean)), torch.full((len(x0), 1), variance.item())


def by_the_package(schedule, x0, x_t, t, s):
    """this is the one you are to write"""
    return dgm.posterior(schedule, x0, x_t, t, s)


def by_the_packages_step(schedule, x0, x_t, t, s):
    """this is the one you are to write"""
    eps = dgm.eps_from_x0(schedule, x_t, t, x0)
    return dgm.ddpm_step(schedule, x_t, eps, t, s, 0 * x_t), 0.1


def forward_variance(schedule, x0, x_t, t, s):
    """you return the variance of the step forward, 1 - alpha_bar_t / alpha_bar_s"""
    a_t, a_s, a = _read(schedule, t, s)
    return _formula(x0, x_t, a_t, a_s, a), 1 - a


def one_step_variance(schedule, x0, x_t, t, s):
    """beta_t is that of one step; from s to t it is 1 - alpha_bar_t / alpha_bar_s"""
    a_t, a_s, a = _read(schedule, t, s)
    return _formula(x0, x_t, a_t, a_s, a), schedule.beta[t]


def standard_deviation(schedule, x0, x_t, t, s):
    """you return the standard deviation, not the variance"""
    mean, variance = _both(x0, x_t, *_read(schedule, t, s))
    return mean, variance**0.5


def precision(schedule, x0, x_t, t, s):
    """you return the precision, that is 1 over the variance"""
    mean, variance = _both(x0, x_t, *_read(schedule, t, s))
    return mean, 1 / variance if s else variance


def upside_down(schedule, x0, x_t, t, s):
    """t and s are swapped in (1 - alpha_bar_s) / (1 - alpha_bar_t)"""
    a_t, a_s, a = _read(schedule, t, s)
    return _formula(x0, x_t, a_t, a_s, a), (1 - a_t) / (1 - a_s) * (1 - a) if s else 0.0


def variance_without_the_step(schedule, x0, x_t, t, s):
    """1 - alpha_bar_t / alpha_bar_s is missing in the variance"""
    a_t, a_s, a = _read(schedule, t, s)
    return _formula(x0, x_t, a_t, a_s, a), (1 - a_s) / (1 - a_t)


def variance_of_the_table(schedule, x0, x_t, t, s):
    """alpha_t leads from t - 1 to t; from s to t it is alpha_bar_t / alpha_bar_s"""
    a_t, a_s, a = _read(schedule, t, s)
    return _formula(x0, x_t, a_t, a_s, a), _variance(a_t, a_s, schedule.alpha[t])


def no_root_at_x0(schedule, x0, x_t, t, s):
    """the square root of alpha_bar is missing at x0"""
    values = _read(schedule, t, s)
    return _formula(x0, x_t, *values, p=1), _variance(*values)


def no_root_at_x_t(schedule, x0, x_t, t, s):
    """the square root of alpha is missing at x_t"""
    values = _read(schedule, t, s)
    return _formula(x0, x_t, *values, q=1), _variance(*values)


def no_roots(schedule, x0, x_t, t, s):
    """both square roots are missing"""
    values = _read(schedule, t, s)
    return _formula(x0, x_t, *values, p=1, q=1), _variance(*values)


def swapped(schedule, x0, x_t, t, s):
    """x0 and x_t are swapped"""
    return _both(x_t, x0, *_read(schedule, t, s))


def weights_swapped(schedule, x0, x_t, t, s):
    """1 - alpha and 1 - alpha_bar_s are swapped: the first belongs to x0, the second to x_t"""
    a_t, a_s, a = _read(schedule, t, s)
    mean = (a_s.sqrt() * (1 - a_s) * x0 + a.sqrt() * (1 - a) * x_t) / (1 - a_t)
    return mean, _variance(a_t, a_s, a)


def alpha_at_x0(schedule, x0, x_t, t, s):
    """alpha stands at x0 where alpha_bar_s belongs"""
    a_t, a_s, a = _read(schedule, t, s)
    mean = (a.sqrt() * (1 - a) * x0 + a.sqrt() * (1 - a_s) * x_t) / (1 - a_t)
    return mean, _variance(a_t, a_s, a)


def alpha_bar_t_at_x0(schedule, x0, x_t, t, s):
    """alpha_bar_t stands at x0 where alpha_bar_s belongs"""
    a_t, a_s, a = _read(schedule, t, s)
    mean = (a_t.sqrt() * (1 - a) * x0 + a.sqrt() * (1 - a_s) * x_t) / (1 - a_t)
    return mean, _variance(a_t, a_s, a)


def alpha_bar_t_at_x_t(schedule, x0, x_t, t, s):
    """alpha_bar_t stands at x_t where alpha_bar_t / alpha_bar_s belongs"""
    a_t, a_s, a = _read(schedule, t, s)
    mean = (a_s.sqrt() * (1 - a) * x0 + a_t.sqrt() * (1 - a_s) * x_t) / (1 - a_t)
    return mean, _variance(a_t, a_s, a)


def not_divided(schedule, x0, x_t, t, s):
    """the mean is not divided by 1 - alpha_bar_t"""
    values = _read(schedule, t, s)
    return _formula(x0, x_t, *values, over=1), _variance(*values)


def divided_by_its_root(schedule, x0, x_t, t, s):
    """the mean is divided by the root of 1 - alpha_bar_t: leave out the root"""
    values = _read(schedule, t, s)
    return _formula(x0, x_t, *values, over=(1 - values[0]) ** 0.5), _variance(*values)


def subtracted(schedule, x0, x_t, t, s):
    """the sign of x_t is wrong: both terms are added"""
    return _both(x0, -x_t, *_read(schedule, t, s))


def of_the_table(schedule, x0, x_t, t, s):
    """alpha_t leads from t - 1 to t; from s to t it is alpha_bar_t / alpha_bar_s"""
    a_t, a_s, _ = _read(schedule, t, s)
    return _both(x0, x_t, a_t, a_s, schedule.alpha[t])


def s_ignored(schedule, x0, x_t, t, s):
    """s is not used: the step leads to s, yours to t - 1"""
    return _both(x0, x_t, *_read(schedule, t, t - 1))


def upside_down_ratio(schedule, x0, x_t, t, s):
    """alpha_bar_t / alpha_bar_s is upside down"""
    a_t, a_s, a = _read(schedule, t, s)
    return _both(x0, x_t, a_t, a_s, 1 / a)


def upside_down_at_the_root_only(schedule, x0, x_t, t, s):
    """alpha_bar_t / alpha_bar_s is upside down under the root at x_t"""
    a_t, a_s, a = _read(schedule, t, s)
    mean = (a_s.sqrt() * (1 - a) * x0 + (1 / a).sqrt() * (1 - a_s) * x_t) / (1 - a_t)
    return mean, _variance(a_t, a_s, a)


def both_early(schedule, x0, x_t, t, s):
    """alpha_bar is off by one: read at t - 1 and s - 1"""
    return _both(x0, x_t, *_read(schedule, t - 1, max(s - 1, 0)))


def both_late(schedule, x0, x_t, t, s):
    """alpha_bar is off by one: read at t + 1 and s + 1"""
    return _both(x0, x_t, *_read(schedule, min(t + 1, 1000), s + 1))


def t_early(schedule, x0, x_t, t, s):
    """alpha_bar is off by one: read at t - 1 and s"""
    return _both(x0, x_t, *_read(schedule, t - 1, s))


def t_late(schedule, x0, x_t, t, s):
    """alpha_bar is off by one: read at t + 1 and s"""
    return _both(x0, x_t, *_read(schedule, min(t + 1, 1000), s))


def s_early(schedule, x0, x_t, t, s):
    """alpha_bar is off by one: read at t and s - 1"""
    return _both(x0, x_t, *_read(schedule, t, max(s - 1, 0)))


def s_late(schedule, x0, x_t, t, s):
    """alpha_bar is off by one: read at t and s + 1"""
    return _both(x0, x_t, *_read(schedule, t, s + 1))


def one_value(schedule, x0, x_t, t, s):
    """return two values, mean and variance"""
    return _formula(x0, x_t, *_read(schedule, t, s))


def other_order(schedule, x0, x_t, t, s):
    """the mean must be a float tensor"""
    return _both(x0, x_t, *_read(schedule, t, s))[::-1]


def batched(schedule, x0, x_t, t, s):
    """t and s are ints here"""
    return _both(x0, x_t, schedule.alpha_bar[t][:, None], schedule.alpha_bar[s][:, None], 1)


def wrong_weight(schedule, x0, x_t, t, s):
    """... the factor of x_t is"""
    a_t, a_s, a = _read(schedule, t, s)
    return _formula(x0, 0.7 * x_t, a_t, a_s, a), _variance(a_t, a_s, a)


_SHIFTS = {
    "s is not used: the step leads to s, yours to t - 1": lambda t, s: (t, t - 1),
    "alpha_bar is off by one: read at t - 1 and s - 1": lambda t, s: (t - 1, max(s - 1, 0)),
    "alpha_bar is off by one: read at t + 1 and s + 1": lambda t, s: (min(t + 1, 1000), s + 1),
    "alpha_bar is off by one: read at t - 1 and s": lambda t, s: (t - 1, s),
    "alpha_bar is off by one: read at t + 1 and s": lambda t, s: (min(t + 1, 1000), s),
    "alpha_bar is off by one: read at t and s - 1": lambda t, s: (t, max(s - 1, 0)),
    "alpha_bar is off by one: read at t and s + 1": lambda t, s: (t, s + 1),
}


def _variance_only(shift):
    def answer(schedule, x0, x_t, t, s):
        mean = _formula(x0, x_t, *_read(schedule, t, s))
        return mean, _variance(*_read(schedule, *shift(t, s)))

    return answer


for _i, (_words, _shift) in enumerate(_SHIFTS.items()):
    _answer = _variance_only(_shift)
    _answer.__name__, _answer.__doc__ = f"variance_only_{_i}", _words
    globals()[_answer.__name__] = _answer


def the_labs_table(schedule, x0, x_t, t, s):
    """the lab's own schedule is read, not the one that is given"""
    return _both(x0, x_t, *_read(dgm.NoiseSchedule.linear(), t, s))


def the_labs_table_in_the_variance(schedule, x0, x_t, t, s):
    """the lab's own schedule is read, not the one that is given"""
    mean = _formula(x0, x_t, *_read(schedule, t, s))
    return mean, _variance(*_read(dgm.NoiseSchedule.linear(), t, s))


def variance_before_t(schedule, x0, x_t, t, s):
    """1 - alpha_bar at t - 1 stands in the variance where that at s belongs"""
    a_t, a_s, a = _read(schedule, t, s)
    return _formula(x0, x_t, a_t, a_s, a), _variance(a_t, schedule.alpha_bar[t - 1], a)


def mean_before_t(schedule, x0, x_t, t, s):
    """1 - alpha_bar at t - 1 stands at x_t where that at s belongs"""
    a_t, a_s, a = _read(schedule, t, s)
    before = schedule.alpha_bar[t - 1]
    mean = (a_s.sqrt() * (1 - a) * x0 + a.sqrt() * (1 - before) * x_t) / (1 - a_t)
    return mean, _variance(a_t, a_s, a)
