"""One training loop for every network, with an exponential moving average (EMA) of the weights and exact resumption.

Files are safetensors with a JSON header: no pickle. Each carries the SHA-256 of its content, is written under a temporary
name and moved into place, so that a kill at any moment leaves either the old file or the new one.
"""

import hashlib
import json
import os
import time
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from . import networks


def _digest(tensors, info):
    digest = hashlib.sha256(info.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


def save_checkpoint(path, tensors, info):
    """Write named ``tensors`` and a JSON-able dictionary ``info`` to one safetensors file, atomically.

    Raises OSError if the folder cannot be written; the old file then stays as it was.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
        text = json.dumps(info)
        save_file(tensors, temporary, metadata={"info": text, "sha256": _digest(tensors, text)})
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise OSError(f"cannot write {path}: {error}") from error


def load_checkpoint(path):
    """Read the ``(tensors, info)`` of a file that :func:`save_checkpoint` wrote.

    Raises OSError if the file is missing or unreadable, ValueError if it is truncated, altered or of another kind.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    if not {"info", "sha256"} <= metadata.keys():
        raise ValueError(f"{path} was not written by save_checkpoint: its header has {sorted(metadata)}")
    if _digest(tensors, metadata["info"]) != metadata["sha256"]:
        raise ValueError(f"{path} is damaged: the SHA-256 of its content is not the one in its header")
    return tensors, json.loads(metadata["info"])


def save_pretrained(path, model, info):
    """Write the weights of ``model``, its class and ``model.config`` beside ``info``; errors as in :func:`save_checkpoint`."""
    save_checkpoint(path, model.state_dict(), {**info, "network": type(model).__name__, "config": model.config})


def weights_file(name):
    """The path of a released network's weights, or ``name`` itself if it is a ``.safetensors`` path; ValueError if it is neither."""
    if Path(name).suffix == ".safetensors":
        return Path(name)
    folder = Path(str(files("dgm_helpers"))) / "weights"
    path = folder / f"{name}.safetensors"
    if not path.exists():
        raise ValueError(f"name must be one of {sorted(p.stem for p in folder.glob('*.safetensors'))} or a .safetensors path, got {name!r}")
    return path


def load_pretrained(name):
    """Load a trained network, in evaluation mode, with its record in ``model.info``.

    Parameters
    ----------
    name : str or Path
        A released network (``"sprites-dawnlike"``, ``"sprites-generated"``) or the path of a ``.safetensors`` file.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    ValueError
        If the name is unknown, or the file is damaged or does not hold a network.
    OSError
        If the path does not exist.
    """
    path = weights_file(name)
    tensors, info = load_checkpoint(path)
    if "network" not in info:
        raise ValueError(f"{path} holds no network, only {sorted(info)}")
    model = getattr(networks, info["network"])(**info["config"])
    model.load_state_dict(tensors)
    model.info = info
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # a sixth faster on a processor


@dataclass(frozen=True)
class Step:
    """One optimizer step: its ``number`` from 1, its ``epoch`` from 1, its mean ``loss``, and the averaged network ``ema``."""

    number: int
    epoch: int
    loss: float
    ema: torch.nn.Module


def train(model, loss, data, *, epochs, batch_size=64, lr=2e-4, ema_decay=0.9995, generator, evaluate=None, checkpoint=None, settings=None):
    """Train ``model`` with Adam; iterate over the result to make it run.

    Parameters
    ----------
    model : torch.nn.Module
        Trained in place.
    loss : callable
        ``loss(model, *batch, generator)`` returns the loss of each item, (B,).
    data : tuple of tensors
        Equally long; a batch holds the same rows of each.
    epochs, batch_size : int
        Passes over the data, and items per step; the last batch of an epoch may be smaller.
    lr : float
        Learning rate, constant.
    ema_decay : float
        In [0, 1): the average forgets over about 1/(1 − ``ema_decay``) steps. After k steps, (1 + k)/(10 + k) takes its place
        while that is smaller, so that the initial weights are soon forgotten.
    generator : torch.Generator
        Source of the shuffling and, through ``loss``, of all other randomness.
    evaluate : callable, optional
        ``evaluate(ema)`` returns a dictionary of floats, kept in the epoch's entry of the checkpoint's ``history``.
    checkpoint : path, optional
        Written after every epoch. If it exists, training continues from it bit for bit.
    settings : dict, optional
        JSON-able description of the run; a checkpoint with other settings is refused.

    Yields
    ------
    Step

    Raises
    ------
    ValueError
        If an argument is out of range, the data are empty or of unequal length, the checkpoint belongs to another run,
        or the loss stops being finite.
    OSError
        If the checkpoint cannot be written.
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive int, got {value!r}")
    if not lr > 0:
        raise ValueError(f"lr must be positive, got {lr}")
    if not 0 <= ema_decay < 1:
        raise ValueError(f"ema_decay must lie in [0, 1), got {ema_decay}")
    n = len(data[0])
    if n == 0 or any(len(x) != n for x in data):
        raise ValueError(f"data must be tensors of one positive length, got lengths {[len(x) for x in data]}")
    return _train(model, loss, data, epochs, batch_size, lr, ema_decay, generator, evaluate, checkpoint, settings)


def _train(model, loss, data, epochs, batch_size, lr, ema_decay, generator, evaluate, checkpoint, settings):
    ema = AveragedModel(model, multi_avg_fn=partial(_warmed_up_average, ema_decay))
    optimizer = torch.optim.Adam(model.parameters(), lr)
    history, number = [], 0
    settings = {"batch_size": batch_size, "lr": lr, "ema_decay": ema_decay, "items": len(data[0]), **(settings or {})}
    if checkpoint is not None and Path(checkpoint).exists():
        tensors, info = load_checkpoint(checkpoint)
        if info["settings"] != settings:
            raise ValueError(f"checkpoint {checkpoint} belongs to another run: {info['settings']} is not {settings}")
        _restore(tensors, model, ema, optimizer, generator)
        history, number = info["history"], info["number"]
    for epoch in range(len(history) + 1, epochs + 1):
        start, total = time.perf_counter(), 0.0
        model.train()
        for rows in torch.randperm(len(data[0]), generator=generator).split(batch_size):
            value = loss(model, *(x[rows] for x in data), generator).mean()
            if not value.isfinite():
                raise ValueError(f"the loss became {value.item()} at step {number + 1}")
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            ema.update_parameters(model)
            number += 1
            total += value.item() * len(rows)
            yield Step(number, epoch, value.item(), ema.module)
        ema.eval()
        entry = {"epoch": epoch, "train_loss": total / len(data[0]), **(evaluate(ema.module) if evaluate else {})}
        history.append({**entry, "seconds": time.perf_counter() - start})
        if checkpoint is not None:
            save_checkpoint(checkpoint, _state(model, ema, optimizer, generator), {"settings": settings, "history": history, "number": number})


def _warmed_up_average(decay, averages, weights, number):
    get_ema_multi_avg_fn(min(decay, (1 + int(number)) / (10 + int(number))))(averages, weights, number)


def _state(model, ema, optimizer, generator):
    state = {f"model.{k}": v for k, v in model.state_dict().items()} | {f"ema.{k}": v for k, v in ema.state_dict().items()}
    for i, moments in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{i}.{k}": v for k, v in moments.items()}
    return state | {"generator": generator.get_state()}


def _restore(tensors, model, ema, optimizer, generator):
    def part(prefix):
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    model.load_state_dict(part("model."))
    ema.load_state_dict(part("ema."))
    moments = {}
    for key, value in part("optimizer.").items():
        i, name = key.split(".")
        moments.setdefault(int(i), {})[name] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    generator.set_state(tensors["generator"])
