r"""Mixtures of Gaussians: the data set whose density, score and reverse process are known exactly.

Wrong dtype, shape, range or NaN raises TypeError or ValueError naming the argument.
"""

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import torch

from .arguments import (
    require_array,
    require_data,
    require_generator,
    require_int,
    require_sigma,
    require_t,
)
from .schedules import at, require_schedule


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    r"""The density :math:`\sum_k w_k\,\mathcal N(x;\,\mu_k,\Sigma_k)`, before and after noising.

    Adding noise :math:`\mathcal N(0,\sigma^2 I)` to its draws gives the mixture with covariances
    :math:`\Sigma_k+\sigma^2 I`; the forward process scales the means too (book equation :eq:`eq-diffused-mixture`).

    Parameters
    ----------
    weights : (K,)
        Not negative, with sum 1 (within 1e-6).
    means : (K, d)
    variances : (K,), (K, d) or (K, d, d)
        Isotropic variances, diagonal variances, or covariance matrices; all positive (definite).
        Tensors or nested lists; kept as float64.
    """

    weights: torch.Tensor
    means: torch.Tensor
    variances: torch.Tensor

    def __post_init__(self):
        for name in ("weights", "means", "variances"):
            object.__setattr__(self, name, require_array(name, getattr(self, name)))
        w, m, v = self.weights, self.means, self.variances
        if w.ndim != 1 or len(w) == 0:
            raise ValueError(f"weights must have shape (K,) with K >= 1, got {tuple(w.shape)}")
        if (w < 0).any() or abs(w.sum() - 1) > 1e-6:
            raise ValueError(
                f"weights must be at least 0 and sum to 1, got {w.tolist()} with sum {w.sum().item()}"
            )
        if m.ndim != 2 or len(m) != len(w) or m.shape[1] == 0:
            raise ValueError(
                f"means must have shape (K, d) with K = {len(w)}, got {tuple(m.shape)}"
            )
        K, d = m.shape
        if v.shape not in ((K,), (K, d), (K, d, d)):
            raise ValueError(
                f"variances must have shape {(K,)}, {(K, d)} or {(K, d, d)}, got {tuple(v.shape)}"
            )
        if v.ndim == 3 and not torch.allclose(v, v.mT, rtol=1e-9, atol=0):
            raise ValueError("variances must be symmetric matrices")
        if not (self._eigen[0] > 0).all():
            raise ValueError(
                f"variances must be positive (definite), got the least eigenvalue {self._eigen[0].min().item()}"
            )

    @classmethod
    def from_student_number(cls, number):
        """The assignment's mixture of two Gaussians in the plane, drawn from a student's number.

        One weight lies in [0.15, 0.25]; the means are (−5, 5) and (5, −5), or (5, 5) and (−5, −5); the isotropic
        variances lie in [1, 2]. ``number`` is an int in 0…2⁶³ − 1.
        """
        generator = torch.Generator().manual_seed(require_int("number", number, 0, 2**63 - 1))
        w, flip, swap, *variances = torch.rand(
            5, dtype=torch.float64, device="cpu", generator=generator
        ).tolist()
        w = 0.15 + 0.1 * w
        y = 5.0 if flip < 0.5 else -5.0
        return cls(
            [w, 1 - w] if swap < 0.5 else [1 - w, w],
            [[-5.0, y], [5.0, -y]],
            [1 + v for v in variances],
        )

    @property
    def mean(self):
        """The mean, float64 (d,)."""
        return self.weights @ self.means

    @property
    def covariance(self):
        """The covariance, float64 (d, d), which is the mean of the components' plus the covariance of their means."""
        d = self.means.shape[1]
        v = self.variances
        matrices = v if v.ndim == 3 else torch.diag_embed(v.reshape(len(v), -1).expand(-1, d))
        away = self.means - self.mean
        return torch.einsum(
            "k,kij->ij", self.weights, matrices + away[:, :, None] * away[:, None, :]
        )

    def sample(self, n, *, generator):
        """Draw ``n`` points, float64 (n, d), on the processor; n is an int in 0…10⁸."""
        n = require_int("n", n, 0, 10**8)
        require_generator(generator, "cpu")
        d = self.means.shape[1]
        k = torch.multinomial(self.weights, max(n, 1), replacement=True, generator=generator)[:n]
        values, vectors = self._eigen
        z = values.sqrt()[k] * torch.randn(
            n, d, generator=generator, dtype=torch.float64, device="cpu"
        )
        return self.means[k] + (z if vectors is None else torch.einsum("bij,bj->bi", vectors[k], z))

    def log_prob(self, x, sigma=0.0):
        r"""The log density of the mixture plus noise :math:`\mathcal N(0,\sigma^2 I)`, in nats.

        Parameters
        ----------
        x : float tensor (B, d)
        sigma : float or float tensor (B,)
            Standard deviation of the noise, at least 0.

        Returns
        -------
        float tensor (B,), in the dtype of ``x``
        """
        return torch.cat(
            [log_components.logsumexp(1) for log_components, _ in self._components(x, sigma)]
        ).to(x.dtype)

    def score(self, x, sigma=0.0):
        r"""The gradient of :meth:`log_prob` in ``x``, (B, d): :math:`-\sum_k r_k(x)\,(\Sigma_k+\sigma^2
        I)^{-1}(x-\mu_k)`.

        :math:`r_k` is the probability of component k given x (book equation :eq:`eq-perturbed-mixture-score`).
        Arguments as in :meth:`log_prob`.
        """
        parts = self._components(x, sigma)
        return -torch.cat(
            [
                torch.einsum("bk,bkd->bd", log_components.softmax(1), pull)
                for log_components, pull in parts
            ]
        ).to(x.dtype)

    def diffused(self, schedule, t):
        r"""The density of :math:`x_t`, another mixture: means :math:`\sqrt{\bar\alpha_t}\mu_k`, covariances
        :math:`\bar\alpha_t\Sigma_k+(1-\bar\alpha_t)I`.

        Book equation :eq:`eq-diffused-mixture`. ``t`` is an int in 0…T.
        """
        t = require_int("t", t, 0, require_schedule(schedule).T)
        a = schedule.alpha_bar[t]
        return GaussianMixture(
            self.weights, a.sqrt() * self.means, self._covariances(lambda v: a * v + 1 - a)
        )

    def eps_model(self, schedule):
        r"""The exact noise predictor ``eps_model(x_t, t)`` of the diffused mixture, :math:`\mathbb E[\epsilon\mid
        x_t]`.

        It is :math:`-\sqrt{1-\bar\alpha_t}` times the score of :math:`x_t` (book equation :eq:`eq-tweedie`). Since
        :math:`x_t/\sqrt{\bar\alpha_t}` is :math:`x_0` plus noise of variance
        :math:`\sigma_t^2=(1-\bar\alpha_t)/\bar\alpha_t`, that is :math:`-\sigma_t` times :meth:`score` there.
        """
        require_schedule(schedule)

        def eps_model(x_t, t):
            require_data("x_t", x_t, shape=("B", self.means.shape[1]))
            t = require_t("t", t, x_t, schedule.T)
            a = at(schedule.alpha_bar, t, x_t)
            sigma = ((1 - a) / a).sqrt()
            return (
                -sigma
                * self.score(
                    x_t.double() / a.sqrt(), sigma if isinstance(t, int) else sigma.flatten()
                )
            ).to(x_t.dtype)

        return eps_model

    def reverse_kernel(self, schedule, x_t, t, s=None):
        r"""The true density :math:`q(x_s\mid x_t)` of an earlier state, in closed form: again a mixture.

        Book equation :eq:`eq-reverse-kernel`.

        Parameters
        ----------
        schedule : NoiseSchedule
        x_t : float tensor (d,)
            One noised point.
        t, s : int
            Timesteps with 0 ≤ s < t ≤ T; ``s`` is t − 1 if not given.

        Returns
        -------
        GaussianMixture
        """
        t = require_int("t", t, 1, require_schedule(schedule).T)
        s = t - 1 if s is None else require_int("s", s, 0, t - 1)
        require_data("x_t", x_t, shape=tuple(self.means.shape[1:]))
        a_s, a = schedule.alpha_bar[s], schedule.alpha_bar[t] / schedule.alpha_bar[s]
        before, after = self.diffused(schedule, s), self.diffused(schedule, t)
        ((log_components, pull),) = after._components(
            x_t[None].double(), 0.0
        )  # pull = C_t⁻¹ (x_t − m_t)
        v = before.variances
        gain = (
            torch.einsum("kij,kj->ki", v, pull[0])
            if v.ndim == 3
            else v.reshape(len(v), -1) * pull[0]
        )
        variances = self._covariances(
            lambda u: (a_s * u + 1 - a_s) * (1 - a) / (a * (a_s * u + 1 - a_s) + 1 - a)
        )
        return GaussianMixture(
            log_components[0].softmax(0), before.means + a.sqrt() * gain, variances
        )

    @cached_property
    def _eigen(self):
        """Eigenvalues (K, 1) or (K, d), and eigenvectors (K, d, d) where the covariances are full."""
        v = self.variances
        return torch.linalg.eigh(v) if v.ndim == 3 else (v.reshape(len(v), -1), None)

    def _covariances(self, function):
        """The variances or matrices whose eigenvalues are ``function`` of this mixture's, in the form of
        ``variances``.
        """
        values, vectors = self._eigen
        if vectors is None:
            return function(self.variances)
        matrices = (vectors * function(values)[:, None, :]) @ vectors.mT
        return (matrices + matrices.mT) / 2

    def _components(self, x, sigma):
        """The log of each weighted component at ``x``, (B, K), and its pull (Σ + σ²I)⁻¹(x − μ), (B, K, d), in float64.

        Yields them for 20,000 points at a time: several times faster than all at once, and small in memory.
        """
        d = self.means.shape[1]
        x = require_data("x", x, shape=("B", d)).double()
        sigma = require_sigma(sigma, x, zero=True)
        means, log_weights = self.means.to(x.device), self.weights.to(x.device).log()
        values, vectors = (y if y is None else y.to(x.device) for y in self._eigen)
        sigmas = sigma.split(20_000) if sigma.ndim else itertools.repeat(sigma)
        for part, level in zip(x.split(20_000), sigmas, strict=False):
            v = values + level.square().reshape(-1, 1, 1)
            along = part[:, None] - means
            if vectors is not None:
                along = torch.einsum("bki,kij->bkj", along, vectors)
            pull = along / v
            log_det = v.log().sum(-1) * (d / v.shape[-1])
            squares = (along * pull) @ along.new_ones(
                d
            )  # a sum over d, several times faster than sum(-1)
            log_components = log_weights - (squares + log_det + d * math.log(2 * math.pi)) / 2
            yield (
                log_components,
                pull if vectors is None else torch.einsum("bkj,kij->bki", pull, vectors),
            )
