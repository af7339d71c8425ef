r"""The noise schedule :math:`\beta_1,\dots,\beta_T` of a forward process, and sub-sequences of its timesteps."""

from dataclasses import dataclass
from math import pi

import torch


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    r"""The variances of a forward process, and what follows from them.

    Index 0 is clean data everywhere, so ``alpha_bar[t]`` is :math:`\bar\alpha_t` for t = 0, …, T, and no sampler needs a
    special last step (Ho et al. 2020, section 2; book equation :eq:`eq-alpha-bar`).

    Parameters
    ----------
    alpha_bar : float64 tensor (T + 1,)
        :math:`\bar\alpha_t = \prod_{i \le t} (1-\beta_i)`; starts at exactly 1, falls strictly, stays above 0.

    Raises
    ------
    TypeError
        If ``alpha_bar`` is not a float64 tensor.
    ValueError
        If it is not one-dimensional with T ≥ 1, does not start at 1, or does not fall strictly within (0, 1].
    """

    alpha_bar: torch.Tensor

    def __post_init__(self):
        a = self.alpha_bar
        if not isinstance(a, torch.Tensor) or a.dtype != torch.float64:
            raise TypeError(f"alpha_bar must be a float64 tensor, got {getattr(a, 'dtype', type(a).__name__)}")
        if a.ndim != 1 or len(a) < 2:
            raise ValueError(f"alpha_bar must have shape (T + 1,) with T >= 1, got {tuple(a.shape)}")
        if a[0] != 1 or not (a[1:] < a[:-1]).all() or not a[-1] > 0:
            raise ValueError("alpha_bar must start at 1, fall strictly and stay above 0")

    @classmethod
    def linear(cls, T=1000, beta_1=1e-4, beta_T=0.02):
        r"""Variances that grow linearly from ``beta_1`` to ``beta_T`` (Ho et al. 2020, section 4).

        Raises ValueError unless T is a positive int and 0 < ``beta_1`` ≤ ``beta_T`` < 1.
        """
        _check_T(T)
        if not 0 < beta_1 <= beta_T < 1:
            raise ValueError(f"beta_1 and beta_T must satisfy 0 < beta_1 <= beta_T < 1, got {beta_1} and {beta_T}")
        alpha = 1 - torch.linspace(beta_1, beta_T, T, dtype=torch.float64)
        return cls(torch.cat([torch.ones(1, dtype=torch.float64), alpha.cumprod(0)]))

    @classmethod
    def cosine(cls, T=1000):
        r"""A squared cosine for :math:`\bar\alpha_t`, with :math:`\beta_t \le 0.999` (Nichol & Dhariwal 2021, equation 17).

        Raises ValueError unless T is a positive int.
        """
        _check_T(T)
        s = 0.008
        f = torch.cos((torch.arange(T + 1, dtype=torch.float64) / T + s) / (1 + s) * pi / 2) ** 2
        alpha = (f[1:] / f[:-1]).clamp(min=0.001)
        return cls(torch.cat([torch.ones(1, dtype=torch.float64), alpha.cumprod(0)]))

    @property
    def T(self):
        """The number of noising steps."""
        return len(self.alpha_bar) - 1

    @property
    def alpha(self):
        r""":math:`\alpha_t = \bar\alpha_t/\bar\alpha_{t-1}`, float64 (T + 1,), with ``alpha[0] == 1``."""
        return torch.cat([self.alpha_bar[:1], self.alpha_bar[1:] / self.alpha_bar[:-1]])

    @property
    def beta(self):
        r""":math:`\beta_t = 1-\alpha_t`, float64 (T + 1,), with ``beta[0] == 0``."""
        return 1 - self.alpha

    @property
    def snr(self):
        r"""Signal-to-noise ratio :math:`\bar\alpha_t/(1-\bar\alpha_t)`, float64 (T + 1,), infinite at t = 0 (Kingma et al. 2021, equation 2)."""
        return self.alpha_bar / (1 - self.alpha_bar)


def _check_T(T):
    if not isinstance(T, int) or T < 1:
        raise ValueError(f"T must be a positive int, got {T!r}")


def timesteps(T, n, spacing="uniform"):
    r"""A descending sub-sequence :math:`T=\tau_n>\dots>\tau_0=0` for a sampler of ``n`` steps.

    Parameters
    ----------
    T : int
        The timestep to start from: the number of noising steps of the schedule, or an earlier one.
    n : int
        Number of sampling steps, 1 ≤ n ≤ T.
    spacing : {"uniform", "quadratic"}
        :math:`\tau_i \approx iT/n`, or :math:`\tau_i \approx i^2T/n^2`, which spends more steps near the data
        (Song, Meng & Ermon 2021, appendix D.2). Where rounding would repeat a timestep, the next free one is taken.

    Returns
    -------
    int64 tensor (n + 1,)
        Starts at T, ends at 0, strictly falling.

    Raises
    ------
    ValueError
        If T is not a positive int, n lies outside 1…T, or ``spacing`` is unknown.
    """
    _check_T(T)
    if not isinstance(n, int) or not 1 <= n <= T:
        raise ValueError(f"n (the number of steps) must be an int in 1…{T}, got {n!r}")
    powers = {"uniform": 1, "quadratic": 2}
    if spacing not in powers:
        raise ValueError(f"spacing must be one of {sorted(powers)}, got {spacing!r}")
    i = torch.arange(n + 1, dtype=torch.float64)
    tau = torch.maximum((T * (i / n) ** powers[spacing]).round().long(), torch.arange(n + 1))
    return tau.flip(0)
