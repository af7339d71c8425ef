r"""Sampling: one reverse loop, and one step function per method.

A step function is ``step(schedule, x_t, eps, t, s, noise) -> x_s``; ``t`` and ``s`` < t are ints in the loop (a step by
itself takes int64 (B,) as well), the rest is shaped like the data. Since t = 0 is clean data, every method runs the
same loop down to s = 0. A sampler takes its start, and the samples have the shape, dtype and device of it. Wrong dtype,
shape, range or NaN raises TypeError or ValueError naming the argument before any work; a model that returns another
shape or NaN is named at its step.
"""

from dataclasses import dataclass
from functools import partial

import torch

from .arguments import (
    checked_eps,
    described,
    require_callable,
    require_choice,
    require_data,
    require_generator,
    require_int,
    require_number,
    require_t,
    require_times,
)
from .diffusion import eps_from_x0, perturb_input, posterior, x0_from_eps
from .schedules import at, require_schedule, timesteps


@dataclass(frozen=True)
class State:
    r"""A moment of the reverse process: timestep ``t``, picture or points ``x`` (B, …), and the :math:`\hat x_0`
    that led there.
    """

    t: int
    x: torch.Tensor
    x0_hat: torch.Tensor


def reverse_process(eps_model, schedule, x, timesteps, step, *, generator=None):
    r"""Run a reverse process from ``x`` at ``timesteps[0]`` down the sequence.

    Parameters
    ----------
    eps_model : callable
        ``eps_model(x_t, t)`` returns the noise estimate, shaped like ``x_t``; t is int64 (B,).
    schedule : NoiseSchedule
    x : float tensor (B, …)
        The state at ``timesteps[0]``.
    timesteps : int64 tensor (n + 1,) or list of int
        Strictly falling, within 0…T.
    step : callable
        :func:`ddpm_step`, :func:`ddim_step` or another step function.
    generator : torch.Generator, optional
        Source of the fresh noise, one draw per step whether the step uses it or not. Without one, no noise is drawn,
        and the step gets None in its place.

    Yields
    ------
    State
        After each step; the last one is at ``timesteps[-1]``.
    """
    require_callable("eps_model", eps_model)
    require_schedule(schedule)
    require_data("x", x)
    taus = _falling(timesteps, schedule.T)
    require_callable("step", step)
    if generator is not None:
        require_generator(generator, x.device)
    return _states(eps_model, schedule, x, taus, step, generator)


def _falling(timesteps, T):
    try:
        taus = [require_int("timesteps", t) for t in timesteps]
    except TypeError:
        raise TypeError("timesteps must be an int64 tensor or a list of ints") from None
    if len(taus) < 2 or any(s >= t for t, s in zip(taus, taus[1:], strict=False)):
        raise ValueError(
            f"timesteps must be at least two strictly falling numbers, got {described(taus)}"
        )
    if taus[0] > T or taus[-1] < 0:
        raise ValueError(f"timesteps must lie in 0…{T}, got {described(taus)}")
    return taus


def _states(eps_model, schedule, x, taus, step, generator):
    for t, s, x_t, eps, x_s in _steps(eps_model, schedule, x, taus, step, generator):
        yield State(s, x_s, x0_from_eps(schedule, x_t, t, eps))


def _steps(eps_model, schedule, x, taus, step, generator):
    """Yield (t, s, x_t, eps, x_s) for each step."""
    x = x.clone()
    for t, s in zip(taus[:-1], taus[1:], strict=True):
        eps = checked_eps(eps_model, x, t)
        noise = None
        if generator is not None:
            noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        result = step(
            schedule, x.clone(), eps.clone(), t, s, noise
        )  # copies: a step may write into them
        x_t, x = x, require_data(f"the result of step at t = {t}", result, like=x)
        yield t, s, x_t, eps, x


