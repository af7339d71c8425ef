r"""Noise predictors that need no training, the yardsticks of those that do, and a network that begins as one of them.

Each is the best prediction from less knowledge: :func:`palette_predictor` sees one pixel at a time and knows the
colours, :func:`affine_predictor` knows mean and covariance of the pictures, and :func:`memoriser` believes that there
are no pictures but those of the training. Each is a plain ``eps_model(x_t, t)`` for t in 1…T, an int or int64 (B,).
:class:`PaletteUNet` learns what a pixel's neighbours add to the palette predictor; :class:`FourierUNet` is what it is
compared with. Wrong dtype, shape, range or NaN raises TypeError or ValueError naming the argument.
"""

import numpy as np
import torch
from torch import nn

from .arguments import require_bool, require_data, require_int, require_t
from .diffusion import eps_from_x0
from .networks import UNet
from .schedules import NoiseSchedule, at, require_schedule

MOST_COLORS = 256


def palette_of(images):
    """The colours of pictures uint8 (N, H, W, 3), float32 (K, 3) in [−1, 1], and the share of each, float32 (K,).

    Raises
    ------
    ValueError
        If there are more than 256 colours: then they are no palette.
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
        got = f"{type(images).__name__} {getattr(images, 'dtype', '')} {np.shape(images)}"
        raise TypeError(f"images must be a uint8 array (N, H, W, 3), got {got}")
    if images.shape[-1] != 3 or images.size == 0:
        raise ValueError(f"images must be a uint8 array (N, H, W, 3), got shape {images.shape}")
    colors, counts = np.unique(images.reshape(-1, 3), axis=0, return_counts=True)
    if len(colors) > MOST_COLORS:
        raise ValueError(f"images must have at most {MOST_COLORS} colours, got {len(colors)}")
    shares = torch.from_numpy(counts / counts.sum()).float()
    return torch.from_numpy(colors).float() / 127.5 - 1, shares


def palette_predictor(schedule, colors, shares):
    r"""The best noise predictor for independent pixels, each the colour :math:`c_k` with probability :math:`\pi_k`.

    Bayes' rule for each pixel by itself:

    .. math:: p(c_k\mid x_t)\propto\pi_k\,\mathcal N\big(x_t;\sqrt{\bar\alpha_t}\,c_k,(1-\bar\alpha_t)I\big),\qquad
       \hat x_0=\sum_k p(c_k\mid x_t)\,c_k.

    Parameters
    ----------
    schedule : NoiseSchedule
    colors : float tensor (K, 3) in [−1, 1]
    shares : float tensor (K,)
        The probabilities :math:`\pi_k`, positive; they are divided by their sum.
    """
    require_schedule(schedule)
    require_data("colors", colors, shape=("K", 3))
    require_data("shares", shares, shape=(len(colors),))
    if not len(colors) or not (shares > 0).all():
        raise ValueError(f"shares must be positive, one for each colour, got {shares.tolist()}")

    def eps_model(x_t, t):
        require_data("x_t", x_t, shape=("B", 3, "H", "W"))
        t = require_t("t", t, x_t, schedule.T, lowest=1)
        palette = colors.to(x_t.device, x_t.dtype)
        alpha_bar = at(schedule.alpha_bar, t, x_t)
        a, b = (level.sqrt().to(x_t.dtype) for level in (alpha_bar, 1 - alpha_bar))
        prior = shares.to(x_t.device, x_t.dtype).log()[:, None, None]
        return _noise(x_t, palette, a, b, (_log_likelihood(x_t, palette, a, b) + prior).softmax(1))

    return eps_model


def affine_predictor(schedule, x0):
    r"""The best noise predictor that is affine in :math:`x_t`; for Gaussian data the best of all.

    .. math:: \hat\epsilon=\sqrt{1-\bar\alpha_t}\,
       \big(\bar\alpha_t\Sigma+(1-\bar\alpha_t)I\big)^{-1}(x_t-\sqrt{\bar\alpha_t}\,\mu)

    with mean and covariance of the data ``x0``, a float tensor (N, …).
    """
    require_schedule(schedule)
    shape, points = _points(x0)
    mean = points.mean(0)
    variances, axes = torch.linalg.eigh((points - mean).T @ (points - mean) / len(points))
    variances = variances.clamp(min=0)

    def eps_model(x_t, t):
        t = require_t("t", t, require_data("x_t", x_t, shape=shape), schedule.T, lowest=1)
        a = at(schedule.alpha_bar, t, mean[None])
        y = (x_t.flatten(1) - a.sqrt() * mean) @ axes
        eps = (1 - a).sqrt() * y / (a * variances + 1 - a) @ axes.T
        return eps.reshape(x_t.shape).to(x_t.dtype)

    return eps_model


def memoriser(schedule, x0):
    r"""The best noise predictor if there are no data but ``x0``, a float tensor (N, …): Bayes' rule over its items.

    It is the minimum of the training loss, and what it draws are copies of ``x0``.
    """
    require_schedule(schedule)
    shape, points = _points(x0)
    squares = points.square().sum(1)

    def eps_model(x_t, t):
        t = require_t("t", t, require_data("x_t", x_t, shape=shape), schedule.T, lowest=1)
        a = at(schedule.alpha_bar, t, points[:1])
        logits = (a.sqrt() * (x_t.flatten(1).to(points) @ points.T) - a / 2 * squares) / (1 - a)
        x0_hat = (logits.softmax(1) @ points).reshape(x_t.shape).to(x_t.dtype)
        return eps_from_x0(schedule, x_t, t, x0_hat)

    return eps_model


def _points(x0):
    """The shape of a batch like ``x0``, and its items as rows, float64."""
    require_data("x0", x0)
    if not len(x0):
        raise ValueError("x0 must hold at least one item, got none")
    return ("B", *x0.shape[1:]), x0.flatten(1).double()


def _log_likelihood(x_t, colors, a, b):
    """log N(x_t; a c_k, b² I) of each pixel, (B, K, H, W), up to a term that is the same for all k."""
    dots = torch.einsum("bchw,kc->bkhw", x_t, colors)
    squares = colors.square().sum(1)[:, None, None]
    return a * (dots - a / 2 * squares) / b.square()


def _noise(x_t, colors, a, b, p):
    """The noise in ``x_t`` = a x_0 + b ε if its pixels have the colours with probabilities ``p``, (B, K, H, W)."""
    return (x_t - a * torch.einsum("bkhw,kc->bchw", p, colors)) / b


class PaletteUNet(UNet):
    r"""A U-Net that predicts noise by naming colours: Bayes' rule over a palette, with logits that it learns.

    Its head gives a logit for each colour of each pixel: what the other pixels add. It is added to the palette
    predictor's :math:`\log\pi_k+\log\mathcal N(x_t;\sqrt{\bar\alpha_t}c_k,(1-\bar\alpha_t)I)`; a softmax makes
    probabilities of the sum, these :math:`\hat x_0`, and this :math:`\hat\epsilon`. Beside :math:`x_t` it reads the
    palette predictor's probabilities. The first estimate is the palette predictor's.

    Parameters
    ----------
    channels, n_classes
        As in :class:`dgm_helpers.networks.UNet`.
    n_colors : int
        Size of the palette; :meth:`set_palette` gives the colours.

    Notes
    -----
    The schedule is the assignment's, ``NoiseSchedule.linear()``: the network must know how noisy a pixel is.
    """

    def __init__(self, channels=(24, 40, 56), n_classes=5, n_colors=17):
        super().__init__(channels, n_classes)
        n_colors = require_int("n_colors", n_colors, 1, MOST_COLORS)
        self.config["n_colors"] = n_colors
        first = self.config["channels"][0]
        self.stem = nn.Conv2d(3 + n_colors, first, 3, padding=1)
        self.head[-1] = nn.Conv2d(first, n_colors, 3, padding=1)
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)
        self.register_buffer("colors", torch.zeros(n_colors, 3))
        self.register_buffer("log_shares", torch.zeros(n_colors))
        alpha_bar = NoiseSchedule.linear().alpha_bar
        self.register_buffer("signal", alpha_bar.sqrt().float())
        self.register_buffer("noise", (1 - alpha_bar).sqrt().float())

    def set_palette(self, images):
        """Take the colours of training pictures uint8 (N, H, W, 3), and their shares, for the palette."""
        colors, shares = palette_of(images)
        if len(colors) != len(self.colors):
            raise ValueError(f"images must have {len(self.colors)} colours, got {len(colors)}")
        self.colors.copy_(colors)
        self.log_shares.copy_(shares.log())

    def forward(self, x, t, labels=None):
        """Estimate the noise in ``x`` (B, 3, H, W), H and W multiples of 4, at ``t`` in 1…1000 for ``labels`` (B,)."""
        t, labels = self._checked(x, t, labels, least=1, T=len(self.noise) - 1)
        a, b = (level[t].reshape(-1, 1, 1, 1) for level in (self.signal, self.noise))
        alone = _log_likelihood(x, self.colors, a, b) + self.log_shares[:, None, None]
        seen = torch.cat([x, alone.softmax(1)], dim=1)
        logits = alone + self.head(self._features(x, t, labels, seen))
        return _noise(x, self.colors, a, b, logits.softmax(1))


class FourierUNet(UNet):
    r"""A U-Net that reads waves of the values, and may correct the palette predictor's noise instead of making its own.

    Beside :math:`x_t` it reads :math:`\sin\omega x_t` and :math:`\cos\omega x_t` for :math:`\omega=2^n\pi`,
    n = 0…6, each times what noise leaves of it on the average:
    :math:`E[\sin\omega x_t\mid x_0]=e^{-\omega^2(1-\bar\alpha_t)/2}\sin(\omega\sqrt{\bar\alpha_t}\,x_0)`.
    With a palette it also reads the palette predictor's noise, and its head gives what is to be added to that.

    Parameters
    ----------
    channels, n_classes
        As in :class:`dgm_helpers.networks.UNet`.
    n_colors : int
        Size of the palette; :meth:`set_palette` gives the colours. With 0, the default, there is none.
    faded : bool
        Whether the palette predictor's noise is multiplied by the factor of :math:`\omega=4\pi`, so that it is left out
        where the colours cannot be told apart.

    Notes
    -----
    The waves are those of Kingma et al. 2021, section 3.4, but for their factor, book equation :eq:`eq-waves`. The
    schedule is the assignment's, ``NoiseSchedule.linear()``.
    """

    def __init__(self, channels=(24, 40, 56), n_classes=5, n_colors=0, faded=False):
        super().__init__(channels, n_classes)
        n_colors = require_int("n_colors", n_colors, 0, MOST_COLORS)
        faded = require_bool("faded", faded)
        self.config |= {"n_colors": n_colors, "faded": faded}
        alpha_bar = NoiseSchedule.linear().alpha_bar
        omega = torch.pi * 2.0 ** torch.arange(7, device=alpha_bar.device)
        seen = 3 + 2 * 3 * len(omega) + 3 * (n_colors > 0)
        self.stem = nn.Conv2d(seen, self.config["channels"][0], 3, padding=1)
        self.register_buffer("colors", torch.zeros(n_colors, 3))
        self.register_buffer("log_shares", torch.zeros(n_colors))
        left = (-omega.square() * (1 - alpha_bar[:, None]) / 2).exp()
        self.register_buffer("omega", omega)
        self.register_buffer("left", left.float())
        self.register_buffer("signal", alpha_bar.sqrt().float())
        self.register_buffer("noise", (1 - alpha_bar).sqrt().float())

    set_palette = PaletteUNet.set_palette

    def forward(self, x, t, labels=None):
        """Estimate the noise in ``x`` (B, 3, H, W), H and W multiples of 4, at ``t`` in 1…1000 for ``labels`` (B,)."""
        t, labels = self._checked(x, t, labels, least=1, T=len(self.noise) - 1)
        angles = x[:, None] * self.omega[:, None, None, None]
        left = self.left[t].reshape(-1, len(self.omega), 1, 1, 1)
        seen = [x, (left * angles.sin()).flatten(1, 2), (left * angles.cos()).flatten(1, 2)]
        if not self.config["n_colors"]:
            return self.head(self._features(x, t, labels, torch.cat(seen, dim=1)))
        a, b = (level[t].reshape(-1, 1, 1, 1) for level in (self.signal, self.noise))
        alone = _log_likelihood(x, self.colors, a, b) + self.log_shares[:, None, None]
        eps = _noise(x, self.colors, a, b, alone.softmax(1))
        if self.config["faded"]:
            eps = left[:, 2] * eps
        return eps + self.head(self._features(x, t, labels, torch.cat([*seen, eps], dim=1)))
