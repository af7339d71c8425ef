r"""Sampling: one reverse loop, and one step function per method.

A step function is ``step(schedule, x_t, eps, t, s, noise) -> x_s``; ``t`` and ``s`` < t are int64 (B,), the rest is shaped like
the data. Since t = 0 is clean data, every method runs the same loop down to s = 0.
"""

from dataclasses import dataclass
from functools import partial

import torch

from .diffusion import at, check_data, check_generator, check_t, eps_from_x0, perturb_input, posterior, predict, x0_from_eps
from .schedules import timesteps


@dataclass(frozen=True)
class State:
    r"""A moment of the reverse process: timestep ``t``, picture or points ``x`` (B, …), and the :math:`\hat x_0` that led there."""

    t: int
    x: torch.Tensor
    x0_hat: torch.Tensor


def reverse_process(eps_model, schedule, x, timesteps, step, *, generator):
    r"""Run a reverse process from ``x`` at ``timesteps[0]`` down the sequence.

    Parameters
    ----------
    eps_model : callable
        ``eps_model(x_t, t)`` returns the noise estimate, shaped like ``x_t``; t is int64 (B,).
    schedule : NoiseSchedule
    x : float tensor (B, …)
        The state at ``timesteps[0]``.
    timesteps : int64 tensor (n + 1,)
        Strictly falling, within 0…T.
    step : callable
        :func:`ddpm_step`, :func:`ddim_step` or another step function.
    generator : torch.Generator
        Source of the fresh noise, one draw per step whether the step uses it or not.

    Yields
    ------
    State
        After each step; the last one is at ``timesteps[-1]``.

    Raises
    ------
    TypeError, ValueError
        Before any work, if ``x`` or ``timesteps`` are wrong; at its step, if the model returns another shape or NaN.
    """
    check_data("x", x)
    if not isinstance(timesteps, torch.Tensor) or timesteps.dtype != torch.int64:
        raise TypeError(f"timesteps must be an int64 tensor, got {getattr(timesteps, 'dtype', type(timesteps).__name__)}")
    if timesteps.ndim != 1 or len(timesteps) < 2 or not (timesteps[1:] < timesteps[:-1]).all():
        raise ValueError(f"timesteps must be at least two strictly falling numbers, got {timesteps.tolist()}")
    if timesteps[0] > schedule.T or timesteps[-1] < 0:
        raise ValueError(f"timesteps must lie in 0…{schedule.T}, got {int(timesteps[-1])}…{int(timesteps[0])}")
    check_generator(generator)
    return _reverse_process(eps_model, schedule, x, timesteps.tolist(), step, generator)


def _reverse_process(eps_model, schedule, x, taus, step, generator):
    for t, s in zip(taus[:-1], taus[1:], strict=True):
        t_all, s_all = (torch.full((len(x),), u, device=x.device) for u in (t, s))
        eps = predict(eps_model, x, t_all)
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        x0_hat = x0_from_eps(schedule, x, t_all, eps)
        x = step(schedule, x, eps, t_all, s_all, noise)
        yield State(s, x, x0_hat)


def ddpm_step(schedule, x_t, eps, t, s, noise, variance="small"):
    r"""One step of ancestral sampling, :math:`x_s = \tilde\mu(\hat x_0, x_t) + \sigma z`.

    Ho et al. 2020, Algorithm 2, for any s < t; book equation :eq:`eq-ddpm-step`.

    Parameters
    ----------
    schedule : NoiseSchedule
    x_t, eps, noise : float tensors (B, …)
        State, noise estimate and fresh standard normal noise z.
    t, s : int64 tensors (B,)
        0 ≤ s < t ≤ T.
    variance : {"small", "large"}
        :math:`\sigma^2` is the posterior's :math:`\tilde\beta` ("small") or :math:`1-\bar\alpha_t/\bar\alpha_s` ("large"; for
        s = t − 1 it is :math:`\beta_t`). Both are 0 where s = 0: the last step adds no noise.

    Returns
    -------
    float tensor like ``x_t``

    Raises
    ------
    TypeError, ValueError
        If a dtype, shape or range is wrong, or ``variance`` is unknown.
    """
    mean, sigma2 = posterior(schedule, x0_from_eps(schedule, x_t, t, eps), x_t, t, s)
    check_data("noise", noise, like=x_t)
    if variance == "large":
        a_s = at(schedule.alpha_bar, s, x_t)
        sigma2 = (1 - at(schedule.alpha_bar, t, x_t) / a_s) * (a_s < 1)
    elif variance != "small":
        raise ValueError(f'variance must be "small" or "large", got {variance!r}')
    return (mean + sigma2.sqrt() * noise).to(x_t.dtype)