def ddpm_step(schedule, x_t, eps, t, s, noise, variance="small"):
    r"""One step of ancestral sampling, :math:`x_s = \tilde\mu(\hat x_0, x_t) + \sigma z`.

    Ho et al. 2020, Algorithm 2, for any s < t; book equation :eq:`eq-ddpm-step`.

    Parameters
    ----------
    schedule : NoiseSchedule
    x_t, eps, noise : float tensors (B, …)
        State, noise estimate and fresh standard normal noise z.
    t, s : int or int64 tensor (B,)
        0 ≤ s < t ≤ T.
    variance : {"small", "large"}
        :math:`\sigma^2` is the posterior's :math:`\tilde\beta` ("small") or :math:`1-\bar\alpha_t/\bar\alpha_s`
        ("large"; for s = t − 1 it is :math:`\beta_t`). Both are 0 where s = 0: the last step adds no noise.

    Returns
    -------
    float tensor like ``x_t``
    """
    require_choice("variance", variance, ("small", "large"))
    mean, sigma2 = posterior(schedule, x0_from_eps(schedule, x_t, t, eps), x_t, t, s)
    _require_noise(noise, x_t)
    if variance == "large":
        t, s = require_times(t, s, x_t, schedule.T)
        a_t, a_s = at(schedule.alpha_bar, t, x_t), at(schedule.alpha_bar, s, x_t)
        sigma2 = (1 - a_t / a_s) * (a_s < 1)
    return (mean + sigma2.sqrt() * noise).to(x_t.dtype)


def ddim_step(schedule, x_t, eps, t, s, noise=None, eta=0.0):
    r"""One step of DDIM, :math:`x_s = \sqrt{\bar\alpha_s}\,\hat x_0 + \sqrt{1-\bar\alpha_s-\sigma^2}\,\hat\epsilon +
    \sigma z`.

    Here :math:`\sigma^2=\eta^2\,\frac{1-\bar\alpha_s}{1-\bar\alpha_t}\bigl(1-\frac{\bar\alpha_t}{\bar\alpha_s}\bigr)`.
    Song, Meng & Ermon 2021, equations 12 and 16; book equation :eq:`eq-ddim-step`. ``eta`` lies in [0, 1]: 0 is
    deterministic and needs no ``noise``, 1 is DDPM with the small variance. Other parameters as in :func:`ddpm_step`.
    """
    eta = require_number("eta", eta, least=0, most=1)
    x0_hat = x0_from_eps(schedule, x_t, t, eps)
    t, s = require_times(t, s, x_t, schedule.T)
    a_t, a_s = at(schedule.alpha_bar, t, x_t), at(schedule.alpha_bar, s, x_t)
    sigma2 = eta**2 * (1 - a_s) / (1 - a_t) * (1 - a_t / a_s)
    x_s = a_s.sqrt() * x0_hat + (1 - a_s - sigma2).sqrt() * eps
    if eta:
        x_s = x_s + sigma2.sqrt() * _require_noise(noise, x_t)
    return x_s.to(x_t.dtype)


def multistep():
    r"""A new step function of second order, DPM-Solver++(2M): DDIM with an estimate that follows its own trend.

    With :math:`\lambda=\tfrac12\ln\frac{\bar\alpha}{1-\bar\alpha}`, :math:`h=\lambda_s-\lambda_t` and the
    estimate :math:`\hat x_0'` of the step before, which was :math:`h'` long,

    .. math::

       D&=\hat x_0+\frac{h}{2h'}\,(\hat x_0-\hat x_0'),\\
       x_s&=\sqrt{\bar\alpha_s}\,D+\sqrt{1-\bar\alpha_s}\,
       \frac{x_t-\sqrt{\bar\alpha_t}\,D}{\sqrt{1-\bar\alpha_t}}.

    The first step and the one to s = 0, where h is infinite, take :math:`D=\hat x_0`, as DDIM does. One network
    evaluation a step, and no noise. The function remembers: it is for one run of :func:`reverse_process`. Lu et al.
    2022 (DPM-Solver++), algorithm 2.

    Returns
    -------
    callable
        ``step(schedule, x_t, eps, t, s, noise=None)``, t and s ints.
    """
    before = None

    def multistep_step(schedule, x_t, eps, t, s, noise=None):
        nonlocal before
        log_snr = require_schedule(schedule).snr.log()
        t = require_int("t", t, 1, schedule.T)
        s = require_int("s", s, 0, t - 1)
        x0_hat = x0_from_eps(schedule, x_t, t, eps)
        D, h = x0_hat, (log_snr[s] - log_snr[t]) / 2
        if before is not None and s > 0:
            last, last_h = before
            D = x0_hat + h / (2 * last_h) * (x0_hat - last)
        before = x0_hat, h
        return perturb_input(schedule, D, s, eps_from_x0(schedule, x_t, t, D))

    return multistep_step


