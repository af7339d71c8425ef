"""The networks. They know shapes, times and classes, but no diffusion maths.

Data lie on the network's device and have the dtype of its weights: float32, unless the network was moved.
Sizes are positive ints. Wrong dtype, shape, range or NaN raises TypeError or ValueError naming the
argument; only a compiled network trusts its caller.
"""

import itertools
import math
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .arguments import (
    described,
    require_bool,
    require_data,
    require_generator,
    require_int,
    require_labels,
    require_sigma,
    require_t,
)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions around a shift and scale by the embedding of time and class; at first ``skip``."""

    def __init__(self, c_in, c_out, c_emb):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, c_in), nn.Conv2d(c_in, c_out, 3, padding=1)
        self.emb = nn.Linear(c_emb, 2 * c_out)
        self.norm2, self.conv2 = nn.GroupNorm(8, c_out), nn.Conv2d(c_out, c_out, 3, padding=1)
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x, emb):
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.emb(emb)[:, :, None, None].chunk(2, dim=1)
        h = self.norm2(h) * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.silu(h))


class SelfAttention(nn.Module):
    """Multi-head attention among the pixels of a feature map, added to it."""

    def __init__(self, channels, heads=4):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, channels)
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        B, C, H, W = x.shape
        q, k, v = (
            self.qkv(self.norm(x))
            .reshape(B, 3, self.heads, C // self.heads, H * W)
            .transpose(-1, -2)
            .unbind(1)
        )
        h = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(B, C, H, W)
        return x + self.out(h)


class UNet(nn.Module):
    r"""A small U-Net :math:`\epsilon_\theta(x_t, t, \text{class})` for pictures, told time and, if wanted, class.

    Three resolutions: full, half, quarter. At each, two residual blocks on the way down and two on the way
    up, which see what their counterparts made; between them, two more blocks around self-attention. The
    first estimate is zero.

    Parameters
    ----------
    channels : tuple of 3 ints
        Widths at the three resolutions, multiples of 8.
    n_classes : int
        Number of classes, at least 0; label ``n_classes`` means "no class", and so does ``labels=None``.

    Notes
    -----
    After Ho et al. 2020, appendix B, scaled down.
    """

    def __init__(self, channels=(24, 48, 72), n_classes=5):
        super().__init__()
        channels = require_channels(channels)
        self.n_classes = require_int("n_classes", n_classes, 0)
        self.config = {"channels": channels, "n_classes": self.n_classes}
        first, last = channels[0], channels[-1]
        emb = 4 * first
        self.time = nn.Sequential(nn.Linear(64, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.label = nn.Embedding(self.n_classes + 1, emb)
        self.stem = nn.Conv2d(3, first, 3, padding=1)
        pairs = list(itertools.pairwise(channels))
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.grow = nn.ModuleList(
            nn.Sequential(nn.Conv2d(b, a, 1), nn.Upsample(scale_factor=2.0)) for a, b in pairs
        )
        self.down = nn.ModuleList(
            nn.ModuleList(ResidualBlock(c, c, emb) for _ in range(2)) for c in channels
        )
        self.up = nn.ModuleList(
            nn.ModuleList(ResidualBlock(2 * c, c, emb) for _ in range(2)) for c in channels
        )
        self.middle1 = ResidualBlock(last, last, emb)
        self.attention = SelfAttention(last)
        self.middle2 = ResidualBlock(last, last, emb)
        self.head = nn.Sequential(
            nn.GroupNorm(8, first), nn.SiLU(), nn.Conv2d(first, 3, 3, padding=1)
        )
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, x, t, labels=None):
        """Estimate the noise in ``x`` (B, 3, H, W), H and W multiples of 4, at ``t`` for ``labels`` (B,).

        ``t`` is an int or int64 (B,), at least 0. Without labels it is the estimate of "no class".
        """
        t, labels = self._checked(x, t, labels)
        return self.head(self._features(x, t, labels, x))

    def _checked(self, x, t, labels, *, least=0, T=None):
        """``t`` and ``labels``, if they fit the pictures ``x``; without labels, those of "no class"."""
        if not torch.compiler.is_compiling():
            self._require_pictures("x", x)
            t = require_t("t", t, x, T, least)
            if labels is not None:
                labels = require_labels(labels, self.n_classes, len(x), x.device)
        if labels is None:
            labels = torch.full((len(x),), self.n_classes, device=x.device)
        return t, labels

    def _features(self, x, t, labels, channels):
        """What the head reads, (B, C, H, W), of the ``channels`` that the stem reads."""
        emb = F.silu(self.time(self._waves(t, x)) + self.label(labels))
        h, skips = self.stem(channels), []
        for level, blocks in enumerate(self.down):
            h = self.shrink[level - 1](h) if level else h
            for block in blocks:
                h = block(h, emb)
                skips.append(h)
        h = self.middle2(self.attention(self.middle1(h, emb)), emb)
        for level, blocks in reversed(list(enumerate(self.up))):
            for block in blocks:
                h = block(torch.cat([h, skips.pop()], dim=1), emb)
            h = self.grow[level - 1](h) if level else h
        return h

    def _waves(self, t, x):
        """Sine and cosine of ``t`` at 32 frequencies, (B, 64); half precision cannot tell 999 from 1000."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        i = torch.arange(32, device=x.device, dtype=dtype)
        frequencies = torch.exp(-math.log(10_000) * i / 32)
        angles = torch.as_tensor(t, device=x.device).expand(len(x))[:, None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1).to(x.dtype)

    def for_labels(self, labels):
        """The noise predictor ``eps_model(x_t, t)`` of the given ``labels`` (B,), without gradients."""
        labels = require_labels(labels, self.n_classes, device=self.stem.weight.device)

        def eps_model(x_t, t):
            self._require_pictures("x_t", x_t)
            with torch.inference_mode():  # a quarter faster than no_grad
                eps = self(x_t, t, labels)
            return eps.clone()  # an ordinary tensor again

        return eps_model

    def _require_pictures(self, name, x):
        _require_x(name, x, self.stem.weight, "B", 3, "H", "W")
        if not x.shape[2:].numel() or x.shape[2] % 4 or x.shape[3] % 4:
            wanted = "(B, 3, H, W) with H and W multiples of 4"
            raise ValueError(f"{name} must have shape {wanted}, got {tuple(x.shape)}")


