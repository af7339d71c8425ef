r"""Losses that fit a score :math:`s_\theta\approx\nabla\log p` to samples of p, without knowing p.

Each loss is that of every item, (B,); its mean over the data is the Fisher divergence :math:`\frac12\,\mathbb E\lVert
s_\theta-\nabla\log p\rVert^2` plus a constant that :math:`\theta` does not change. Every function works for any
trailing shape: points ``(B, d)`` and pictures ``(B, C, H, W)`` alike. The gradient goes to the parameters of the score,
not to ``x``. Items must not see each other in ``score`` (no batch normalisation), and where a loss differentiates it in
``x`` it must be smooth: behind ReLUs the trace has almost no gradient. Wrong dtype, shape, range or NaN raises
TypeError or ValueError naming the argument.
"""

import torch

from .arguments import (
    checked_score,
    is_finite,
    require_bool,
    require_callable,
    require_data,
    require_generator,
    require_sigma,
    require_sigmas,
)


def exact_score_matching(score, x):
    r"""The loss :math:`\frac12\lVert s(x)\rVert^2+\operatorname{tr}\nabla s(x)`, with the trace by one backward pass
    for each coordinate.

    Hyvärinen 2005, theorem 1; Song & Ermon 2019, equation 1; book equation :eq:`eq-exact-score-matching`. At the true
    score its mean is :math:`-\frac12\,\mathbb E\lVert\nabla\log p\rVert^2`.

    Parameters
    ----------
    score : callable
        ``score(x)`` returns a tensor shaped like ``x``, differentiable in ``x``.
    x : float tensor (B, …)
        Samples of p.

    Returns
    -------
    float tensor (B,)
    """
    require_callable("score", score)
    require_data("x", x)
    s, pull = _differentiable(score, x)
    loss = s.square().flatten(1).sum(1) / 2
    for i in range(x[:1].numel()):
        v = torch.zeros_like(x).flatten(1)
        v[:, i] = 1
        loss = loss + pull(v.reshape(x.shape)).flatten(1)[:, i]
    return loss


def sliced_score_matching(score, x, *, generator, variance_reduced=False):
    r"""The loss :math:`v^\top\nabla s(x)\,v+\frac12(v^\top s(x))^2` for a random direction v: one backward pass in any
    dimension.

    Song, Garg, Shi & Ermon 2019 ("Sliced score matching"), section 3; book equation :eq:`eq-sliced`. The coordinates of
    v are independent signs ±1 (Rademacher), one v for each item. Then :math:`\mathbb E[vv^\top]=I`, so the mean over v
    is :func:`exact_score_matching`; and the variance over v of :math:`v^\top M v`, which is :math:`2\sum_{i\ne
    j}M_{ij}^2` for symmetric M (book equation :eq:`eq-slice-variance`), is never above that of normal directions,
    :math:`2\sum_{ij}M_{ij}^2`.

    Parameters
    ----------
    score, x
        As in :func:`exact_score_matching`.
    generator : torch.Generator
        Source of v.
    variance_reduced : bool
        Replace the second term by its mean :math:`\frac12\lVert s(x)\rVert^2` (Song & Ermon 2019, equation 3; book
        equation :eq:`eq-sliced-reduced`): M is then the symmetric part of :math:`\nabla s`, otherwise that plus
        :math:`\frac12 ss^\top`.

    Returns
    -------
    float tensor (B,)
    """
    require_callable("score", score)
    require_data("x", x)
    require_generator(generator, x.device)
    variance_reduced = require_bool("variance_reduced", variance_reduced)
    s, pull = _differentiable(score, x)
    v = 2 * torch.randint(2, x.shape, generator=generator, device=x.device, dtype=x.dtype) - 1
    square = (
        s.square().flatten(1).sum(1) if variance_reduced else (v * s).flatten(1).sum(1).square()
    )
    return square / 2 + (pull(v) * v).flatten(1).sum(1)


def denoising_score_matching(score, x, sigma, *, generator):
    r"""The loss :math:`\frac12\lVert s(\tilde x)+\epsilon/\sigma\rVert^2` at :math:`\tilde x=x+\sigma\epsilon`, with no
    derivative of s.

    Here :math:`\epsilon` is standard normal. Vincent 2011, section 4.2; Song & Ermon 2019, equation 5; book equation
    :eq:`eq-dsm`. It fits the score of the *perturbed* density :math:`p_\sigma=p*\mathcal N(0,\sigma^2I)`. At that score
    its mean is :math:`\frac12\bigl(d/\sigma^2-\mathbb E\lVert\nabla\log p_\sigma\rVert^2\bigr)`, which grows as
    :math:`\sigma` falls.

    Parameters
    ----------
    score : callable
        ``score(x)`` returns a tensor shaped like ``x``.
    x : float tensor (B, …)
        Samples of p.
    sigma : float or float tensor (B,)
        Standard deviation of the noise, positive.
    generator : torch.Generator
        Source of the noise, one draw for each item.

    Returns
    -------
    float tensor (B,)
    """
    require_callable("score", score)
    require_data("x", x)
    sigma = require_sigma(sigma, x)
    require_generator(generator, x.device)
    sigma = sigma.reshape(-1, *[1] * (x.ndim - 1))
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    s = _finite_score(score, x.detach() + sigma * noise)
    return (s + noise / sigma).square().flatten(1).sum(1) / 2


def noise_conditional_score_matching(score, x, sigmas, *, generator):
    r"""Denoising score matching at a noise level drawn for each item, times :math:`\sigma^2` so that every level counts
    alike.

    Song & Ermon 2019, equations 5 and 6 with :math:`\lambda(\sigma)=\sigma^2`; book equation
    :eq:`eq-noise-conditional`. The mean over the levels is estimated by one level, uniform among ``sigmas``, for each
    item.

    Parameters
    ----------
    score : callable
        ``score(x, sigma)`` returns a tensor shaped like ``x``; ``sigma`` is (B,).
    x : float tensor (B, …)
        Samples of p.
    sigmas : float tensor (L,) or sequence
        The noise levels, positive.
    generator : torch.Generator
        Source of the levels and of the noise.

    Returns
    -------
    float tensor (B,)
    """
    require_callable("score", score)
    require_data("x", x)
    sigmas = require_sigmas(sigmas, x).to(x.device, x.dtype)
    require_generator(generator, x.device)
    sigma = sigmas[torch.randint(len(sigmas), x.shape[:1], generator=generator, device=x.device)]
    return sigma.square() * denoising_score_matching(
        lambda y: score(y, sigma.clone()), x, sigma, generator=generator
    )


def _differentiable(score, x):
    """The score s at ``x``, and a function of v that gives each item's vᵀ∇s; they keep a graph where gradients are
    wanted.
    """
    wanted = torch.is_grad_enabled()
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        s = _finite_score(score, x)
    if not s.requires_grad:
        raise ValueError(
            "score must be differentiable in x, got an answer without a graph (made under torch.no_grad, perhaps)"
        )

    def pull(v):
        return torch.autograd.grad(
            s, x, v, retain_graph=True, create_graph=wanted, materialize_grads=True
        )[0]

    return s if wanted else s.detach(), pull


def _finite_score(score, x):
    s = checked_score(score, x)
    if not is_finite(s):
        raise ValueError("score returned NaN or infinity")
    return s