def _require_noise(noise, x_t):
    if noise is None:
        raise TypeError(
            "noise must be a floating-point tensor, got None: reverse_process draws it if it has a generator"
        )
    return require_data("noise", noise, like=x_t)


def sample_ddpm(
    eps_model, schedule, x_T, *, steps=None, variance="small", spacing="uniform", generator
):
    r"""Draw samples by DDPM (Ho et al. 2020, Algorithm 2; book equation :eq:`eq-ddpm-step`).

    Parameters
    ----------
    eps_model : callable
        ``eps_model(x_t, t)``, as in :func:`reverse_process`.
    schedule : NoiseSchedule
    x_T : float tensor (B, …)
        Standard normal noise: the start, which decides the shape, dtype and device of the samples.
    steps : int, optional
        Number of steps in 1…T; all T by default.
    variance : {"small", "large"}
        As in :func:`ddpm_step`.
    spacing : {"uniform", "quadratic", "karras"}
        As in :func:`dgm_helpers.schedules.timesteps`.
    generator : torch.Generator
        Source of the noise of the steps.

    Returns
    -------
    float tensor like ``x_T``
    """
    require_choice("variance", variance, ("small", "large"))
    require_callable("eps_model", eps_model)
    require_data("x_T", x_T)
    require_generator(generator, x_T.device)
    T = require_schedule(schedule).T
    taus = timesteps(T, T if steps is None else steps, spacing, schedule=schedule)
    return _end(eps_model, schedule, x_T, taus, partial(ddpm_step, variance=variance), generator)


def sample_ddim(eps_model, schedule, x_T, *, steps=50, eta=0.0, spacing="uniform", generator=None):
    r"""Draw samples by DDIM (Song, Meng & Ermon 2021, equation 12; book equation :eq:`eq-ddim-step`).

    ``eta`` lies in [0, 1], as in :func:`ddim_step`; only above 0 is a ``generator`` needed and used. Other parameters
    and the result as in :func:`sample_ddpm`.
    """
    eta = require_number("eta", eta, least=0, most=1)
    require_callable("eps_model", eps_model)
    require_data("x_T", x_T)
    if eta or generator is not None:
        require_generator(generator, x_T.device)
    taus = timesteps(require_schedule(schedule).T, steps, spacing, schedule=schedule)
    return _end(
        eps_model, schedule, x_T, taus, partial(ddim_step, eta=eta), generator if eta else None
    )


def _end(eps_model, schedule, x, taus, step, generator):
    for *_, x_s in _steps(eps_model, schedule, x, taus.tolist(), step, generator):
        pass
    return x_s


def sample_es_ddpm(
    eps_model, schedule, proposals, *, stop_at, steps=None, eta=1.0, spacing="uniform", generator
):
    r"""Early-Stopped DDPM: noise the samples of another generator to t = ``stop_at``, and denoise them from there.

    Lyu et al. 2022; book equation :eq:`eq-es-start`. The network is called ``steps`` times, and never at t >
    ``stop_at``.

    Parameters
    ----------
    eps_model, schedule
        As in :func:`reverse_process`.
    proposals : float tensor (B, …)
        Samples of the other generator.
    stop_at : int
        The timestep :math:`T'` in 0…T; 0 returns the proposals, and T almost forgets them.
    steps : int, optional
        Number of steps in 1…``stop_at``; all by default.
    eta : float
        As in :func:`ddim_step`; 1 is DDPM with the small variance.
    spacing : {"uniform", "quadratic", "karras"}
        As in :func:`dgm_helpers.schedules.timesteps`, for 0…``stop_at``.
    generator : torch.Generator
        Source of the noise, on the device of the proposals.

    Returns
    -------
    float tensor like ``proposals``
    """
    require_callable("eps_model", eps_model)
    require_data("proposals", proposals)
    stop_at = require_int("stop_at", stop_at, 0, require_schedule(schedule).T)
    steps = stop_at if steps is None else require_int("steps", steps, min(stop_at, 1), stop_at)
    eta = require_number("eta", eta, least=0, most=1)
    require_generator(generator, proposals.device)
    taus = timesteps(max(stop_at, 1), max(steps, 1), spacing, schedule=schedule)
    if stop_at == 0:
        return proposals.clone()
    noise = torch.randn(
        proposals.shape, generator=generator, device=proposals.device, dtype=proposals.dtype
    )
    x = perturb_input(schedule, proposals, stop_at, noise)
    return _end(
        eps_model, schedule, x, taus, partial(ddim_step, eta=eta), generator if eta else None
    )