class ScoreMLP(nn.Module):
    r"""A multilayer perceptron :math:`s_\theta(x)`, or :math:`s_\theta(x,\sigma)` if ``conditional``, for points.

    Its activation (SiLU) is smooth, so that the losses that differentiate the score in x can train it. The
    conditional network reads :math:`\log\sigma` beside x and divides its answer by :math:`\sigma`, since the
    score of a density with noise of that level is about :math:`1/\sigma` large (Song & Ermon 2020, technique 3).

    Parameters
    ----------
    dim : int
        Coordinates of a point.
    width, depth : int
        Size and number of the hidden layers.
    conditional : bool
    """

    def __init__(self, dim=2, width=128, depth=3, conditional=False):
        super().__init__()
        dim, width = require_int("dim", dim, 1), require_int("width", width, 1)
        depth = require_int("depth", depth, 1)
        conditional = require_bool("conditional", conditional)
        self.config = {"dim": dim, "width": width, "depth": depth, "conditional": conditional}
        sizes = [dim + 1 if conditional else dim, *[width] * depth]
        hidden = [
            layer
            for a, b in zip(sizes[:-1], sizes[1:], strict=True)
            for layer in (nn.Linear(a, b), nn.SiLU())
        ]
        self.net = nn.Sequential(*hidden, nn.Linear(width, dim))

    def forward(self, x, sigma=None):
        """Estimate the score at ``x`` (B, dim); ``sigma``, positive, a float or (B,), if the network is conditional."""
        conditional = self.config["conditional"]
        if not torch.compiler.is_compiling():
            _require_x("x", x, self.net[0].weight, "B", self.config["dim"])
            if conditional:
                require_sigma(sigma, x)
            elif sigma is not None:
                raise ValueError("sigma must not be given to a network that is not conditional")
        if not conditional:
            return self.net(x)
        sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(len(x))[:, None]
        return self.net(torch.cat([x, sigma.log()], dim=1)) / sigma