def ddim_step(schedule, x_t, eps, t, s, noise, eta=0.0):
    r"""One step of DDIM, :math:`x_s = \sqrt{\bar\alpha_s}\,\hat x_0 + \sqrt{1-\bar\alpha_s-\sigma^2}\,\hat\epsilon + \sigma z`.

    Here :math:`\sigma^2=\eta^2\,\frac{1-\bar\alpha_s}{1-\bar\alpha_t}\bigl(1-\frac{\bar\alpha_t}{\bar\alpha_s}\bigr)`.
    Song, Meng & Ermon 2021, equations 12 and 16; book equation :eq:`eq-ddim-step`. ``eta`` lies in [0, 1]: 0 is deterministic,
    1 is DDPM with the small variance. Other parameters, and errors, as in :func:`ddpm_step`.
    """
    _check_eta(eta)
    check_data("noise", noise, like=x_t)
    check_t("t", t, x_t, schedule.T, lowest=1)
    check_t("s", s, x_t, schedule.T)
    if not (s < t).all():
        raise ValueError("s must be smaller than t for every item")
    a_t, a_s = at(schedule.alpha_bar, t, x_t), at(schedule.alpha_bar, s, x_t)
    sigma2 = eta**2 * (1 - a_s) / (1 - a_t) * (1 - a_t / a_s)
    x0_hat = x0_from_eps(schedule, x_t, t, eps)
    return (a_s.sqrt() * x0_hat + (1 - a_s - sigma2).sqrt() * eps + sigma2.sqrt() * noise).to(x_t.dtype)


def _check_eta(eta):
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must lie in [0, 1], got {eta}")


def sample_ddpm(eps_model, schedule, shape, *, steps=None, variance="small", generator):
    r"""Draw samples by DDPM (Ho et al. 2020, Algorithm 2; book equation :eq:`eq-ddpm-step`).

    Parameters
    ----------
    eps_model : callable
        ``eps_model(x_t, t)``, as in :func:`reverse_process`.
    schedule : NoiseSchedule
    shape : tuple of int
        Shape of the samples, (B, …).
    steps : int, optional
        Number of evenly spaced steps in 1…T; all T by default.
    variance : {"small", "large"}
        As in :func:`ddpm_step`.
    generator : torch.Generator
        Source of :math:`x_T` and of the noise; the samples live on its device.

    Returns
    -------
    float tensor of the given shape

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, or the model returns another shape or NaN.
    """
    return _sample(eps_model, schedule, shape, schedule.T if steps is None else steps, partial(ddpm_step, variance=variance), generator)


def sample_ddim(eps_model, schedule, shape, *, steps=50, eta=0.0, generator):
    r"""Draw samples by DDIM (Song, Meng & Ermon 2021, equation 12; book equation :eq:`eq-ddim-step`).

    ``eta`` lies in [0, 1], as in :func:`ddim_step`; other parameters, result and errors as in :func:`sample_ddpm`.
    """
    return _sample(eps_model, schedule, shape, steps, partial(ddim_step, eta=eta), generator)


def _sample(eps_model, schedule, shape, steps, step, generator):
    taus = timesteps(schedule.T, steps)
    check_generator(generator)
    x = torch.randn(shape, generator=generator, device=generator.device)
    return _last(reverse_process(eps_model, schedule, x, taus, step, generator=generator))


def _last(states):
    for state in states:
        pass
    return state.x