def invert_ddim(eps_model, schedule, x0, *, steps=50, spacing="uniform"):
    r"""Run deterministic DDIM backwards in time, from data to noise: :math:`x_0 \to x_T`.

    Each step from t to s > t moves along the same line, :math:`x_s=\sqrt{\bar\alpha_s}\,\hat
    x_0+\sqrt{1-\bar\alpha_s}\,\hat\epsilon`, with the noise estimated at ``x_t`` (at t = 1 for the clean data, since no
    model is trained at t = 0). Song, Meng & Ermon 2021, section 4.3; book equation :eq:`eq-inversion`.

    ``x0`` is a float tensor (B, …), and the result is like it; ``steps`` and ``spacing`` as in :func:`sample_ddim`.
    """
    require_callable("eps_model", eps_model)
    require_data("x0", x0)
    taus = (
        timesteps(require_schedule(schedule).T, steps, spacing, schedule=schedule).flip(0).tolist()
    )
    x = x0
    for t, s in zip(taus[:-1], taus[1:], strict=True):
        eps = checked_eps(eps_model, x, max(t, 1))
        x0_hat = x if t == 0 else x0_from_eps(schedule, x, t, eps)
        x = perturb_input(schedule, x0_hat, s, eps)
    return x


def clipped(eps_model, schedule, low=-1.0, high=1.0):
    r"""The noise predictor whose implied :math:`\hat x_0` is that of ``eps_model``, clipped to [``low``, ``high``].

    Pictures live in [−1, 1], so an estimate outside can only be wrong (Ho et al. 2020 clip it in their code). Going to
    :math:`\hat\epsilon` and back rounds: a sample can lie outside by the last digits.
    """
    require_callable("eps_model", eps_model)
    require_schedule(schedule)
    low = require_number("low", low)
    high = require_number("high", high, above=low)

    def clipped_model(x_t, t):
        t = require_t("t", t, require_data("x_t", x_t), schedule.T, lowest=1)
        x0_hat = x0_from_eps(schedule, x_t, t, checked_eps(eps_model, x_t, t))
        span = torch.finfo(x_t.dtype)
        return eps_from_x0(schedule, x_t, t, x0_hat.clamp(max(low, span.min), min(high, span.max)))

    return clipped_model


def guided(conditional, unconditional, scale):
    r"""The noise predictor :math:`\hat\epsilon_\varnothing+w(\hat\epsilon_c-\hat\epsilon_\varnothing)`: classifier-free
    guidance.

    ``conditional`` and ``unconditional`` are noise predictors with and without the class, and w is the finite
    ``scale``: 0 forgets the class, 1 is ``conditional``, and above 1 the samples are more typical of their class and
    less varied. Ho & Salimans 2022, equation 6, where w is called 1 + w; book equation :eq:`eq-guidance`.
    """
    require_callable("conditional", conditional)
    require_callable("unconditional", unconditional)
    scale = require_number("scale", scale)

    def guided_model(x_t, t):
        t = require_t("t", t, require_data("x_t", x_t), None)
        eps = checked_eps(unconditional, x_t, t, "unconditional")
        return eps + scale * (checked_eps(conditional, x_t, t, "conditional") - eps)

    return guided_model


def epsilon_scaled(eps_model, scale):
    r"""The noise predictor :math:`\hat\epsilon/b` with :math:`b` = ``scale`` > 0, slightly above 1: epsilon scaling.

    Ning et al. 2024; book equation :eq:`eq-es-epsilon-scaling`.
    """
    require_callable("eps_model", eps_model)
    scale = require_number("scale", scale, above=0)

    def scaled_model(x_t, t):
        t = require_t("t", t, require_data("x_t", x_t), None)
        return checked_eps(eps_model, x_t, t) / scale

    return scaled_model
