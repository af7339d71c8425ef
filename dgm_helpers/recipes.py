"""What the released networks were trained with: losses, measures, and the whole of a training run.

A loss is ``loss(model, x0, labels, generator)``, that of each picture, (B,), as :func:`dgm_helpers.training.train`
wants it; a measure ``measure(model, x0, labels)`` is one number. ``x0`` is (B, 3, H, W) in [−1, 1] and ``labels``
int64 (B,); what is drawn is drawn on the device and in the dtype of ``x0``. Wrong dtype, shape, range or NaN raises
TypeError or ValueError naming the argument.
"""

import hashlib
import os
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

from . import results, sprites
from .arguments import (
    described,
    require_bool,
    require_callable,
    require_choice,
    require_data,
    require_generator,
    require_int,
    require_labels,
    require_number,
    require_path,
    seeded,
)
from .bound import elbo_weights
from .diffusion import simple_loss
from .networks import VAE, SpriteClassifier, UNet, require_channels
from .predictors import FourierUNet, PaletteUNet, palette_of
from .schedules import NoiseSchedule, require_schedule
from .training import load_average, save_pretrained, train

CHANNELS = (24, 48, 72)
DENOISERS = ("unet", "palette", "fourier", "correction", "faded")


def noise_prediction_loss(
    model, x0, labels, generator, *, schedule, weighting="simple", drop_label=0.1
):
    r"""The loss of a U-Net at a uniform t in 1…T; some labels become "no class", as classifier-free guidance needs.

    Ho et al. 2020, algorithm 1; Ho & Salimans 2022, algorithm 1; book equation :eq:`eq-simple-loss`.

    Parameters
    ----------
    model : UNet
    x0, labels, generator
        As in every loss of this module.
    schedule : NoiseSchedule
    weighting : {"simple", "elbo"}
        Weigh every t alike, or as the bound does (book equation :eq:`eq-elbo-weight`), with mean 1 over t.
    drop_label : float
        Probability in [0, 1] that a label is dropped.

    Returns
    -------
    float tensor (B,)
    """
    labels = _require_pictures(model, UNet, x0, labels)
    require_generator(generator, x0.device)
    require_schedule(schedule)
    require_choice("weighting", weighting, ("simple", "elbo"))
    drop_label = require_number("drop_label", drop_label, least=0, most=1)
    source = {"generator": generator, "device": x0.device}
    dropped = torch.rand(len(x0), dtype=x0.dtype, **source) < drop_label
    labels = labels.masked_fill(dropped, model.n_classes)
    t = torch.randint(1, schedule.T + 1, (len(x0),), **source)
    noise = torch.randn(x0.shape, dtype=x0.dtype, **source)
    loss = simple_loss(partial(model, labels=labels), schedule, x0, t, noise)
    if weighting == "elbo":
        weights = elbo_weights(schedule)
        loss = loss * (weights / weights[1:].mean()).to(x0.device, x0.dtype)[t]
    return loss


@torch.no_grad()
def mean_noise_prediction_loss(model, x0, labels, *, schedule, seed=0):
    """The mean loss of a U-Net over pictures, with timesteps spread evenly over 1…T and noise from a fixed seed."""
    labels = _require_pictures(model, UNet, x0, labels, least=1)
    source = {"generator": seeded(seed, x0.device), "device": x0.device}
    T = require_schedule(schedule).T
    t = 1 + torch.randperm(len(x0), **source) * T // len(x0)
    noise = torch.randn(x0.shape, dtype=x0.dtype, **source)
    batches = zip(*(x.split(64) for x in (x0, labels, t, noise)))
    losses = [simple_loss(partial(model, labels=y), schedule, x, u, e) for x, y, u, e in batches]
    return torch.cat(losses).mean().item()


def negative_elbo_loss(model, x0, labels, generator):
    """The loss of a VAE: the negative variational bound of each picture, in nats, with one draw of z."""
    labels = _require_pictures(model, VAE, x0, labels)
    return model.negative_elbo(x0, labels, generator)


@torch.no_grad()
def mean_negative_elbo(model, x0, labels, *, seed=0):
    """The mean negative bound of a VAE over pictures, in nats, with noise from a fixed seed."""
    labels = _require_pictures(model, VAE, x0, labels, least=1)
    return model.negative_elbo(x0, labels, seeded(seed, x0.device)).mean().item()


