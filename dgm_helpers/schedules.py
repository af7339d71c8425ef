r"""The noise schedule :math:`\beta_1,\dots,\beta_T` of a forward process, and sub-sequences of its timesteps.

Wrong kind, shape or range raises TypeError or ValueError naming the argument.
"""

from math import pi

import torch

from .arguments import described, is_floats, require_choice, require_int, require_number

SPACINGS = ("uniform", "quadratic", "karras")
LONGEST = 10**7  # the largest T


class NoiseSchedule:
    r"""The variances of a forward process, and what follows from them; it cannot be changed.

    Index 0 is clean data everywhere, so ``alpha_bar[t]`` is :math:`\bar\alpha_t` for t = 0, …, T, and no sampler needs
    a special last step (Ho et al. 2020, section 2; book equation :eq:`eq-alpha-bar`).

    Parameters
    ----------
    alpha_bar : float64 tensor (T + 1,)
        :math:`\bar\alpha_t = \prod_{i \le t} (1-\beta_i)`; starts at exactly 1, falls strictly, stays above 0.
    """

    def __init__(self, alpha_bar):
        a = alpha_bar
        if not is_floats(a) or a.dtype != torch.float64 or a.is_meta:
            raise TypeError(f"alpha_bar must be a float64 tensor, got {described(a)}")
        if a.ndim != 1 or len(a) < 2:
            raise ValueError(
                f"alpha_bar must have shape (T + 1,) with T >= 1, got {tuple(a.shape)}"
            )
        if a[0] != 1 or not (a[1:] < a[:-1]).all() or not a[-1] > 0:
            raise ValueError("alpha_bar must start at 1, fall strictly and stay above 0")
        self._alpha_bar = a.detach().to("cpu", copy=True)

    @classmethod
    def linear(cls, T=1000, beta_1=1e-4, beta_T=0.02):
        r"""Variances that grow linearly from ``beta_1`` to ``beta_T``, 0 < ``beta_1`` ≤ ``beta_T`` < 1 (Ho et al.
        2020, section 4).
        """
        T = require_int("T", T, 1, LONGEST)
        beta_1 = require_number("beta_1", beta_1, above=0, below=1)
        if 1 - beta_1 == 1:
            raise ValueError(
                f"beta_1 must be large enough that 1 - beta_1 < 1 in float64, got {beta_1}"
            )
        beta_T = require_number("beta_T", beta_T, least=beta_1, below=1)
        return cls._from_alpha(
            T, 1 - torch.linspace(beta_1, beta_T, T, dtype=torch.float64, device="cpu")
        )

    @classmethod
    def cosine(cls, T=1000):
        r"""A squared cosine for :math:`\bar\alpha_t`, with :math:`\beta_t \le 0.999` (Nichol & Dhariwal 2021,
        equation 17).
        """
        T = require_int("T", T, 1, LONGEST)
        s = 0.008
        f = (
            torch.cos(
                (torch.arange(T + 1, dtype=torch.float64, device="cpu") / T + s) / (1 + s) * pi / 2
            )
            ** 2
        )
        return cls._from_alpha(T, (f[1:] / f[:-1]).clamp(min=0.001))

    @classmethod
    def _from_alpha(cls, T, alpha):
        alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64, device="cpu"), alpha.cumprod(0)])
        if not (alpha_bar[1:] < alpha_bar[:-1]).all():  # near 0 the products of float64 stand still
            raise ValueError(
                f"T must be smaller for this schedule: at T = {T} alpha_bar is too small for a float64"
            )
        return cls(alpha_bar)

    @property
    def alpha_bar(self):
        r""":math:`\bar\alpha_t`, float64 (T + 1,), a copy."""
        return self._alpha_bar.clone()

    @property
    def T(self):
        """The number of noising steps."""
        return len(self._alpha_bar) - 1

    @property
    def alpha(self):
        r""":math:`\alpha_t = \bar\alpha_t/\bar\alpha_{t-1}`, float64 (T + 1,), with ``alpha[0] == 1``."""
        return torch.cat([self._alpha_bar[:1], self._alpha_bar[1:] / self._alpha_bar[:-1]])

    @property
    def beta(self):
        r""":math:`\beta_t = 1-\alpha_t`, float64 (T + 1,), with ``beta[0] == 0``."""
        return 1 - self.alpha

    @property
    def snr(self):
        r"""Signal-to-noise ratio :math:`\bar\alpha_t/(1-\bar\alpha_t)`, float64 (T + 1,), infinite at t = 0 (Kingma
        et al. 2021, equation 2).
        """
        return self._alpha_bar / (1 - self._alpha_bar)


def require_schedule(schedule):
    """``schedule``, if it is a NoiseSchedule."""
    if not isinstance(schedule, NoiseSchedule):
        raise TypeError(f"schedule must be a NoiseSchedule, got {described(schedule)}")
    return schedule


def at(coefficient, t, x):
    """Pick ``coefficient[t]`` to multiply ``x``: a float64 number for an int t, else float64 (B, 1, …, 1).

    A number leaves the dtype of ``x`` as it is; where t has a batch axis, cast the product back.
    """
    if isinstance(t, int):
        return coefficient[t]
    return coefficient.to(x.device)[t].reshape(-1, *[1] * (x.ndim - 1))


def timesteps(T, n, spacing="uniform", *, schedule=None):
    r"""A descending sub-sequence :math:`T=\tau_n>\dots>\tau_0=0` for a sampler of ``n`` steps.

    Parameters
    ----------
    T : int
        The timestep to start from: the number of noising steps of the schedule, or an earlier one.
    n : int
        Number of sampling steps, 1 ≤ n ≤ T.
    spacing : {"uniform", "quadratic", "karras"}
        :math:`\tau_i \approx iT/n`; :math:`\tau_i \approx i^2T/n^2`, which spends more steps near the data (Song,
        Meng & Ermon 2021, appendix D.2); or, from :math:`\tau_1=1` on, :math:`\lambda_{\tau_i}^{1/7}` as evenly spaced
        as possible up to T, with the noise level :math:`\lambda_t=\sqrt{(1-\bar\alpha_t)/\bar\alpha_t}` (Karras et al.
        2022, equation 5). Where rounding would repeat a timestep, the next free one is taken.
    schedule : NoiseSchedule, optional
        Gives the noise levels; needed for "karras" only.

    Returns
    -------
    int64 tensor (n + 1,)
        Starts at T, ends at 0, strictly falling.
    """
    T = require_int("T", T, 1, LONGEST)
    n = require_int("n (the number of steps)", n, 1, T)
    require_choice("spacing", spacing, SPACINGS)
    i = torch.arange(n + 1, device="cpu")
    if spacing == "karras":
        require_int("T", T, 1, require_schedule(schedule).T)
        level = schedule.snr[1 : T + 1] ** (-1 / 14)
        wanted = level[-1] + (level[0] - level[-1]) * (n - i[1:]) / max(n - 1, 1)
        nearest = torch.searchsorted((level[1:] + level[:-1]) / 2, wanted)
        tau = torch.cat([i[:1], 1 + nearest])
    else:
        tau = (T * (i.double() / n) ** (1 + (spacing == "quadratic"))).round().long()
    tau = (tau - i).cummax(0).values.clamp(max=T - n) + i
    return tau.flip(0)
