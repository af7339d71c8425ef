r"""Samplers from a score :math:`s=\nabla\log p`: gradient ascent, Langevin dynamics, annealed and Metropolis-adjusted.

One convention for the step size :math:`\alpha` everywhere, that of Song & Ermon 2019: :math:`x\leftarrow x+\frac\alpha2
s(x)+\sqrt\alpha\,z`. Where others write :math:`x\leftarrow x+\eta\,s(x)+\sqrt{2\eta}\,z`, take :math:`\alpha=2\eta`.
All chains run as one batch, for any trailing shape, without gradients: a score that differentiates a density must
itself turn them on (``torch.enable_grad``). Wrong dtype, shape, range or NaN raises TypeError or ValueError naming the
argument.
"""

import math

import torch

from .arguments import (
    checked_score,
    described,
    is_finite,
    is_floats,
    require_bool,
    require_callable,
    require_data,
    require_generator,
    require_int,
    require_number,
    require_sigmas,
)


class ChainDiverged(ArithmeticError):
    """A chain became NaN or infinite.

    Attributes
    ----------
    step : int
        The step that did it, counted from 1 (over all levels, if annealed).
    x : float tensor (B, …)
        The last finite state of all chains, that before the step.
    """

    def __init__(self, step, x, chains):
        super().__init__(
            f"{chains} of {len(x)} chains became NaN or infinite at step {step}; a smaller step_size may help"
        )
        self.step, self.x = step, x


@torch.no_grad()
def gradient_ascent(score, x, *, step_size, steps, trajectory=False):
    r"""Climb to a mode: :math:`x\leftarrow x+\frac\alpha2 s(x)`, Langevin dynamics without its noise.

    Book equation :eq:`eq-gradient-ascent`. The factor ½ keeps one :math:`\alpha` comparable with :func:`langevin`; it
    is plain gradient ascent on :math:`\log p` with rate :math:`\alpha/2`. On a Gaussian of variance v each step
    multiplies the distance to the mean by :math:`1-\alpha/(2v)`.

    Parameters
    ----------
    score : callable
        ``score(x)`` returns a tensor shaped like ``x``.
    x : float tensor (B, …)
        Where the chains start.
    step_size : float
        :math:`\alpha`, positive.
    steps : int
        At least 1.
    trajectory : bool
        Return every state instead of the last one.

    Returns
    -------
    float tensor like ``x``, or (steps + 1, B, …) with ``trajectory``, from ``x`` to the last state

    Raises
    ------
    ChainDiverged
        At the step where a chain becomes NaN or infinite.
    """
    step_size, steps = _checked(score, x, step_size, steps=steps)
    return _run(lambda x, i: x + step_size / 2 * checked_score(score, x), x, steps, trajectory)


@torch.no_grad()
def langevin(score, x, *, step_size, steps, generator, trajectory=False):
    r"""Unadjusted Langevin dynamics, :math:`x\leftarrow x+\frac\alpha2 s(x)+\sqrt\alpha\,z` with fresh standard normal
    z.

    Song & Ermon 2019, equation 4; book equation :eq:`eq-langevin`. As :math:`\alpha\to0` the chain keeps p; at a finite
    step it keeps another density: for :math:`\mathcal N(0,v)` that with variance :math:`v/(1-\alpha/(4v))`, and none
    if :math:`\alpha\ge4v` (book equation :eq:`eq-langevin-variance`).

    ``generator`` (torch.Generator) is the source of z, one draw per step. Other parameters, result and errors as in
    :func:`gradient_ascent`.
    """
    step_size, steps = _checked(score, x, step_size, generator, steps=steps)
    return _run(
        lambda x, i: _step(x, checked_score(score, x), step_size, generator), x, steps, trajectory
    )


