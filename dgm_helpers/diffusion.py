r"""The forward process, its posterior, conversions between noise, clean data and score, and the simple loss.

Every function works for any trailing shape: pictures ``(B, C, H, W)`` and points ``(B, d)`` alike. ``t`` lies in {0, …,
T} and is an int, or an int64 tensor ``(B,)`` with one timestep for each item; t = 0 is clean data. Coefficients are
float64 and are applied in the data's dtype. Wrong dtype, shape, range or NaN raises TypeError or ValueError naming the
argument.
"""

from .arguments import checked_eps, require_callable, require_data, require_t, require_times
from .schedules import at, require_schedule


def perturb_input(schedule, x0, t, noise):
    r"""Draw :math:`x_t \sim q(x_t\mid x_0)` in one shot:
    :math:`x_t=\sqrt{\bar\alpha_t}\,x_0+\sqrt{1-\bar\alpha_t}\,\epsilon`.

    Ho et al. 2020, equation 4; book equation :eq:`eq-one-shot`.

    Parameters
    ----------
    schedule : NoiseSchedule
    x0 : float tensor (B, …)
        Clean data.
    t : int or int64 tensor (B,)
        Timesteps in 0…T; t = 0 returns ``x0``.
    noise : float tensor like ``x0``
        Standard normal :math:`\epsilon`.

    Returns
    -------
    float tensor like ``x0``
    """
    require_schedule(schedule)
    require_data("x0", x0)
    require_data("noise", noise, like=x0)
    a = at(schedule.alpha_bar, require_t("t", t, x0, schedule.T), x0)
    return (a.sqrt() * x0 + (1 - a).sqrt() * noise).to(x0.dtype)


def markov_step(schedule, x, t, noise):
    r"""Draw :math:`x_t \sim q(x_t\mid x_{t-1})`, one step of the chain:
    :math:`x_t=\sqrt{\alpha_t}\,x_{t-1}+\sqrt{\beta_t}\,\epsilon_t`.

    Ho et al. 2020, equation 2; book equation :eq:`eq-markov-step`. ``x`` is :math:`x_{t-1}`, ``t`` lies in 1…T; shapes
    and dtypes as in :func:`perturb_input`.
    """
    require_schedule(schedule)
    require_data("x", x)
    require_data("noise", noise, like=x)
    alpha = at(schedule.alpha, require_t("t", t, x, schedule.T, lowest=1), x)
    return (alpha.sqrt() * x + (1 - alpha).sqrt() * noise).to(x.dtype)


def posterior(schedule, x0, x_t, t, s):
    r"""Mean and variance of the Gaussian :math:`q(x_s\mid x_t,x_0)` for s < t.

    With :math:`\alpha_{t|s}=\bar\alpha_t/\bar\alpha_s`, the mean is
    :math:`\frac{\sqrt{\bar\alpha_s}(1-\alpha_{t|s})}{1-\bar\alpha_t}x_0+\frac{\sqrt{\alpha_{t|s}}(1-\bar\alpha_s)}{1-\bar\alpha_t}x_t`
    and the variance :math:`\frac{1-\bar\alpha_s}{1-\bar\alpha_t}(1-\alpha_{t|s})`. Ho et al. 2020, equations 6 and 7
    (there s = t − 1); book equation :eq:`eq-posterior`.

    Parameters
    ----------
    schedule : NoiseSchedule
    x0, x_t : float tensors (B, …)
    t, s : int or int64 tensor (B,)
        Timesteps with 0 ≤ s < t ≤ T.

    Returns
    -------
    mean : float tensor like ``x_t``
    variance : float tensor (B, 1, …, 1), or () for an int t
        0 where s = 0.
    """
    require_schedule(schedule)
    require_data("x0", x0)
    require_data("x_t", x_t, like=x0)
    t, s = require_times(t, s, x_t, schedule.T)
    a_t, a_s = at(schedule.alpha_bar, t, x_t), at(schedule.alpha_bar, s, x_t)
    a_ts = a_t / a_s
    mean = (a_s.sqrt() * (1 - a_ts) * x0 + a_ts.sqrt() * (1 - a_s) * x_t) / (1 - a_t)
    variance = (1 - a_s) / (1 - a_t) * (1 - a_ts)
    return mean.to(x_t.dtype), variance.to(x_t.device, x_t.dtype)


def x0_from_eps(schedule, x_t, t, eps):
    r"""The clean data that a noise estimate implies, :math:`\hat
    x_0=(x_t-\sqrt{1-\bar\alpha_t}\,\hat\epsilon)/\sqrt{\bar\alpha_t}`.

    Ho et al. 2020, equation 15; book equation :eq:`eq-x0-hat`. Shapes and dtypes as in :func:`perturb_input`.
    """
    a = _checked_alpha_bar(schedule, x_t, t, "eps", eps, lowest=0)
    return ((x_t - (1 - a).sqrt() * eps) / a.sqrt()).to(x_t.dtype)


def eps_from_x0(schedule, x_t, t, x0):
    r"""The noise that takes ``x0`` to ``x_t``, :math:`\hat\epsilon=(x_t-\sqrt{\bar\alpha_t}\,\hat
    x_0)/\sqrt{1-\bar\alpha_t}`, for t ≥ 1.

    The inverse of :func:`x0_from_eps`; book equation :eq:`eq-x0-hat`. Shapes and dtypes as in :func:`perturb_input`.
    """
    a = _checked_alpha_bar(schedule, x_t, t, "x0", x0, lowest=1)
    return ((x_t - a.sqrt() * x0) / (1 - a).sqrt()).to(x_t.dtype)


def score_from_eps(schedule, t, eps):
    r"""The score of the noised density, :math:`\nabla\log q(x_t)=-\hat\epsilon/\sqrt{1-\bar\alpha_t}`, for t ≥ 1.

    Book equations :eq:`eq-tweedie` and :eq:`eq-eps-score`; ``eps`` is (B, …).
    """
    a = _checked_alpha_bar(schedule, eps, t, "eps", eps, lowest=1)
    return (-eps / (1 - a).sqrt()).to(eps.dtype)


def eps_from_score(schedule, t, score):
    r"""The noise estimate that a score implies, :math:`\hat\epsilon=-\sqrt{1-\bar\alpha_t}\,\nabla\log q(x_t)`;
    inverse of :func:`score_from_eps`.
    """
    a = _checked_alpha_bar(schedule, score, t, "score", score, lowest=1)
    return (-(1 - a).sqrt() * score).to(score.dtype)


def _checked_alpha_bar(schedule, x_t, t, name, other, lowest):
    require_schedule(schedule)
    if other is not x_t:
        require_data("x_t", x_t)
    require_data(name, other, like=None if other is x_t else x_t)
    return at(schedule.alpha_bar, require_t("t", t, x_t, schedule.T, lowest), x_t)


def simple_loss(eps_model, schedule, x0, t, noise):
    r"""The training loss of each item, :math:`\frac1d\lVert\epsilon-\epsilon_\theta(x_t,t)\rVert^2`, a float tensor
    (B,).

    Ho et al. 2020, equation 14, as a mean over the d coordinates; book equation :eq:`eq-simple-loss`. ``eps_model(x_t,
    t)`` returns the noise estimate, shaped like ``x_t``; the other arguments are those of :func:`perturb_input`.
    """
    require_callable("eps_model", eps_model)
    x_t = perturb_input(schedule, x0, t, noise)
    eps = checked_eps(eps_model, x_t, require_t("t", t, x0, schedule.T))
    return (noise - eps).square().flatten(1).mean(1)
