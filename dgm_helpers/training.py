"""One training loop for every network, with an exponential moving average (EMA) of the weights and exact resumption.

Files are safetensors with a JSON header: no pickle. Each carries the SHA-256 of its content, is written under a
temporary name and moved into place, so that a kill at any moment leaves either the old file or the new one.
Wrong types, shapes, ranges or NaN raise TypeError or ValueError naming the argument; a file that is missing,
or cannot be written, is an OSError, a damaged one a ValueError.
"""

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .arguments import (
    described,
    is_finite,
    is_floats,
    require_callable,
    require_generator,
    require_int,
    require_json,
    require_number,
    require_path,
)
from .networks import VAE, ScoreMLP, SpriteClassifier, UNet
from .predictors import FourierUNet, PaletteUNet

NETWORKS = {
    kind.__name__: kind
    for kind in (UNet, PaletteUNet, FourierUNet, ScoreMLP, VAE, SpriteClassifier)
}


def _digest(tensors, info):
    digest = hashlib.sha256(info.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        content = tensors[name].contiguous().cpu().reshape(-1).view(torch.uint8)
        digest.update(content.numpy().tobytes())
    return digest.hexdigest()


def save_tensors(path, tensors, info):
    """Write a dictionary of named ``tensors`` and a JSON-able dictionary ``info`` to one safetensors file, atomically.

    If the folder cannot be written, the old file stays as it was.
    """
    path = require_path("path", path)
    if not isinstance(tensors, dict):
        raise TypeError(f"tensors must be a dictionary of tensors, got {described(tensors)}")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise TypeError(
                f"tensors must hold tensors with names, got {name!r}: {described(tensor)}"
            )
        if tensor.layout != torch.strided or tensor.is_meta or name == "__metadata__":
            raise ValueError(
                f"tensors must hold dense tensors with data, got {name!r}: {tensor.layout}"
            )
    text = json.dumps(require_json("info", info))
    temporary = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
        save_file(tensors, temporary, metadata={"info": text, "sha256": _digest(tensors, text)})
        os.replace(temporary, path)
    except KeyError as error:
        raise ValueError(f"tensors must have dtypes that safetensors knows, got {error}") from None
    except (OSError, SafetensorError) as error:
        raise OSError(f"cannot write {path}: {error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def load_tensors(path):
    """Read the ``(tensors, info)`` of a file that :func:`save_tensors` wrote."""
    path = require_path("path", path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            tensors = {
                name: file.get_tensor(name).clone() for name in names
            }  # not a view of the file
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    if not {"info", "sha256"} <= metadata.keys():
        raise ValueError(
            f"{path} was not written by save_tensors: its header has {sorted(metadata)}"
        )
    if _digest(tensors, metadata["info"]) != metadata["sha256"]:
        raise ValueError(
            f"{path} is damaged: the SHA-256 of its content is not the one in its header"
        )
    return tensors, json.loads(metadata["info"])


def save_pretrained(path, model, info):
    """Write the weights of one of the package's networks, its class and ``model.config`` beside ``info``.

    ``path`` ends in ``.safetensors``. What is written, :func:`load_pretrained` can read.
    """
    path = require_path("path", path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors, got {str(path)!r}")
    name = type(model).__name__
    if NETWORKS.get(name) is not type(model):
        raise TypeError(f"model must be a {', '.join(NETWORKS)}, got {described(model)}")
    _require_fit("model", _without_weights(name, model.config), model.state_dict())
    info = {**require_json("info", info), "network": name, "config": model.config}
    save_tensors(path, model.state_dict(), info)


def _without_weights(name, config):
    """A network on the meta device: it takes no memory, and its first weights no random numbers."""
    with torch.device("meta"):
        return NETWORKS[name](**config)


def _require_fit(what, model, tensors):
    """Refuse ``tensors`` that have other names or shapes than the state of ``model``."""
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    got = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = sorted(name for name in wanted | got if wanted.get(name) != got.get(name))
    if wrong:
        example = f"{wrong[0]} has shape {got.get(wrong[0])}, not {wanted.get(wrong[0])}"
        raise ValueError(
            f"{what} does not hold the weights of this {type(model).__name__}: {example}"
        )


def weights_file(name):
    """The path of a released network's weights, or ``name`` itself if it is a ``.safetensors`` path."""
    folder = Path(str(files("dgm_helpers"))) / "weights"
    released = sorted(path.stem for path in folder.glob("*.safetensors"))
    wanted = f"name must be one of {released} or a .safetensors path, got {described(name)}"
    if not isinstance(name, (str, os.PathLike)):
        raise TypeError(wanted)
    if Path(name).suffix == ".safetensors":
        return Path(name)
    if str(name) not in released:
        raise ValueError(wanted)
    return folder / f"{name}.safetensors"


def load_pretrained(name):
    """Load a trained network, in evaluation mode, with its record in ``model.info``.

    It keeps the dtype in which it was saved (half precision, which is for files, becomes float32), and can be trained
    further; where no gradient is wanted, call it under ``torch.no_grad()``, as ``for_labels`` and ``sample`` do
    themselves.

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
        If the name is unknown, or the file is damaged or does not hold one of the package's networks.
    OSError
        If the path does not exist.
    """
    path = weights_file(name)
    tensors, info = load_tensors(path)
    if "network" not in info:
        raise ValueError(f"{path} holds no network, only {sorted(info)}")
    if info["network"] not in list(NETWORKS):
        raise ValueError(f"{path} holds a network {info['network']!r}, not {', '.join(NETWORKS)}")
    try:
        model = _without_weights(info["network"], info["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds a {info['network']} of another kind: {error}") from error
    _require_fit(path, model, tensors)
    if not all(tensor.is_floating_point() for tensor in tensors.values()):
        raise ValueError(f"{path} holds weights that are not floating-point numbers")
    halves = {name: x for name, x in tensors.items() if x.dtype == torch.float16}
    model.load_state_dict(tensors | {name: x.float() for name, x in halves.items()}, assign=True)
    model.info = info
    return model.eval().to(memory_format=torch.channels_last)  # a sixth faster on a processor


@dataclass(frozen=True)
class Step:
    """One step: its ``number`` and ``epoch``, both from 1, its mean ``loss``, and the averaged network ``ema``."""

    number: int
    epoch: int
    loss: float
    ema: torch.nn.Module


def train(
    model,
    loss,
    data,
    *,
    epochs,
    batch_size=64,
    lr=2e-4,
    ema_decay=0.9995,
    generator,
    evaluate=None,
    checkpoint=None,
    settings=None,
):
    """Train ``model`` with Adam; iterate over the result to make it run.

    The package's convolutional networks are trained in the memory format ``torch.channels_last``.

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
        In [0, 1): the average forgets over about 1/(1 − ``ema_decay``) steps. After k steps, (1 + k)/(10 + k) takes
        its place while that is smaller, so that the initial weights are soon forgotten.
    generator : torch.Generator
        Source of the shuffling and, through ``loss``, of all other randomness.
    evaluate : callable, optional
        ``evaluate(ema)`` returns a dictionary of numbers, kept in the epoch's entry of the checkpoint's ``history``.
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
        Before the first step, if the checkpoint belongs to another run or has more epochs already; later, if the
        loss or the weights stop being finite, or ``loss`` or ``evaluate`` return something else.
    OSError
        Before the first step, if the checkpoint cannot be written.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {described(model)}")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("model must have parameters that require a gradient, got none")
    require_callable("loss", loss)
    _require_rows(data)
    epochs, batch_size = require_int("epochs", epochs, 1), require_int("batch_size", batch_size, 1)
    if (lr := require_number("lr", lr, above=0)) > torch.finfo(torch.float32).max:
        raise ValueError(f"lr must be a number of float32, got {lr}")
    ema_decay = require_number("ema_decay", ema_decay, least=0, below=1)
    require_generator(generator)
    if evaluate is not None:
        require_callable("evaluate", evaluate)
    own = {"batch_size": batch_size, "lr": lr, "ema_decay": ema_decay, "items": len(data[0])}
    settings = {} if settings is None else require_json("settings", settings)
    if own.keys() & settings.keys():
        raise ValueError(
            f"settings must not hold {', '.join(own)}: they are added, got {list(settings)}"
        )
    settings = own | settings
    saved = None
    if checkpoint is not None:
        checkpoint = require_path("checkpoint", checkpoint, writable=True)
        if checkpoint.exists():
            saved = _load_checkpoint(checkpoint, settings, epochs, model, generator)
    run = (model, loss, data, epochs, batch_size, lr, ema_decay, generator, evaluate, checkpoint)
    return _train(*run, settings, saved)


def _train(
    model,
    loss,
    data,
    epochs,
    batch_size,
    lr,
    ema_decay,
    generator,
    evaluate,
    checkpoint,
    settings,
    saved,
):
    if isinstance(model, tuple(NETWORKS.values())):
        model.to(memory_format=torch.channels_last)
    device = next(model.parameters()).device
    average = partial(_warmed_up_average, ema_decay)
    ema = AveragedModel(model, device, multi_avg_fn=average).eval()
    optimizer = torch.optim.Adam(model.parameters(), lr)
    history, number = [], 0
    if saved:
        tensors, info = saved
        _restore(tensors, model, ema, optimizer, generator)
        history, number = info["history"], info["number"]
    for epoch in range(len(history) + 1, epochs + 1):
        start, total = time.perf_counter(), 0.0
        model.train()
        order = torch.randperm(len(data[0]), generator=generator, device=generator.device)
        for rows in order.split(min(batch_size, len(order))):
            value = loss(model, *(x[rows.to(x.device)] for x in data), generator)
            value = _checked_loss(value, len(rows)).mean()
            if not value.isfinite():
                raise ValueError(f"the loss became {value.item()} at step {number + 1}")
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            ema.update_parameters(model)
            number += 1
            total += value.item() * len(rows)
            yield Step(number, epoch, value.item(), ema.module)
        if not all(is_finite(parameter) for parameter in model.parameters()):
            raise ValueError(f"the weights became NaN or infinite at step {number}")
        entry = {
            "epoch": epoch,
            "train_loss": total / len(data[0]),
            **_measured(evaluate, ema.module),
        }
        history.append({**entry, "seconds": time.perf_counter() - start})
        if checkpoint is not None:
            info = {"settings": settings, "history": history, "number": number}
            save_tensors(checkpoint, _state(model, ema, optimizer, generator), info)


def _require_rows(data):
    """Refuse ``data`` unless they are tensors of one positive length, those of decimals finite."""
    if not isinstance(data, (tuple, list)) or not data:
        raise TypeError(f"data must be a tuple of tensors, got {described(data)}")
    for x in data:
        if not isinstance(x, torch.Tensor) or not x.ndim:
            hint = "; torch.from_numpy makes a tensor of it" if isinstance(x, np.ndarray) else ""
            raise TypeError(
                f"data must hold tensors with an axis of items, got {described(x)}{hint}"
            )
        if not is_finite(x):
            raise ValueError("data must be finite, got NaN or infinity")
    lengths = [len(x) for x in data]
    if lengths[0] == 0 or len(set(lengths)) > 1:
        raise ValueError(f"data must be tensors of one positive length, got lengths {lengths}")


def _checked_loss(value, n):
    """``value``, if it is the loss of n items with a graph that leads to parameters."""
    if not is_floats(value) or value.shape != (n,):
        wanted = f"the loss of each item, a floating-point tensor of shape ({n},)"
        raise ValueError(f"loss must return {wanted}, got {described(value)}")
    if not value.requires_grad:
        raise ValueError(
            "loss must depend on the parameters of model, got an answer without a graph"
        )
    return value


def _measured(evaluate, ema):
    """The dictionary that ``evaluate`` makes of the averaged network, with numbers that JSON can hold."""
    measures = {} if evaluate is None else evaluate(ema)
    if not isinstance(measures, dict) or not all(isinstance(name, str) for name in measures):
        raise TypeError(f"evaluate must return a dictionary of numbers, got {described(measures)}")
    return {name: require_number(f"evaluate's {name}", value) for name, value in measures.items()}


def _warmed_up_average(decay, averages, weights, number):
    warmed_up = min(decay, (1 + int(number)) / (10 + int(number)))
    get_ema_multi_avg_fn(warmed_up)(averages, weights, number)


def load_average(model, checkpoint):
    """Load the averaged weights of a checkpoint of :func:`train` into ``model``.

    Returns
    -------
    dict
        The run's ``"settings"``, its ``"history"`` with one entry an epoch, and the ``"number"`` of steps.

    Raises
    ------
    ValueError
        If the file is damaged, no checkpoint, or one of another network; ``model`` is then as it was.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {described(model)}")
    tensors, info = load_tensors(require_path("checkpoint", checkpoint))
    _require_checkpoint(checkpoint, info)
    average = _part(tensors, "ema.module.")
    _require_fit(checkpoint, model, average)
    model.load_state_dict(average)
    return info


def _require_checkpoint(path, info):
    if not {"settings", "history", "number"} <= info.keys():
        raise ValueError(f"checkpoint {path} was not written by train: it holds {sorted(info)}")


def _load_checkpoint(path, settings, epochs, model, generator):
    """The tensors and the info of a checkpoint, if this run can continue from it."""
    tensors, info = load_tensors(path)
    _require_checkpoint(path, info)
    if info["settings"] != settings:
        was = info["settings"]
        raise ValueError(f"checkpoint {path} belongs to another run: {was} is not {settings}")
    if len(info["history"]) > epochs:
        done = len(info["history"])
        raise ValueError(f"checkpoint {path} has {done} epochs already, got epochs = {epochs}")
    _require_fit(f"checkpoint {path}", model, _part(tensors, "model."))
    if tensors["generator"].shape != generator.get_state().shape:
        raise ValueError(f"checkpoint {path} continues with a generator on another device")
    return tensors, info


def _part(tensors, prefix):
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _state(model, ema, optimizer, generator):
    state = {f"model.{k}": v for k, v in model.state_dict().items()}
    state |= {f"ema.{k}": v for k, v in ema.state_dict().items()}
    for i, moments in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{i}.{k}": v for k, v in moments.items()}
    return state | {"generator": generator.get_state()}


def _restore(tensors, model, ema, optimizer, generator):
    model.load_state_dict(_part(tensors, "model."))
    ema.load_state_dict(_part(tensors, "ema."))
    parameters, moments = list(model.parameters()), {}
    for key, value in _part(tensors, "optimizer.").items():
        i, name = key.split(".")
        if name != "step":  # into the memory format of the parameter, as Adam makes it
            value = torch.empty_like(parameters[int(i)]).copy_(value)
        moments.setdefault(int(i), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    generator.set_state(tensors["generator"])