def classification_loss(model, x0, labels, generator=None):
    """The loss of a classifier: the cross-entropy of each picture, in nats; it needs no randomness."""
    labels = _require_pictures(model, SpriteClassifier, x0, labels)
    return F.cross_entropy(model(x0), labels, reduction="none")


@torch.no_grad()
def accuracy(model, x0, labels):
    """The share of pictures that a classifier puts into their class."""
    labels = _require_pictures(model, SpriteClassifier, x0, labels, least=1)
    return (model(x0).argmax(1) == labels).float().mean().item()


def mirrored(loss, model, x0, labels, generator):
    """``loss`` of each picture or of its mirror image, by the toss of a coin."""
    require_callable("loss", loss)
    require_data("x0", x0, shape=("B", 3, "H", "W"))
    require_generator(generator, x0.device)
    toss = torch.rand(len(x0), generator=generator, device=x0.device, dtype=x0.dtype)
    x0 = torch.where(toss[:, None, None, None] < 0.5, x0.flip(-1), x0)
    return loss(model, x0, labels, generator)


def _require_pictures(model, kind, x0, labels, least=0):
    """``labels`` on the device of ``x0``, if they are those of pictures ``x0`` for a network of that kind."""
    if not isinstance(model, kind):
        raise TypeError(f"model must be a {kind.__name__}, got {described(model)}")
    require_data("x0", x0, shape=("B", 3, "H", "W"))
    if len(x0) < least:
        raise ValueError(f"x0 must hold at least {least} picture, got {len(x0)}")
    largest = model.config["n_classes"] - (kind is not UNet)  # a U-Net's n_classes means "no class"
    return require_labels(labels, largest, len(x0), x0.device)


