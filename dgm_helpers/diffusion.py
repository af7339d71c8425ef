r"""The forward process, its posterior, and conversions between noise, clean data and score.

Every function works for any trailing shape: pictures ``(B, C, H, W)`` and points ``(B, d)`` alike. ``t`` is an int64 tensor
``(B,)`` in {0, …, T}; t = 0 is clean data. Coefficients are computed in float64 and cast to the data's dtype at the end.
"""

import math

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


def check_generator(generator):
    """Raise TypeError unless ``generator`` is a torch.Generator."""
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator, got {type(generator).__name__}")


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

    Book equations :eq:`eq-tweedie` and :eq:`eq-eps-score`; ``eps`` is (B, …). Errors as in :func:`perturb_input`.
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


def gaussian_kl(mean1, variance1, mean2, variance2):
    r"""The divergence :math:`D_{KL}(\mathcal N(\mu_1, v_1)\,\Vert\,\mathcal N(\mu_2, v_2))` of each item, in nats.

    The variances belong to the coordinates one by one:
    :math:`\frac12\sum_i\bigl(\frac{v_1}{v_2}-1-\ln\frac{v_1}{v_2}+\frac{(\mu_1-\mu_2)^2}{v_2}\bigr)`. Book equation :eq:`eq-gaussian-kl`.

    Parameters
    ----------
    mean1, mean2 : float tensors (B, …)
    variance1, variance2 : float tensors
        Positive; any shape that broadcasts to that of the means.

    Returns
    -------
    float64 tensor (B,)

    Raises
    ------
    TypeError, ValueError
        If a dtype or shape is wrong, a mean is not finite, or a variance is not positive.
    """
    check_data("mean1", mean1)
    check_data("mean2", mean2, like=mean1)
    for name, variance in (("variance1", variance1), ("variance2", variance2)):
        if not isinstance(variance, torch.Tensor) or not ((variance > 0) & variance.isfinite()).all():
            raise ValueError(f"{name} must be a tensor of positive, finite numbers, got {variance}")
        pairs = zip(variance.shape[::-1], mean1.shape[::-1])
        if variance.ndim > mean1.ndim or any(a not in (1, b) for a, b in pairs):
            raise ValueError(f"{name} must broadcast to {tuple(mean1.shape)}, got {tuple(variance.shape)}")
    ratio = variance1.double() / variance2
    terms = ratio - 1 - ratio.log() + (mean1.double() - mean2).square() / variance2
    return terms.flatten(1).sum(1) / 2


def reverse_variances(schedule, variance="small"):
    r"""The fixed variances :math:`\sigma_t^2` of the learned reverse steps :math:`p_\theta(x_{t-1}\mid x_t)`, float64 (T + 1,).

    "small" is :math:`\tilde\beta_t` and "large" is :math:`\beta_t` (Ho et al. 2020, section 3.2; book proposition "The two
    extremes"). As :math:`\tilde\beta_1 = 0` gives no density at the last step, the small one takes :math:`\tilde\beta_2` at t = 1. Entry 0
    is 0 and has no step. ValueError if ``variance`` is unknown.
    """
    sigma2 = schedule.beta
    if variance == "small":
        a = schedule.alpha_bar
        sigma2[2:] *= (1 - a[1:-1]) / (1 - a[2:])
        sigma2[1] = sigma2[min(2, schedule.T)]
    elif variance != "large":
        raise ValueError(f'variance must be "small" or "large", got {variance!r}')
    return sigma2


def elbo_weights(schedule, variance="small"):
    r"""The weight :math:`w_t=\beta_t^2/(2\sigma_t^2\alpha_t(1-\bar\alpha_t))` of the squared noise error in the bound, float64 (T + 1,).

    Ho et al. 2020, equation 12; book equation :eq:`eq-elbo-weight`. ``variance`` as in :func:`reverse_variances`; entry 0 is 0.
    """
    weights = torch.zeros_like(schedule.alpha_bar)
    sigma2, beta = reverse_variances(schedule, variance)[1:], schedule.beta[1:]
    weights[1:] = beta.square() / (2 * sigma2 * (1 - beta) * (1 - schedule.alpha_bar[1:]))
    return weights


