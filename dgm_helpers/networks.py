"""The networks. They know shapes, times and classes, but no diffusion maths."""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import nn


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions around a shift and scale by the embedding of time and class; at first the identity, or ``skip``."""

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
        q, k, v = self.qkv(self.norm(x)).reshape(B, 3, self.heads, C // self.heads, H * W).transpose(-1, -2).unbind(1)
        h = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(B, C, H, W)
        return x + self.out(h)


class UNet(nn.Module):
    r"""A small U-Net :math:`\epsilon_\theta(x_t, t, \text{class})` for square pictures, conditioned on time and, if wanted, class.

    Three resolutions: full, half, quarter. At each, two residual blocks on the way down and two on the way up, which see what
    their counterparts made; between them, two more blocks around self-attention. The first estimate is zero.

    Parameters
    ----------
    channels : tuple of 3 ints
        Widths at the three resolutions, multiples of 8.
    n_classes : int
        Number of classes; label ``n_classes`` means "no class", and so does ``labels=None``.

    Raises
    ------
    ValueError
        If a width is not a positive multiple of 8 or ``n_classes`` is negative.

    Notes
    -----
    After Ho et al. 2020, appendix B, scaled down.
    """

    def __init__(self, channels=(24, 48, 72), n_classes=5):
        super().__init__()
        if len(channels) != 3 or any(c < 8 or c % 8 for c in channels):
            raise ValueError(f"channels must be three positive multiples of 8, got {channels}")
        if n_classes < 0:
            raise ValueError(f"n_classes must be at least 0, got {n_classes}")
        self.n_classes = n_classes
        self.config = {"channels": list(channels), "n_classes": n_classes}
        first, last = channels[0], channels[-1]
        emb = 4 * first
        self.time = nn.Sequential(nn.Linear(64, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.label = nn.Embedding(n_classes + 1, emb)
        self.stem = nn.Conv2d(3, first, 3, padding=1)
        pairs = list(itertools.pairwise(channels))
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.grow = nn.ModuleList(nn.Sequential(nn.Conv2d(b, a, 1), nn.Upsample(scale_factor=2.0)) for a, b in pairs)
        self.down = nn.ModuleList(nn.ModuleList(ResidualBlock(c, c, emb) for _ in range(2)) for c in channels)
        self.up = nn.ModuleList(nn.ModuleList(ResidualBlock(2 * c, c, emb) for _ in range(2)) for c in channels)
        self.middle1, self.attention, self.middle2 = ResidualBlock(last, last, emb), SelfAttention(last), ResidualBlock(last, last, emb)
        self.head = nn.Sequential(nn.GroupNorm(8, first), nn.SiLU(), nn.Conv2d(first, 3, 3, padding=1))
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, x, t, labels=None):
        """Estimate the noise in ``x`` (B, 3, H, W), H and W multiples of 4, at ``t`` (B,), for ``labels`` (B,) or none."""
        if x.ndim != 4 or x.shape[1] != 3 or x.shape[2] % 4 or x.shape[3] % 4:
            raise ValueError(f"x must have shape (B, 3, H, W) with H and W multiples of 4, got {tuple(x.shape)}")
        if labels is None:
            labels = torch.full_like(t, self.n_classes)
        frequencies = torch.exp(-math.log(10_000) * torch.arange(32, device=x.device) / 32)
        angles = t[:, None] * frequencies
        emb = F.silu(self.time(torch.cat([angles.sin(), angles.cos()], dim=1)) + self.label(labels))
        h, skips = self.stem(x), []
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
        return self.head(h)

    def for_labels(self, labels):
        """The noise predictor ``eps_model(x_t, t)`` of the given ``labels`` (B,), without gradients."""
        labels = _checked_labels(labels, self.n_classes)

        @torch.no_grad()
        def eps_model(x_t, t):
            return self(x_t, t, labels)

        return eps_model


class ScoreMLP(nn.Module):
    r"""A multilayer perceptron :math:`s_\theta(x)`, or :math:`s_\theta(x,\sigma)` if ``conditional``, for points.

    Its activation (SiLU) is smooth, so that the losses that differentiate the score in x can train it. The conditional network
    reads :math:`\log\sigma` beside x and divides its answer by :math:`\sigma`, since the score of a density with noise of that
    level is about :math:`1/\sigma` large (Song & Ermon 2019, section 4.2).

    Parameters
    ----------
    dim : int
        Coordinates of a point.
    width, depth : int
        Size and number of the hidden layers.
    conditional : bool

    Raises
    ------
    ValueError
        If ``dim``, ``width`` or ``depth`` is not a positive int.
    """

    def __init__(self, dim=2, width=128, depth=3, conditional=False):
        super().__init__()
        _check_positive(dim=dim, width=width, depth=depth)
        self.config = {"dim": dim, "width": width, "depth": depth, "conditional": conditional}
        sizes = [dim + 1 if conditional else dim, *[width] * depth]
        hidden = [layer for a, b in zip(sizes[:-1], sizes[1:], strict=True) for layer in (nn.Linear(a, b), nn.SiLU())]
        self.net = nn.Sequential(*hidden, nn.Linear(width, dim))

    def forward(self, x, sigma=None):
        """Estimate the score at ``x`` (B, dim); ``sigma``, a positive float or (B,), is for the conditional network only."""
        if x.ndim != 2 or x.shape[1] != self.config["dim"]:
            raise ValueError(f"x must have shape (B, {self.config['dim']}), got {tuple(x.shape)}")
        if not self.config["conditional"]:
            if sigma is not None:
                raise ValueError("sigma must not be given to a network that is not conditional")
            return self.net(x)
        sigma = torch.as_tensor(0.0 if sigma is None else sigma, dtype=x.dtype, device=x.device)
        if sigma.shape not in ((), x.shape[:1]) or not (sigma > 0).all():
            raise ValueError(f"sigma must be a positive number, or one for each of {len(x)} points, got {sigma}")
        sigma = sigma.expand(len(x))[:, None]
        return self.net(torch.cat([x, sigma.log()], dim=1)) / sigma


class VAE(nn.Module):
    r"""A variational autoencoder of 16×16 pictures given their class: one small decoder evaluation makes a picture.

    Encoder :math:`q(z\mid x,\text{class})=\mathcal N(\mu,\operatorname{diag}\sigma_z^2)`, prior :math:`\mathcal N(0,I)`, decoder
    :math:`p(x\mid z,\text{class})=\mathcal N(\hat x,\sigma^2 I)` with one learned variance :math:`\sigma^2` for all values.

    Parameters
    ----------
    latent, width : int
        Size of z, and channels of the first convolution; positive.
    n_classes : int
        Positive.

    Raises
    ------
    ValueError
        If an argument is not a positive int.

    Notes
    -----
    Kingma & Welling 2014; the shared learned variance is that of Rybkin, Daniilidis & Levine 2021, section 3.
    """

    def __init__(self, latent=32, width=32, n_classes=5):
        super().__init__()
        _check_positive(latent=latent, width=width, n_classes=n_classes)
        self.config = {"latent": latent, "width": width, "n_classes": n_classes}
        self.n_classes = n_classes
        maps, hidden = 2 * width * 4 * 4, 256
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1), nn.SiLU(), nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.SiLU(), nn.Flatten()
        )
        self.moments = nn.Sequential(nn.Linear(maps + n_classes, hidden), nn.SiLU(), nn.Linear(hidden, 2 * latent))
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
        """The negative variational bound of each picture, in nats, (B,), with one draw of z; ``x`` (B, 3, 16, 16), ``labels`` (B,)."""
        mean, log_var = self.moments(self._with_class(self.encoder(x), labels)).chunk(2, dim=1)
        z = mean + (log_var / 2).exp() * torch.randn(mean.shape, generator=generator, device=x.device)
        error = (x - self.decoder(self._with_class(z, labels))).square()
        nll = (error / self.log_variance.exp() + self.log_variance + math.log(2 * math.pi)).flatten(1).sum(1) / 2
        return nll + (mean.square() + log_var.exp() - log_var - 1).sum(1) / 2

    def _with_class(self, h, labels):
        return torch.cat([h, F.one_hot(labels, self.n_classes).to(h.dtype)], dim=1)

    @torch.no_grad()
    def sample(self, labels, *, generator):
        """Draw a picture, float32 (B, 3, 16, 16) in [−1, 1], for each of ``labels`` (B,): the decoder's mean at a random z."""
        labels = _checked_labels(labels, self.n_classes - 1)
        return self.decoder(self._with_class(torch.randn(len(labels), self.config["latent"], generator=generator), labels))


