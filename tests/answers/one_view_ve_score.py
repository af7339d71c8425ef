import torch

import dgm_helpers as dgm


def _score(eps_model, x, a, t, inside=None, under=None):
    inside = a.sqrt() if inside is None else inside
    under = ((1 - a) / a).sqrt() if under is None else under
    return -eps_model(inside * x, torch.full((len(x),), t)) / under


def by_the_score_of_x_t(eps_model, schedule, x, t):
    """passes"""
    a = schedule.alpha_bar[t]
    x_t = torch.sqrt(a) * x
    eps = eps_model(x_t, torch.tensor(t).repeat(len(x)))
    return torch.sqrt(a) * dgm.score_from_eps(schedule, t, eps)


def by_floats(eps_model, schedule, x, t):
    """passes"""
    a = float(schedule.alpha_bar[t])
    sigma = (1 / a - 1) ** 0.5
    return eps_model(x / (1 + sigma**2) ** 0.5, torch.full(x.shape[:1], t)).neg().div(sigma)


def by_x0_hat(eps_model, schedule, x, t):
    """passes"""
    a = schedule.alpha_bar[t]
    x_t = a.sqrt() * x
    start = dgm.x0_from_eps(schedule, x_t, t, eps_model(x_t, torch.full((len(x),), t)))
    return (start - x) / ((1 - a) / a)


def not_scaled(eps_model, schedule, x, t):
    """x is not scaled to x_t"""
    return _score(eps_model, x, schedule.alpha_bar[t], t, inside=1.0)


def scaled_without_root(eps_model, schedule, x, t):
    """x is multiplied by alpha_bar: its square root belongs there"""
    a = schedule.alpha_bar[t]
    return _score(eps_model, x, a, t, inside=a)


def divided(eps_model, schedule, x, t):
    """x is divided by the root of alpha_bar: multiply"""
    a = schedule.alpha_bar[t]
    return _score(eps_model, x, a, t, inside=a**-0.5)


def of_x_t(eps_model, schedule, x, t):
    """divided by sqrt(1 - alpha_bar), that is the score of x_t"""
    a = schedule.alpha_bar[t]
    return _score(eps_model, x, a, t, under=(1 - a).sqrt())


def of_x_t_at_x(eps_model, schedule, x, t):
    """this is the score of x_t, at a point that is not scaled"""
    a = schedule.alpha_bar[t]
    return _score(eps_model, x, a, t, inside=1.0, under=(1 - a).sqrt())


def wrong_sign(eps_model, schedule, x, t):
    """the sign is wrong"""
    return -_score(eps_model, x, schedule.alpha_bar[t], t)


def no_root(eps_model, schedule, x, t):
    """the square root in sigma is missing"""
    a = schedule.alpha_bar[t]
    return _score(eps_model, x, a, t, under=(1 - a) / a)


def upside_down(eps_model, schedule, x, t):
    """sigma is upside down: it is the root of (1 - alpha_bar) / alpha_bar"""
    a = schedule.alpha_bar[t]
    return _score(eps_model, x, a, t, under=(a / (1 - a)).sqrt())


def multiplied(eps_model, schedule, x, t):
    """the root is missing, and sigma is upside down"""
    a = schedule.alpha_bar[t]
    return _score(eps_model, x, a, t, under=a / (1 - a))


def not_divided(eps_model, schedule, x, t):
    """eps is not divided by sigma"""
    return _score(eps_model, x, schedule.alpha_bar[t], t, under=1.0)


def by_root_of_alpha_bar(eps_model, schedule, x, t):
    """eps is divided by the root of alpha_bar: divide it by sigma"""
    a = schedule.alpha_bar[t]
    return _score(eps_model, x, a, t, under=a.sqrt())


def of_alpha(eps_model, schedule, x, t):
    """alpha in place of alpha_bar"""
    return _score(eps_model, x, schedule.alpha[t], t)


def of_beta(eps_model, schedule, x, t):
    """sigma is the root of beta"""
    a = schedule.alpha_bar[t]
    return _score(eps_model, x, a, t, under=schedule.beta[t].sqrt())


def one_early(eps_model, schedule, x, t):
    """alpha_bar is off by one: read at t - 1"""
    return _score(eps_model, x, schedule.alpha_bar[max(t - 1, 1)], t)


def one_late(eps_model, schedule, x, t):
    """alpha_bar is off by one: read at t + 1"""
    return _score(eps_model, x, schedule.alpha_bar[min(t + 1, 1000)], t)


def asked_one_early(eps_model, schedule, x, t):
    """the model is asked at t - 1"""
    return _score(eps_model, x, schedule.alpha_bar[t], max(t - 1, 1))


def asked_one_late(eps_model, schedule, x, t):
    """the model is asked at t + 1"""
    return _score(eps_model, x, schedule.alpha_bar[t], min(t + 1, 1000))


def backwards(eps_model, schedule, x, t):
    """the model is asked at T - t"""
    return _score(eps_model, x, schedule.alpha_bar[t], max(1000 - t, 1))


def plain_eps(eps_model, schedule, x, t):
    """this is the noise estimate itself"""
    a = schedule.alpha_bar[t]
    return eps_model(a.sqrt() * x, torch.full((len(x),), t))


def x0_hat(eps_model, schedule, x, t):
    """this is x0_hat, not the score"""
    a = schedule.alpha_bar[t]
    return x + ((1 - a) / a) * _score(eps_model, x, a, t)


def int_t(eps_model, schedule, x, t):
    """the model must get t"""
    a = schedule.alpha_bar[t]
    return -eps_model(a.sqrt() * x, t) / ((1 - a) / a).sqrt()


def batched(eps_model, schedule, x, t):
    """t and s are ints here"""
    a = schedule.alpha_bar[t][:, None]
    return _score(eps_model, x, a, t)


def the_labs_table(eps_model, schedule, x, t):
    """the lab's own schedule is read, not the one that is given"""
    return _score(eps_model, x, dgm.NoiseSchedule.linear().alpha_bar[t], t)


def the_labs_table_inside(eps_model, schedule, x, t):
    """read all from the argument schedule"""
    a = dgm.NoiseSchedule.linear().alpha_bar[t]
    return _score(eps_model, x, schedule.alpha_bar[t], t, inside=a.sqrt())