class VAE(nn.Module):
    r"""A variational autoencoder of 16×16 pictures given their class: one small decoder evaluation makes a picture.

    Encoder :math:`q(z\mid x,\text{class})=\mathcal N(\mu,\operatorname{diag}\sigma_z^2)`, prior
    :math:`\mathcal N(0,I)`, decoder :math:`p(x\mid z,\text{class})=\mathcal N(\hat x,\sigma^2 I)` with one
    learned variance :math:`\sigma^2` for all values.

    Parameters
    ----------
    latent, width : int
        Size of z, and channels of the first convolution.
    n_classes : int

    Notes
    -----
    Kingma & Welling 2014; the shared learned variance is that of Rybkin, Daniilidis & Levine 2021, section 3.
    """

    def __init__(self, latent=32, width=32, n_classes=5):
        super().__init__()
        latent, width = require_int("latent", latent, 1), require_int("width", width, 1)
        n_classes = require_int("n_classes", n_classes, 1)
        self.config = {"latent": latent, "width": width, "n_classes": n_classes}
        self.n_classes = n_classes
        maps, hidden = 2 * width * 4 * 4, 256
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
        )
        self.moments = nn.Sequential(
            nn.Linear(maps + n_classes, hidden), nn.SiLU(), nn.Linear(hidden, 2 * latent)
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent + n_classes, hidden),
            nn.SiLU(),
            nn.Linear(hidden, maps),
            nn.SiLU(),
            nn.Unflatten(1, (2 * width, 4, 4)),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.ConvTranspose2d(width, 3, 4, stride=2, padding=1),
            nn.Tanh(),
        )
        self.log_variance = nn.Parameter(torch.zeros(()))

    def negative_elbo(self, x, labels, generator):
        """The negative variational bound of each picture of ``x`` (B, 3, 16, 16), in nats, with one draw of z."""
        _require_x("x", x, self.log_variance, "B", 3, 16, 16)
        labels = require_labels(labels, self.n_classes - 1, len(x), x.device)
        require_generator(generator, x.device)
        mean, log_var = self.moments(self._with_class(self.encoder(x), labels)).chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=generator, device=x.device, dtype=x.dtype)
        z = mean + (log_var / 2).exp() * noise
        error = (x - self.decoder(self._with_class(z, labels))).square()
        nll = error / self.log_variance.exp() + self.log_variance + math.log(2 * math.pi)
        kl = mean.square() + log_var.exp() - log_var - 1
        return nll.flatten(1).sum(1) / 2 + kl.sum(1) / 2

    def _with_class(self, h, labels):
        return torch.cat([h, F.one_hot(labels, self.n_classes).to(h.dtype)], dim=1)

    @torch.no_grad()
    def sample(self, labels, *, generator):
        """Draw a picture (B, 3, 16, 16) in [−1, 1] for each of ``labels`` (B,): the decoder's mean at a random z."""
        like = {"device": self.log_variance.device, "dtype": self.log_variance.dtype}
        labels = require_labels(labels, self.n_classes - 1, device=like["device"])
        require_generator(generator, like["device"])
        z = torch.randn(len(labels), self.config["latent"], generator=generator, **like)
        return self.decoder(self._with_class(z, labels))