def train_sprites(
    network="unet",
    source="generated",
    *,
    epochs=500,
    batch_size=64,
    lr=2e-4,
    ema_decay=0.9995,
    channels=CHANNELS,
    split="group",
    mirror=False,
    distinct=None,
    weighting="simple",
    seed=0,
    threads=None,
    compiled=False,
    cache=None,
    out="runs",
    name="sprites",
    progress=True,
):
    """Train a network on sprites, continuing where a checkpoint is found; write its weights and a record.

    Killed at any moment and started again with the same arguments, it ends with the same weights, bit for bit.
    Everything lies in the folder ``out/name``.

    Parameters
    ----------
    network : {"unet", "palette", "fourier", "correction", "faded", "vae", "classifier"}
        Noise predictor, one that names the colours of the set, three that :class:`dgm_helpers.predictors.FourierUNet`
        describes (without a palette, with one, and with one whose part is faded), cheap generator, or features.
    source, cache
        As in :func:`dgm_helpers.sprites.load_sprites`.
    epochs, batch_size, lr, ema_decay
        As in :func:`dgm_helpers.training.train`.
    channels : tuple of 3 ints
        Widths of the U-Net.
    split : {"group", "random"}
        What is held out: see :func:`dgm_helpers.sprites.split_by_group`.
    mirror : bool
        Show each picture or its mirror image.
    distinct : int, optional
        Show only so many training pictures, each repeated, as many in all.
    weighting : {"simple", "elbo"}
        Of the U-Net's loss, as in :func:`noise_prediction_loss`.
    seed : int
        Of the first weights and of all other randomness; the global random state is left alone.
    threads : int, optional
        Processor threads of this run. With another number, a continued run ends with other last digits.
    compiled : bool
        Whether to compile the network: a third faster, after minutes of compiling; needs a C++ compiler.
    out, name : path, str
        The run's folder is ``out/name``; ``name`` is also that of its files.
    progress : bool
        Show a progress bar.

    Returns
    -------
    weights, record : Path
        ``out/name/name.safetensors``, for :func:`dgm_helpers.training.load_pretrained`, and
        ``out/name/train-name.json``.

    Raises
    ------
    ValueError
        If the folder holds a checkpoint of another run, or the loss stops being finite.
    OSError
        If the data cannot be read, or the folder cannot be written; both before the first step.
    """
    require_choice("network", network, (*DENOISERS, "vae", "classifier"))
    require_choice("split", split, sprites.SPLITS)
    require_choice("weighting", weighting, ("simple", "elbo"))
    channels = tuple(require_channels(channels))
    if network not in DENOISERS and (channels, weighting) != (CHANNELS, "simple"):
        got = f"channels = {channels} and weighting = {weighting!r} for {network!r}"
        raise ValueError(f"channels and weighting are those of noise predictors, got {got}")
    epochs, batch_size = require_int("epochs", epochs, 1), require_int("batch_size", batch_size, 1)
    lr = require_number("lr", lr, above=0)
    ema_decay = require_number("ema_decay", ema_decay, least=0, below=1)
    mirror, progress = require_bool("mirror", mirror), require_bool("progress", progress)
    compiled = require_bool("compiled", compiled)
    seed = require_int("seed", seed, 0, 2**63 - 1)
    if distinct is not None:
        distinct = require_int("distinct", distinct, 1)
    if threads is not None:
        threads = require_int("threads", threads, 1)
    run = _require_run(out, name)
    with _threads(threads):
        made_with = results.provenance()
        data = sprites.load_sprites(source, cache=cache)
        training, held_out = sprites.SPLITS[split](data)
        seen, unseen = training.tensors(), held_out.tensors()
        shown = seen
        if distinct is not None:
            distinct = require_int("distinct", distinct, 1, len(training))
            rows = torch.arange(len(training), device=seen[0].device) % distinct
            shown = tuple(x[rows] for x in seen)
        model, loss, measure, unit = _network(network, training, channels, weighting, seed)
        model.to(seen[0])
        if compiled:
            model.compile()
        compared = {
            "held_out": [x[: None if network == "classifier" else 256] for x in unseen],
            "train": [x[:256] for x in seen],
        }
        settings = {
            "source": data.source,
            "data_sha256": data.sha256,
            "split": split,
            "mirror": mirror,
            **({"weighting": weighting} if network in DENOISERS else {}),
            **({} if distinct is None else {"distinct": distinct}),
            "seed": seed,
            "network": model.config,
        }
        checkpoint = run / "checkpoint.safetensors"
        steps = train(
            model,
            partial(mirrored, loss) if mirror else loss,
            shown,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            ema_decay=ema_decay,
            generator=seeded(seed, seen[0].device),
            evaluate=lambda ema: {f"ema_{k}_{unit}": measure(ema, *x) for k, x in compared.items()},
            checkpoint=checkpoint,
            settings=settings,
        )
        for _ in tqdm(steps, unit=" steps", mininterval=10, disable=not progress):
            pass
    info = load_average(model, checkpoint)
    summary = {
        "credit": sprites.CREDITS.get(data.source, "drawn by dgm_helpers.pixel_art"),
        "settings": info["settings"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "pictures": {"train": len(training), "held_out": len(held_out)},
        "steps": info["number"],
        "compiled": compiled,
        "seconds": sum(entry["seconds"] for entry in info["history"]),
    }
    weights = run / f"{name}.safetensors"
    for parameter in model.parameters():  # a file of half the size; it is loaded as float32
        parameter.data = parameter.data.half()
    save_pretrained(weights, model, {"classes": data.classes, **summary})
    summary["weights_sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    summary["history"] = info["history"]
    return weights, results.record(f"train-{name}", summary, made_with=made_with, folder=run)


def _require_run(out, name):
    """The folder ``out/name``, if its files can be written."""
    if not isinstance(out, (str, os.PathLike)):
        raise TypeError(f"out must be a path, got {described(out)}")
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {described(name)}")
    if not name or name.startswith(".") or any(sign in name for sign in "/\\:\0"):
        raise ValueError(f"name must be a file's name, without folders, got {name!r}")
    return require_path("out", Path(out) / name / f"{name}.safetensors", writable=True).parent


@contextmanager
def _threads(n):
    """As many processor threads, and afterwards again as many as there were."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if n is None else n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _network(network, data, channels, weighting, seed):
    """A new network, its loss, its measure, and what that measures; the first weights are those of the seed."""
    n_classes = len(data.classes)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        if network in DENOISERS:
            noise = {"schedule": NoiseSchedule.linear()}
            loss = partial(noise_prediction_loss, weighting=weighting, **noise)
            measure = partial(mean_noise_prediction_loss, **noise)
            if network == "unet":
                return UNet(channels, n_classes), loss, measure, "loss"
            if network == "fourier":
                return FourierUNet(channels, n_classes), loss, measure, "loss"
            n_colors = len(palette_of(data.images)[0])
            if network == "palette":
                model = PaletteUNet(channels, n_classes, n_colors)
            else:
                model = FourierUNet(channels, n_classes, n_colors, network == "faded")
            model.set_palette(data.images)
            return model, loss, measure, "loss"
        if network == "vae":
            return VAE(n_classes=n_classes), negative_elbo_loss, mean_negative_elbo, "loss"
        return SpriteClassifier(n_classes=n_classes), classification_loss, accuracy, "accuracy"