def elbo_terms(eps_model, schedule, x0, *, generator, variance="small", levels=None):
    r"""Every term of the variational bound on :math:`-\log p_\theta(x_0)`, in bits per dimension.

    Ho et al. 2020, equation 5; book equation :eq:`eq-elbo-terms`. One draw of :math:`x_t` for each t, so that the sum of a row
    is an unbiased estimate of the bound.

    Parameters
    ----------
    eps_model : callable
        ``eps_model(x_t, t)`` returns the noise estimate, shaped like ``x_t``; it is called T times.
    schedule : NoiseSchedule
    x0 : float tensor (B, …)
    generator : torch.Generator
    variance : {"small", "large"} or float64 tensor (T + 1,)
        The :math:`\sigma_t^2` of the reverse steps: as in :func:`reverse_variances`, or given; entry 0 is not used.
    levels : int, optional
        If given, the data take ``levels`` evenly spaced values from −1 to 1 (256 for pictures), and :math:`L_0` is the
        probability of the value (Ho et al. 2020, equation 13; book equation :eq:`eq-discrete-decoder`). Otherwise it is a density.

    Returns
    -------
    float64 tensor (B, T + 1)
        Column 0 is :math:`L_0`, column t − 1 is :math:`L_{t-1}` for t = 2, …, T, column T is :math:`L_T`.

    Raises
    ------
    TypeError, ValueError
        If a dtype, shape or range is wrong, the data hold NaN or values between the levels, a variance is not positive, or
        ``eps_model`` returns another shape or NaN.
    """
    check_data("x0", x0)
    check_generator(generator)
    sigma2 = variance if isinstance(variance, torch.Tensor) else reverse_variances(schedule, variance)
    if sigma2.shape != schedule.alpha_bar.shape or not (sigma2[1:] > 0).all() or not sigma2.isfinite().all():
        raise ValueError(f"variance must hold T + 1 = {schedule.T + 1} numbers, positive from index 1 on, got {sigma2}")
    if levels is not None:
        if not isinstance(levels, int) or levels < 2:
            raise ValueError(f"levels must be an int of at least 2, got {levels!r}")
        steps = (x0.double() + 1) * (levels - 1) / 2
        if (steps - steps.round().clamp(0, levels - 1)).abs().max() > 1e-3:
            raise ValueError(f"x0 must take {levels} evenly spaced values from -1 to 1, got values in between or outside")
    columns = []
    for t in range(1, schedule.T + 1):
        t_all = torch.full((len(x0),), t, device=x0.device)
        noise = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
        x_t = perturb_input(schedule, x0, t_all, noise)
        x0_hat = x0_from_eps(schedule, x_t, t_all, predict(eps_model, x_t, t_all))
        true_mean, true_variance = posterior(schedule, x0.double(), x_t.double(), t_all, t_all - 1)
        mean, _ = posterior(schedule, x0_hat.double(), x_t.double(), t_all, t_all - 1)
        if t > 1:
            columns.append(gaussian_kl(true_mean, true_variance, mean, sigma2[t].to(mean.device)))
        else:
            columns.append(-_decoder_log_prob(x0.double(), mean, sigma2[1].item(), levels).flatten(1).sum(1))
    a = schedule.alpha_bar[-1].to(x0.device)
    columns.append(gaussian_kl(a.sqrt() * x0.double(), 1 - a, torch.zeros_like(x0, dtype=torch.float64), torch.ones_like(a)))
    return torch.stack(columns, dim=1) / (x0[0].numel() * math.log(2))


def _decoder_log_prob(x0, mean, variance, levels):
    """The log density of each value, or with ``levels`` the log probability of its bin, whose ends at −1 and 1 are open."""
    away, sigma = x0 - mean, math.sqrt(variance)
    if levels is None:
        return -(away.square() / variance + math.log(2 * math.pi * variance)) / 2
    half = 1 / (levels - 1)
    log_cdf = torch.special.log_ndtr
    upper, lower = log_cdf((half - away.abs()) / sigma), log_cdf((-half - away.abs()) / sigma)  # in the lower tail: no cancellation
    inner = upper + torch.log1p(-torch.exp(lower - upper))
    top, bottom = log_cdf((half - away) / sigma), log_cdf((half + away) / sigma)
    return torch.where(x0 > 1 - half, top, torch.where(x0 < half - 1, bottom, inner))


def predict(eps_model, x_t, t):
    """Call ``eps_model(x_t, t)`` and raise ValueError unless the answer is finite and has the shape of ``x_t``."""
    eps = eps_model(x_t, t)
    if not isinstance(eps, torch.Tensor) or eps.shape != x_t.shape:
        got = tuple(eps.shape) if isinstance(eps, torch.Tensor) else type(eps).__name__
        raise ValueError(f"eps_model must return a tensor of shape {tuple(x_t.shape)}, got {got}")
    if not eps.isfinite().all():
        raise ValueError(f"eps_model returned NaN or infinity at t = {sorted(set(t.tolist()))}")
    return eps
