"""Recorded evaluations of samplers: pictures drawn batch by batch, so that a killed run continues, and what is measured on them."""

import hashlib
import time
from pathlib import Path

import torch
from tqdm import tqdm

from . import results, sprites
from .training import load_checkpoint, save_checkpoint, weights_file


def sha256(path):
    """The SHA-256 of a file, as hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def draw(sampler, labels, recipe, *, n, folder):
    """Draw n pictures in batches that are kept in ``folder``; a batch that is there already is not drawn again.

    Batch i depends on the recipe and i only, so a killed run continues with the same pictures, and a larger n adds to them.

    Parameters
    ----------
    sampler : callable
        ``sampler(labels, generator)`` returns pictures in [−1, 1], float (B, 3, 16, 16).
    labels : int64 tensor (N,)
        The labels of a batch are drawn from these, with replacement.
    recipe : dict
        JSON-able description of the pictures, with ``"batch"`` (pictures at a time) and ``"seed"``.
    n : int
        A multiple of the batch.
    folder : path

    Returns
    -------
    pictures : uint8 array (n, 16, 16, 3)
    seconds : float
        Processor time of one picture, over all batches and threads.

    Raises
    ------
    ValueError
        If n is no positive multiple of the batch, or the folder holds pictures of another recipe.
    """
    batch = recipe["batch"]
    if n < 1 or n % batch:
        raise ValueError(f"n must be a positive multiple of the batch of {batch}, got {n}")
    made_with = results.provenance()
    pictures, seconds = [], 0.0
    for i in tqdm(range(n // batch), unit=" batches", mininterval=10, desc=Path(folder).name):
        path = Path(folder) / f"{i:04d}.safetensors"
        if not path.exists():
            generator = torch.Generator().manual_seed(10**6 * recipe["seed"] + i)
            rows = torch.randint(len(labels), (batch,), generator=generator)
            start = time.process_time()
            x = sprites.to_uint8(sampler(labels[rows], generator))
            info = {"recipe": recipe, "seconds": time.process_time() - start, "made_with": made_with}
            save_checkpoint(path, {"pictures": torch.from_numpy(x)}, info)
        tensors, info = load_checkpoint(path)
        if info["recipe"] != recipe:
            raise ValueError(f"{path} holds pictures of another recipe: {info['recipe']} is not {recipe}")
        pictures.append(tensors["pictures"])
        seconds += info["seconds"]
    return torch.cat(pictures).numpy(), seconds / n