@torch.no_grad()
def annealed_langevin(score, x, sigmas, *, step_size, steps_per_level, generator, trajectory=False):
    r"""Langevin dynamics at falling noise levels, with the step :math:`\alpha_i=\alpha\,\sigma_i^2/\sigma_L^2` at level
    i.

    Song & Ermon 2019, algorithm 1; book equation :eq:`eq-annealed-langevin`. ``step_size`` is :math:`\alpha`, the step
    at the last and smallest level :math:`\sigma_L`; the result is a draw of the density perturbed by :math:`\sigma_L`,
    up to the errors of the steps.

    Parameters
    ----------
    score : callable
        ``score(x, sigma)`` returns a tensor shaped like ``x``; ``sigma`` is (B,), the level.
    x : float tensor (B, …)
        Where the chains start; best spread as widely as the largest level.
    sigmas : float tensor (L,) or sequence
        The noise levels, positive and strictly falling.
    step_size : float
        Positive.
    steps_per_level : int
        At least 1.
    generator : torch.Generator
        Source of the noise, one draw per step.
    trajectory : bool
        Return every state instead of the last one.

    Returns
    -------
    float tensor like ``x``, or (L · steps_per_level + 1, B, …) with ``trajectory``, from ``x`` to the last state

    Raises
    ------
    ChainDiverged
        As in :func:`gradient_ascent`.
    """
    step_size, steps_per_level = _checked(
        score, x, step_size, generator, steps_per_level=steps_per_level
    )
    sigmas = require_sigmas(sigmas, x)
    if not (sigmas[1:] < sigmas[:-1]).all():
        raise ValueError(f"sigmas must be strictly falling, got {sigmas.tolist()}")
    sigmas = sigmas.tolist()

    def move(x, i):
        sigma = sigmas[(i - 1) // steps_per_level]
        s = checked_score(score, x, torch.full((len(x),), sigma, device=x.device, dtype=x.dtype))
        ratio = sigma / sigmas[-1]
        return _step(
            x, s, step_size * (ratio * ratio), generator
        )  # a float's ** 2 may raise OverflowError

    return _run(move, x, len(sigmas) * steps_per_level, trajectory)


@torch.no_grad()
def metropolis_langevin(log_prob, score, x, *, step_size, steps, generator):
    r"""Langevin dynamics that keeps p exactly at any step size: each step is a proposal, accepted or not.

    The proposal :math:`y\sim q(\cdot\mid x)=\mathcal N(x+\frac\alpha2 s(x),\alpha I)` is accepted with probability
    :math:`\min\bigl(1,\frac{p(y)\,q(x\mid y)}{p(x)\,q(y\mid x)}\bigr)`; a rejected chain stays. Roberts & Tweedie 1996
    (MALA); book equation :eq:`eq-mala`.

    Parameters
    ----------
    log_prob : callable
        ``log_prob(x)`` returns :math:`\log p(x)` up to a constant, (B,); −∞ where p is 0.
    score, x, step_size, steps
        As in :func:`gradient_ascent`.
    generator : torch.Generator
        Source of the noise and of the uniform numbers that decide, one draw of each per step.

    Returns
    -------
    x : float tensor like ``x``
    acceptance_rate : float
        The share of proposals accepted, over all chains and steps.

    Raises
    ------
    ValueError
        If p is 0 where a chain starts.
    ChainDiverged
        If a proposal becomes NaN or infinite, or its chance NaN.
    """
    step_size, steps = _checked(score, x, step_size, generator, steps=steps)
    require_callable("log_prob", log_prob)
    log_p, s = _log_prob(log_prob, x), checked_score(score, x)
    if not log_p.isfinite().all():
        raise ValueError(
            f"log_prob must be finite where the chains start, got {log_p[~log_p.isfinite()][0].item()}"
        )
    accepted = 0
    for i in range(1, steps + 1):
        y = _step(x, s, step_size, generator)
        _check_finite(y, x, i)
        log_p_y, s_y = _log_prob(log_prob, y), checked_score(score, y)
        there, back = (
            _squares(b - a - step_size / 2 * s_a) for a, s_a, b in ((x, s, y), (y, s_y, x))
        )
        log_ratio = log_p_y - log_p + (there - back) / (2 * step_size)
        log_ratio = log_ratio.masked_fill(
            log_p_y == -math.inf, -math.inf
        )  # whatever the score is there
        _check_finite(log_ratio.clamp(-1, 1), x, i)
        accept = (
            torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype).log()
            < log_ratio
        )
        accepted += accept.sum().item()
        log_p = torch.where(accept, log_p_y, log_p)
        accept = accept.reshape(-1, *[1] * (x.ndim - 1))
        x, s = torch.where(accept, y, x), torch.where(accept, s_y, s)
    return x, accepted / max(1, steps * len(x))


def _run(move, x, steps, trajectory):
    """The last state, or all of them in one tensor, after x ← move(x, i) for i = 1, …, steps."""
    if require_bool("trajectory", trajectory):
        states = x.new_empty((steps + 1, *x.shape))
        states[0] = x
    for i in range(1, steps + 1):
        new = move(x, i).to(x.dtype)
        _check_finite(new, x, i)
        x = new
        if trajectory:
            states[i] = x
    return states if trajectory else x


def _step(x, s, step_size, generator):
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return (x + step_size / 2 * s + math.sqrt(step_size) * noise).to(x.dtype)


def _squares(x):
    return x.square().flatten(1).sum(1)


def _log_prob(log_prob, x):
    log_p = log_prob(x.clone())
    if not is_floats(log_p) or log_p.shape != x.shape[:1]:
        raise ValueError(
            f"log_prob must return a floating-point tensor of shape {tuple(x.shape[:1])}, got {described(log_p)}"
        )
    return log_p


def _check_finite(new, x, step):
    if not is_finite(new):
        raise ChainDiverged(step, x, (~new.isfinite()).reshape(len(x), -1).any(1).sum().item())


def _checked(score, x, step_size, *generator, **steps):
    """The step size as a float and the number of steps as an int, if all arguments are right."""
    require_callable("score", score)
    require_data("x", x)
    for g in generator:
        require_generator(g, x.device)
    return require_number("step_size", step_size, above=0), *(
        require_int(name, n, 1) for name, n in steps.items()
    )
