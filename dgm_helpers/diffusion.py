r"""The forward process, its posterior, and conversions between noise, clean data and score.

Every function works for any trailing shape: pictures ``(B, C, H, W)`` and points ``(B, d)`` alike. ``t`` is an int64 tensor
``(B,)`` in {0, …, T}; t = 0 is clean data. Coefficients are computed in float64 and cast to the data's dtype at the end.
"""

import torch


def check_t(name, t, x, T, lowest=0):
    """Raise unless ``t`` is an int64 tensor of shape ``(B,)`` on x's device, with values in ``lowest``…``T``."""
    if not isinstance(t, torch.Tensor) or t.dtype != torch.int64:
        raise TypeError(f"{name} must be an int64 tensor, got {getattr(t, 'dtype', type(t).__name__)}")
    if t.shape != x.shape[:1]:
        raise ValueError(f"{name} must have shape {tuple(x.shape[:1])}, one timestep per item, got {tuple(t.shape)}")
    if len(t) and not (lowest <= t.min() and t.max() <= T):
        raise ValueError(f"{name} must lie in {lowest}…{T}, got values in {t.min()}…{t.max()}")


def check_data(name, x, like=None):
    """Raise unless ``x`` is a finite floating-point tensor with a batch axis, shaped like ``like`` when that is given."""
    if not isinstance(x, torch.Tensor) or not x.is_floating_point():
        raise TypeError(f"{name} must be a floating-point tensor, got {getattr(x, 'dtype', type(x).__name__)}")
    if x.ndim < 2:
        raise ValueError(f"{name} must have a batch axis and at least one more, got shape {tuple(x.shape)}")
    if like is not None and x.shape != like.shape:
        raise ValueError(f"{name} must have shape {tuple(like.shape)}, got {tuple(x.shape)}")
    if not x.isfinite().all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")


def at(coefficient, t, x):
    """Pick ``coefficient[t]``, shaped to multiply ``x``: float64 (B, 1, …, 1)."""
    return coefficient.to(t.device)[t].reshape(-1, *[1] * (x.ndim - 1))


def perturb_input(schedule, x0, t, noise):
    r"""Draw :math:`x_t \sim q(x_t\mid x_0)` in one shot: :math:`x_t=\sqrt{\bar\alpha_t}\,x_0+\sqrt{1-\bar\alpha_t}\,\epsilon`.

    Ho et al. 2020, equation 4; book equation :eq:`eq-one-shot`.

    Parameters
    ----------
    schedule : NoiseSchedule
    x0 : float tensor (B, …)
        Clean data.
    t : int64 tensor (B,)
        Timesteps in 0…T; t = 0 returns ``x0``.
    noise : float tensor like ``x0``
        Standard normal :math:`\epsilon`.

    Returns
    -------
    float tensor like ``x0``

    Raises
    ------
    TypeError, ValueError
        If a dtype, shape or range is wrong, or the data hold NaN.
    """
    check_data("x0", x0)
    check_data("noise", noise, like=x0)
    check_t("t", t, x0, schedule.T)
    a = at(schedule.alpha_bar, t, x0)
    return (a.sqrt() * x0 + (1 - a).sqrt() * noise).to(x0.dtype)


def markov_step(schedule, x, t, noise):
    r"""Draw :math:`x_t \sim q(x_t\mid x_{t-1})`, one step of the chain: :math:`x_t=\sqrt{\alpha_t}\,x_{t-1}+\sqrt{\beta_t}\,\epsilon_t`.

    Ho et al. 2020, equation 2; book equation :eq:`eq-markov-step`. ``x`` is :math:`x_{t-1}`, ``t`` lies in 1…T; shapes,
    dtypes and errors as in :func:`perturb_input`.
    """
    check_data("x", x)
    check_data("noise", noise, like=x)
    check_t("t", t, x, schedule.T, lowest=1)
    alpha = at(schedule.alpha, t, x)
    return (alpha.sqrt() * x + (1 - alpha).sqrt() * noise).to(x.dtype)