def sample_es_ddpm(eps_model, schedule, proposals, *, stop_at, steps=None, eta=1.0, generator):
    r"""Early-Stopped DDPM: noise the samples of another generator to t = ``stop_at``, and denoise them from there.

    Lyu et al. 2022; book equation :eq:`eq-es-start`. The network is called ``steps`` times, and never at t > ``stop_at``.

    Parameters
    ----------
    eps_model, schedule
        As in :func:`reverse_process`.
    proposals : float tensor (B, …)
        Samples of the other generator.
    stop_at : int
        The timestep :math:`T'` in 0…T; 0 returns the proposals, and T almost forgets them.
    steps : int, optional
        Number of evenly spaced steps in 1…``stop_at``; all by default.
    eta : float
        As in :func:`ddim_step`; 1 is DDPM with the small variance.
    generator : torch.Generator
        Source of the noise, on the device of the proposals.

    Returns
    -------
    float tensor like ``proposals``

    Raises
    ------
    TypeError, ValueError
        Before any work, if ``proposals``, ``stop_at``, ``steps`` or ``eta`` are wrong; at its step, if the model returns another
        shape or NaN.
    """
    check_data("proposals", proposals)
    if not isinstance(stop_at, int) or not 0 <= stop_at <= schedule.T:
        raise ValueError(f"stop_at must be an int in 0…{schedule.T}, got {stop_at!r}")
    steps = stop_at if steps is None else steps
    if not isinstance(steps, int) or not min(stop_at, 1) <= steps <= stop_at:
        raise ValueError(f"steps must be an int in 1…stop_at = {stop_at}, got {steps!r}")
    _check_eta(eta)
    check_generator(generator)
    if stop_at == 0:
        return proposals
    noise = torch.randn(proposals.shape, generator=generator, device=proposals.device, dtype=proposals.dtype)
    x = perturb_input(schedule, proposals, torch.full((len(proposals),), stop_at, device=proposals.device), noise)
    return _last(reverse_process(eps_model, schedule, x, timesteps(stop_at, steps), partial(ddim_step, eta=eta), generator=generator))


def invert_ddim(eps_model, schedule, x0, *, steps=50):
    r"""Run deterministic DDIM backwards in time, from data to noise: :math:`x_0 \to x_T`.

    Each step from t to s > t moves along the same line, :math:`x_s=\sqrt{\bar\alpha_s}\,\hat x_0+\sqrt{1-\bar\alpha_s}\,\hat\epsilon`,
    with the noise estimated at ``x_t`` (at t = 1 for the clean data, since no model is trained at t = 0). Song, Meng & Ermon 2021,
    section 4.3; book equation :eq:`eq-inversion`.

    Parameters
    ----------
    eps_model, schedule
        As in :func:`reverse_process`.
    x0 : float tensor (B, …)
    steps : int
        1…T.

    Returns
    -------
    float tensor like ``x0``

    Raises
    ------
    TypeError, ValueError
        As in :func:`sample_ddpm`.
    """
    check_data("x0", x0)
    taus = timesteps(schedule.T, steps).flip(0).tolist()
    x = x0
    for t, s in zip(taus[:-1], taus[1:], strict=True):
        t_all, s_all = (torch.full((len(x),), u, device=x.device) for u in (max(t, 1), s))
        eps = predict(eps_model, x, t_all)
        x0_hat = x if t == 0 else x0_from_eps(schedule, x, t_all, eps)
        x = perturb_input(schedule, x0_hat, s_all, eps)
    return x


def clipped(eps_model, schedule, low=-1.0, high=1.0):
    r"""The noise predictor whose implied :math:`\hat x_0` is that of ``eps_model``, clipped to [``low``, ``high``].

    Pictures live in [−1, 1], so an estimate outside can only be wrong (Ho et al. 2020 clip it in their code).
    """
    def clipped_model(x_t, t):
        x0_hat = x0_from_eps(schedule, x_t, t, predict(eps_model, x_t, t)).clamp(low, high)
        return eps_from_x0(schedule, x_t, t, x0_hat)

    return clipped_model


def epsilon_scaled(eps_model, scale):
    r"""The noise predictor :math:`\hat\epsilon/b` with :math:`b` = ``scale``, slightly above 1: epsilon scaling.

    Ning et al. 2024; book equation :eq:`eq-es-epsilon-scaling`. ValueError unless ``scale`` is positive and finite.
    """
    if not 0 < scale < float("inf"):
        raise ValueError(f"scale must be positive and finite, got {scale}")
    return lambda x_t, t: eps_model(x_t, t) / scale