class PCAGaussian:
    """A Gaussian for each class, fitted along the principal components of its pictures: the poorest generator of the book.

    Parameters
    ----------
    x : float tensor (N, C, H, W) in [−1, 1]
        Training pictures, at least two of each class.
    labels : int64 tensor (N,)
        The classes 0, 1, …, each of them present.
    n_components : int
        Kept components of a class, positive; fewer where the class has fewer.

    Raises
    ------
    ValueError
        If a class has fewer than two pictures or ``n_components`` is not a positive int.
    """

    def __init__(self, x, labels, n_components=64):
        _check_positive(n_components=n_components)
        self.shape, self.means, self.factors = x.shape[1:], [], []
        for label in range(int(labels.max()) + 1):
            rows = x[labels == label].flatten(1)
            if len(rows) < 2:
                raise ValueError(f"labels must hold every class at least twice, got class {label} {len(rows)} times")
            mean = rows.mean(0)
            _, spread, directions = torch.linalg.svd(rows - mean, full_matrices=False)
            self.means.append(mean)
            self.factors.append(spread[:n_components, None] / math.sqrt(len(rows) - 1) * directions[:n_components])

    def sample(self, labels, *, generator):
        """Draw a picture, float32 (B, C, H, W) clipped to [−1, 1], for each of ``labels`` (B,)."""
        labels = _checked_labels(labels, len(self.means) - 1)
        z = torch.randn(len(labels), max(map(len, self.factors)), generator=generator)
        x = torch.empty(len(labels), self.shape.numel())
        for label, (mean, factor) in enumerate(zip(self.means, self.factors, strict=True)):
            rows = labels == label
            x[rows] = mean + z[rows, : len(factor)] @ factor
        return x.clamp(-1, 1).reshape(-1, *self.shape)


class SpriteClassifier(nn.Module):
    """A small convolutional classifier of pictures, for its features.

    Parameters
    ----------
    n_features, n_classes : int
        Size of the penultimate layer, and number of classes; positive.

    Raises
    ------
    ValueError
        If an argument is not a positive int.
    """

    def __init__(self, n_features=64, n_classes=5):
        super().__init__()
        _check_positive(n_features=n_features, n_classes=n_classes)
        self.config = {"n_features": n_features, "n_classes": n_classes}
        self.features = nn.Sequential(
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
        """The logits (B, n_classes) of ``x`` (B, 3, 16, 16); ``self.features(x)`` is the layer before, (B, n_features)."""
        return self.head(self.features(x))


def _check_positive(**numbers):
    for name, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a positive int, got {value!r}")


def _checked_labels(labels, largest):
    labels = torch.as_tensor(labels)
    if labels.dtype != torch.int64 or labels.ndim != 1 or (len(labels) and not 0 <= labels.min() <= labels.max() <= largest):
        raise ValueError(f"labels must be int64 (B,) in 0…{largest}, got {labels}")
    return labels
