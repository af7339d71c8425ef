r"""The variational bound, term by term: divergences of Gaussians, fixed reverse variances, and the weights of the noise
errors.

Wrong dtype, shape, range or NaN raises TypeError or ValueError naming the argument.
"""

import math

import torch

from .arguments import (
    checked_eps,
    described,
    holds,
    is_floats,
    require_array,
    require_callable,
    require_choice,
    require_data,
    require_generator,
    require_int,
)
from .diffusion import perturb_input, posterior, x0_from_eps
from .schedules import require_schedule


def gaussian_kl(mean1, variance1, mean2, variance2):
    r"""The divergence :math:`D_{KL}(\mathcal N(\mu_1, v_1)\,\Vert\,\mathcal N(\mu_2, v_2))` of each item, in nats.

    The variances belong to the coordinates one by one:
    :math:`\frac12\sum_i\bigl(\frac{v_1}{v_2}-1-\ln\frac{v_1}{v_2}+\frac{(\mu_1-\mu_2)^2}{v_2}\bigr)`. Book equation
    :eq:`eq-gaussian-kl`.

    Parameters
    ----------
    mean1, mean2 : float tensors (B, …)
    variance1, variance2 : float tensors
        Positive; any shape that broadcasts to that of the means.

    Returns
    -------
    float64 tensor (B,)
    """
    require_data("mean1", mean1)
    require_data("mean2", mean2, like=mean1)
    for name, variance in (("variance1", variance1), ("variance2", variance2)):
        if not is_floats(variance):
            raise TypeError(f"{name} must be a floating-point tensor, got {described(variance)}")
        right = (variance > 0) & variance.isfinite()
        if not holds(right):
            raise ValueError(
                f"{name} must be positive and finite, got {variance[~right][0].item()}"
            )
        pairs = zip(variance.shape[::-1], mean1.shape[::-1], strict=False)
        if variance.ndim > mean1.ndim or any(a not in (1, b) for a, b in pairs):
            raise ValueError(
                f"{name} must broadcast to {tuple(mean1.shape)}, got {tuple(variance.shape)}"
            )
    ratio = variance1.double() / variance2
    terms = ratio - 1 - ratio.log() + (mean1.double() - mean2).square() / variance2
    return terms.flatten(1).sum(1) / 2


def reverse_variances(schedule, variance="small"):
    r"""The fixed variances :math:`\sigma_t^2` of the learned reverse steps :math:`p_\theta(x_{t-1}\mid x_t)`, float64
    (T + 1,).

    "small" is :math:`\tilde\beta_t` and "large" is :math:`\beta_t` (Ho et al. 2020, section 3.2; book proposition "The
    two extremes"). As :math:`\tilde\beta_1 = 0` gives no density at the last step, the small one takes
    :math:`\tilde\beta_2` at t = 1. Entry 0 is 0 and has no step.
    """
    sigma2 = require_schedule(schedule).beta
    if require_choice("variance", variance, ("small", "large")) == "small":
        a = schedule.alpha_bar
        sigma2[2:] *= (1 - a[1:-1]) / (1 - a[2:])
        sigma2[1] = sigma2[min(2, schedule.T)]
    return sigma2


def elbo_weights(schedule, variance="small"):
    r"""The weight :math:`w_t=\beta_t^2/(2\sigma_t^2\alpha_t(1-\bar\alpha_t))` of the squared noise error in the bound,
    float64 (T + 1,).

    Ho et al. 2020, equation 12; book equation :eq:`eq-elbo-weight`. ``variance`` as in :func:`reverse_variances`; entry
    0 is 0.
    """
    sigma2, beta = reverse_variances(schedule, variance)[1:], schedule.beta[1:]
    weights = torch.zeros_like(schedule.alpha_bar)
    weights[1:] = beta.square() / (2 * sigma2 * (1 - beta) * (1 - schedule.alpha_bar[1:]))
    return weights


def elbo_terms(eps_model, schedule, x0, *, generator, variance="small", levels=None):
    r"""Every term of the variational bound on :math:`-\log p_\theta(x_0)`, in bits per dimension.

    Ho et al. 2020, equation 5; book equation :eq:`eq-elbo-terms`. One draw of :math:`x_t` for each t, so that the sum
    of a row is an unbiased estimate of the bound.

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
        probability of the value (Ho et al. 2020, equation 13; book equation :eq:`eq-discrete-decoder`). Otherwise it is
        a density.

    Returns
    -------
    float64 tensor (B, T + 1)
        Column 0 is :math:`L_0`, column t − 1 is :math:`L_{t-1}` for t = 2, …, T, column T is :math:`L_T`.
    """
    require_callable("eps_model", eps_model)
    require_schedule(schedule)
    require_data("x0", x0)
    require_generator(generator, x0.device)
    sigma2 = _checked_variances(schedule, variance)
    if levels is not None:
        levels = require_int("levels", levels, 2, 2**16)
        steps = (x0.double() + 1) * (levels - 1) / 2
        if not holds((steps - steps.round().clamp(0, levels - 1)).abs() <= 1e-3):
            raise ValueError(
                f"x0 must take {levels} evenly spaced values from -1 to 1, got values in between or outside"
            )
    columns = []
    for t in range(1, schedule.T + 1):
        noise = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
        x_t = perturb_input(schedule, x0, t, noise)
        x0_hat = x0_from_eps(schedule, x_t, t, checked_eps(eps_model, x_t, t))
        true_mean, true_variance = posterior(schedule, x0.double(), x_t.double(), t, t - 1)
        mean, _ = posterior(schedule, x0_hat.double(), x_t.double(), t, t - 1)
        if t > 1:
            columns.append(gaussian_kl(true_mean, true_variance, mean, sigma2[t].to(mean.device)))
        else:
            columns.append(
                -_decoder_log_prob(x0.double(), mean, sigma2[1].item(), levels).flatten(1).sum(1)
            )
    a = schedule.alpha_bar[-1].to(x0.device)
    columns.append(
        gaussian_kl(
            a.sqrt() * x0.double(),
            1 - a,
            torch.zeros_like(x0, dtype=torch.float64),
            torch.ones_like(a),
        )
    )
    return torch.stack(columns, dim=1) / (x0.shape[1:].numel() * math.log(2))


def _checked_variances(schedule, variance):
    if not isinstance(variance, torch.Tensor):
        return reverse_variances(schedule, variance)
    wanted = f"variance must hold T + 1 = {schedule.T + 1} numbers, positive from index 1 on"
    if variance.shape != (schedule.T + 1,):
        raise ValueError(f"{wanted}, got shape {tuple(variance.shape)}")
    sigma2 = require_array("variance", variance)
    if not holds(sigma2[1:] > 0):
        raise ValueError(f"{wanted}, got {sigma2[1:].min().item()}")
    return sigma2


def _decoder_log_prob(x0, mean, variance, levels):
    """The log density of each value, or with ``levels`` the log probability of its bin, whose ends at −1 and 1 are
    open.
    """
    away, sigma = x0 - mean, math.sqrt(variance)
    if levels is None:
        return -(away.square() / variance + math.log(2 * math.pi * variance)) / 2
    half = 1 / (levels - 1)
    log_cdf = torch.special.log_ndtr
    upper, lower = (
        log_cdf((half - away.abs()) / sigma),
        log_cdf((-half - away.abs()) / sigma),
    )  # in the lower tail: no cancellation
    inner = upper + torch.log1p(-torch.exp(lower - upper))
    top, bottom = log_cdf((half - away) / sigma), log_cdf((half + away) / sigma)
    return torch.where(x0 > 1 - half, top, torch.where(x0 < half - 1, bottom, inner))