class PCAGaussian:
    """Gaussians along the principal components of training pictures: one for each class, or for each of its clusters.

    A class is divided into clusters of similar pictures by k-means. A draw comes from one of the Gaussians of its
    class, each as likely as it has pictures.

    Parameters
    ----------
    x : float tensor (N, C, H, W) in [−1, 1]
        Training pictures, at least two of each class.
    labels : int64 tensor (N,)
        The classes 0, 1, …, each of them present.
    n_components : int
        Kept components of a Gaussian; fewer where it has fewer pictures.
    n_clusters : int
        Clusters of a class, at least 1; fewer where they would have fewer than eight pictures on the average. Those
        with fewer than four are dissolved, lest a draw be a copy.
    """

    def __init__(self, x, labels, n_components=64, n_clusters=1):
        require_data("x", x, shape=("N", "C", "H", "W"))
        labels = require_labels(labels, len(x) - 1, len(x), x.device)
        n_components = require_int("n_components", n_components, 1)
        n_clusters = require_int("n_clusters", n_clusters, 1)
        self.shape, self.clusters = x.shape[1:], []
        for label, count in enumerate(labels.bincount().tolist() or [0]):
            if count < 2:
                got = f"class {label} {count} times"
                raise ValueError(f"labels must hold every class at least twice, got {got}")
            rows = x[labels == label].flatten(1).to(torch.promote_types(x.dtype, torch.float32))
            cluster = _clusters(rows, min(n_clusters, max(1, count // 8)))
            self.clusters.append(
                [_Gaussian(rows[cluster == k], n_components) for k in cluster.unique()]
            )

    def sample(self, labels, *, generator):
        """Draw a picture (B, C, H, W), clipped to [−1, 1], for each of ``labels`` (B,), in at least float32."""
        everything = [gaussian for clusters in self.clusters for gaussian in clusters]
        mean = everything[0].mean
        like = {"device": mean.device, "dtype": mean.dtype}
        labels = require_labels(labels, len(self.clusters) - 1, device=mean.device)
        require_generator(generator, mean.device)
        most = max(len(gaussian.factor) for gaussian in everything)
        z = torch.randn(len(labels), most, generator=generator, **like)
        x = torch.empty(len(labels), self.shape.numel(), **like)
        for label, clusters in enumerate(self.clusters):
            rows = (labels == label).nonzero()[:, 0]
            if len(rows) and len(clusters) > 1:
                counts = torch.tensor([gaussian.count for gaussian in clusters], **like)
                chosen = torch.multinomial(counts, len(rows), True, generator=generator)
            else:
                chosen = torch.zeros_like(rows)
            for k, gaussian in enumerate(clusters):
                drawn = rows[chosen == k]
                x[drawn] = gaussian.mean + z[drawn, : len(gaussian.factor)] @ gaussian.factor
        return x.clamp(-1, 1).reshape(-1, *self.shape)


class _Gaussian:
    """Mean, and spread along the leading components, of the rows of ``x`` (N, D), and their ``count`` N."""

    def __init__(self, x, n_components):
        self.count, self.mean = len(x), x.mean(0)
        _, spread, directions = torch.linalg.svd(x - self.mean, full_matrices=False)
        deviations = spread[:n_components, None] / math.sqrt(len(x) - 1)
        self.factor = deviations * directions[:n_components]


def _clusters(x, n):
    """The cluster of each row of ``x`` (N, D), of at most n, by k-means; those with fewer than four are dissolved."""
    if n == 1:
        return torch.zeros(len(x), dtype=torch.int64, device=x.device)
    from scipy.cluster.vq import kmeans2  # not at the top: the rest need not wait for it

    with warnings.catch_warnings(action="ignore"):  # of empty clusters
        centers, _ = kmeans2(x.double().cpu().numpy(), n, iter=25, minit="++", rng=0)
    centers, counts = torch.from_numpy(centers).to(x), torch.zeros(n, device=x.device)
    while counts.min() < 4:
        cluster = torch.cdist(x, centers).argmin(1)
        counts = cluster.bincount(minlength=len(centers))
        centers = centers[counts >= 4]
    return cluster


class Features(nn.Sequential):
    """Layers from pictures (B, 3, 16, 16) to features."""

    def forward(self, x):
        if not torch.compiler.is_compiling():
            _require_x("x", x, self[0].weight, "B", 3, 16, 16)
        return super().forward(x)


class SpriteClassifier(nn.Module):
    """A small convolutional classifier of pictures, for its features.

    Parameters
    ----------
    n_features, n_classes : int
        Size of the penultimate layer, and number of classes.
    """

    def __init__(self, n_features=64, n_classes=5):
        super().__init__()
        n_features = require_int("n_features", n_features, 1)
        n_classes = require_int("n_classes", n_classes, 1)
        self.config = {"n_features": n_features, "n_classes": n_classes}
        self.features = Features(
            nn.Conv2d(3, 32, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.GroupNorm(8, 64),
            nn.SiLU(),
            nn.Conv2d(64, 64, 3, stride=2, padding=1),
            nn.GroupNorm(8, 64),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, n_features),
            nn.SiLU(),
        )
        self.head = nn.Linear(n_features, n_classes)

    def forward(self, x):
        """The logits (B, n_classes) of ``x`` (B, 3, 16, 16), from ``self.features(x)``, which are (B, n_features)."""
        return self.head(self.features(x))


def require_channels(channels):
    """``channels`` as a list of ints, if they are widths of a U-Net: three positive multiples of 8."""
    wanted = f"channels must be three positive multiples of 8, got {described(channels)}"
    try:
        if not isinstance(channels, (list, tuple, np.ndarray, torch.Tensor)):
            raise TypeError
        channels = [require_int("channels", width) for width in channels]
    except TypeError:
        raise TypeError(wanted) from None
    if len(channels) != 3 or any(width < 8 or width % 8 for width in channels):
        raise ValueError(wanted)
    return channels


def _require_x(name, x, weight, *shape):
    """Refuse ``x`` unless it has that shape, is finite, and has the dtype and the device of a network's ``weight``."""
    require_data(name, x, shape=shape)
    if x.device != weight.device:
        raise ValueError(
            f"{name} must be on {weight.device}, where the network is, got a tensor on {x.device}"
        )
    if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
        raise TypeError(
            f"{name} must have dtype {weight.dtype}, that of the network's weights, got {x.dtype}"
        )