def posterior(schedule, x0, x_t, t, s):
    r"""Mean and variance of the Gaussian :math:`q(x_s\mid x_t,x_0)` for s < t.

    With :math:`\alpha_{t|s}=\bar\alpha_t/\bar\alpha_s`, the mean is
    :math:`\frac{\sqrt{\bar\alpha_s}(1-\alpha_{t|s})}{1-\bar\alpha_t}x_0+\frac{\sqrt{\alpha_{t|s}}(1-\bar\alpha_s)}{1-\bar\alpha_t}x_t`
    and the variance :math:`\frac{1-\bar\alpha_s}{1-\bar\alpha_t}(1-\alpha_{t|s})`.
    Ho et al. 2020, equations 6 and 7 (there s = t − 1); book equation :eq:`eq-posterior`.

    Parameters
    ----------
    schedule : NoiseSchedule
    x0, x_t : float tensors (B, …)
    t, s : int64 tensors (B,)
        Timesteps with 0 ≤ s < t ≤ T.

    Returns
    -------
    mean : float tensor like ``x_t``
    variance : float tensor (B, 1, …, 1)
        0 where s = 0.

    Raises
    ------
    TypeError, ValueError
        If a dtype, shape or range is wrong, s ≥ t, or the data hold NaN.
    """
    check_data("x0", x0)
    check_data("x_t", x_t, like=x0)
    check_t("t", t, x_t, schedule.T, lowest=1)
    check_t("s", s, x_t, schedule.T)
    if not (s < t).all():
        raise ValueError("s must be smaller than t for every item")
    a_t, a_s = at(schedule.alpha_bar, t, x_t), at(schedule.alpha_bar, s, x_t)
    a_ts = a_t / a_s
    mean = (a_s.sqrt() * (1 - a_ts) * x0 + a_ts.sqrt() * (1 - a_s) * x_t) / (1 - a_t)
    variance = (1 - a_s) / (1 - a_t) * (1 - a_ts)
    return mean.to(x_t.dtype), variance.to(x_t.dtype)


def x0_from_eps(schedule, x_t, t, eps):
    r"""The clean data that a noise estimate implies, :math:`\hat x_0=(x_t-\sqrt{1-\bar\alpha_t}\,\hat\epsilon)/\sqrt{\bar\alpha_t}`.

    Ho et al. 2020, equation 15; book equation :eq:`eq-x0-hat`. Shapes and errors as in :func:`perturb_input`.
    """
    a = _checked_alpha_bar(schedule, x_t, t, "eps", eps, lowest=0)
    return ((x_t - (1 - a).sqrt() * eps) / a.sqrt()).to(x_t.dtype)


def eps_from_x0(schedule, x_t, t, x0):
    r"""The noise that takes ``x0`` to ``x_t``, :math:`\hat\epsilon=(x_t-\sqrt{\bar\alpha_t}\,\hat x_0)/\sqrt{1-\bar\alpha_t}`, for t ≥ 1.

    The inverse of :func:`x0_from_eps`; book equation :eq:`eq-x0-hat`. Shapes and errors as in :func:`perturb_input`.
    """
    a = _checked_alpha_bar(schedule, x_t, t, "x0", x0, lowest=1)
    return ((x_t - a.sqrt() * x0) / (1 - a).sqrt()).to(x_t.dtype)


def score_from_eps(schedule, t, eps):
    r"""The score of the noised density, :math:`\nabla\log q(x_t)=-\hat\epsilon/\sqrt{1-\bar\alpha_t}`, for t ≥ 1.

    Book equation :eq:`eq-tweedie`; ``eps`` is (B, …). Errors as in :func:`perturb_input`.
    """
    a = _checked_alpha_bar(schedule, eps, t, "eps", eps, lowest=1)
    return (-eps / (1 - a).sqrt()).to(eps.dtype)


def eps_from_score(schedule, t, score):
    r"""The noise estimate that a score implies, :math:`\hat\epsilon=-\sqrt{1-\bar\alpha_t}\,\nabla\log q(x_t)`; inverse of :func:`score_from_eps`."""
    a = _checked_alpha_bar(schedule, score, t, "score", score, lowest=1)
    return (-(1 - a).sqrt() * score).to(score.dtype)


def _checked_alpha_bar(schedule, x_t, t, name, other, lowest):
    check_data("x_t", x_t)
    check_data(name, other, like=x_t)
    check_t("t", t, x_t, schedule.T, lowest)
    return at(schedule.alpha_bar, t, x_t)


def simple_loss(eps_model, schedule, x0, t, noise):
    r"""The training loss of each item, :math:`\frac1d\lVert\epsilon-\epsilon_\theta(x_t,t)\rVert^2`, a float tensor (B,).

    Ho et al. 2020, equation 14, as a mean over the d coordinates; book equation :eq:`eq-simple-loss`. Shapes and errors as
    in :func:`perturb_input`; also ValueError if ``eps_model`` returns another shape than it was given.
    """
    return (noise - predict(eps_model, perturb_input(schedule, x0, t, noise), t)).square().flatten(1).mean(1)


def predict(eps_model, x_t, t):
    """Call ``eps_model(x_t, t)`` and raise ValueError unless the answer is finite and has the shape of ``x_t``."""
    eps = eps_model(x_t, t)
    if not isinstance(eps, torch.Tensor) or eps.shape != x_t.shape:
        got = tuple(eps.shape) if isinstance(eps, torch.Tensor) else type(eps).__name__
        raise ValueError(f"eps_model must return a tensor of shape {tuple(x_t.shape)}, got {got}")
    if not eps.isfinite().all():
        raise ValueError(f"eps_model returned NaN or infinity at t = {sorted(set(t.tolist()))}")
    return eps
