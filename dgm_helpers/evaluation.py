"""Recorded evaluations of samplers: pictures drawn batch by batch, so that a killed run continues, and what is measured on them."""

import base64
import hashlib
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from tqdm import tqdm

from . import fid, results, sprites
from .networks import PCAGaussian
from .pixel_art import generate_sprites
from .samplers import clipped, epsilon_scaled, sample_ddim, sample_ddpm, sample_es_ddpm
from .schedules import NoiseSchedule, timesteps
from .training import load_checkpoint, load_pretrained, save_checkpoint, weights_file

REFERENCE_SEED = 1  # of the fresh pictures that samples are compared with; training pictures have seed 0


def sha256(path):
    """The SHA-256 of a file, as hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def data_of(weights, model, cache):
    """The set that trained ``model`` and the two sides of its split; ValueError if the set is not the one of its record."""
    if "settings" not in model.info:
        raise ValueError(f"--weights {weights} does not say which data trained it; give a network that the train command wrote")
    settings = model.info["settings"]
    data = sprites.load_sprites(settings["source"], cache=cache)
    if data.sha256 != settings["data_sha256"]:
        raise ValueError(f"--weights {weights} was trained on data with SHA-256 {settings['data_sha256']}, not {data.sha256}")
    return data, *sprites.SPLITS[settings["split"]](data)


class Run:
    """A trained denoiser, its data, and the pictures that samplers draw with it."""

    def __init__(self, weights, cache, threads, *, compiled):
        if threads:
            torch.set_num_threads(threads)
        self.name, self.weights_sha256, self.compiled = Path(weights).stem, sha256(weights_file(weights)), compiled
        self.model, self.schedule = load_pretrained(weights), NoiseSchedule.linear()
        self.data, self.train, self.held_out = data_of(weights, self.model, cache)
        self.shown = self.train.images[: self.model.info["settings"].get("distinct")]
        if compiled:
            self.model.compile()

    def row(self, sampler, steps, proposals, stop_at, eps_scale, batch, seed):
        """The name and the recipe of one row; ValueError if they make no sense, before any picture is drawn."""
        if (proposals is None) != (stop_at is None):
            raise ValueError(f"--proposals and --stop-at must be given together, got {proposals} and {stop_at}")
        if sampler == "train":
            return "train", {"sampler": "train", "batch": batch, "seed": seed}
        if stop_at is not None and not 0 <= stop_at <= self.schedule.T:
            raise ValueError(f"--stop-at must lie in 0…{self.schedule.T}, got {stop_at}")
        if stop_at != 0:
            timesteps(stop_at or self.schedule.T, steps)
        recipe = {
            "weights": self.name,
            "weights_sha256": self.weights_sha256,
            "data_sha256": self.data.sha256,
            "sampler": sampler,
            "steps": steps if stop_at != 0 else 0,
            "proposals": proposals,
            "proposals_sha256": sha256(weights_file(proposals)) if proposals not in (None, "pca") else None,
            "stop_at": stop_at,
            "eps_scale": eps_scale,
            "batch": batch,
            "seed": seed,
            "compiled": self.compiled,
        }
        parts = [*([f"es-{Path(proposals).stem.split('-')[0]}-{stop_at}"] if proposals else []), *([f"scaled-{eps_scale}"] if eps_scale else [])]
        return "-".join([*parts, *([sampler, str(steps)] if recipe["steps"] else [])]), recipe

    def sampler(self, recipe):
        """The function ``sampler(labels, generator)`` of a recipe."""
        x, labels = self.train.tensors()
        if recipe["proposals"]:
            proposer = PCAGaussian(x, labels) if recipe["proposals"] == "pca" else load_pretrained(recipe["proposals"])

        def sampler(y, generator):
            eps_model = self.model.for_labels(y)
            if recipe["eps_scale"]:
                eps_model = epsilon_scaled(eps_model, recipe["eps_scale"])
            eps_model = clipped(eps_model, self.schedule)
            if recipe["proposals"]:
                eta = 1.0 if recipe["sampler"] == "ddpm" else 0.0
                options = {"stop_at": recipe["stop_at"], "steps": recipe["steps"], "eta": eta, "generator": generator}
                return sample_es_ddpm(eps_model, self.schedule, proposer.sample(y, generator=generator), **options)
            sample = sample_ddpm if recipe["sampler"] == "ddpm" else sample_ddim
            return sample(eps_model, self.schedule, (len(y), 3, sprites.SIDE, sprites.SIDE), steps=recipe["steps"], generator=generator)

        return sampler

    def draw(self, name, recipe, n, folder):
        """The n pictures of a row, uint8 (n, 16, 16, 3), and the processor seconds of one: see :func:`draw`."""
        if recipe["sampler"] == "train":
            if n > len(self.train):
                raise ValueError(f"--n must be at most {len(self.train)}, the number of training pictures, got {n}")
            rows = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(recipe["seed"]))[:n]
            return self.train.images[rows], 0.0
        return draw(self.sampler(recipe), self.train.tensors()[1], recipe, n=n, folder=Path(folder) / f"{self.name.removeprefix('sprites-')}-{name}")

    def reference(self, n):
        """n real pictures, uint8: freshly drawn ones of the generated set, else distinct pictures of the set in random order."""
        if self.data.source == "generated":
            return generate_sprites(n, REFERENCE_SEED)[0]
        images = np.unique(self.data.images, axis=0)
        if n > len(images):
            raise ValueError(f"--n must be at most {len(images) // 2}, half of the {len(images)} distinct pictures, got {n // 2}")
        return images[np.random.default_rng(REFERENCE_SEED).permutation(len(images))[:n]]

    def feature_sets(self):
        """The features of the distances, by name; a classifier is released for the generated set only."""
        x, _ = self.train.tensors()
        features = {"imagenet": fid.imagenet_features(), "pca": fid.pca_features(x, 64)}
        if self.data.source == "generated":
            features = {"classifier": load_pretrained("classifier-generated").features, **features}
        return features


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
        Processor time of one picture, summed over threads: that of the median batch, since the first one may compile the network.

    Raises
    ------
    ValueError
        If n is no positive multiple of the batch, or the folder holds pictures of another recipe.
    """
    batch = recipe["batch"]
    if n < 1 or n % batch:
        raise ValueError(f"n must be a positive multiple of the batch of {batch}, got {n}")
    made_with = results.provenance()
    pictures, seconds = [], []
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
        seconds.append(info["seconds"])
    return torch.cat(pictures).numpy(), median(seconds) / batch


def measure(real_sets, fake, features, *, seed):
    """Distances from uint8 pictures ``fake`` (n, …) to n real ones, for each of the named ``features``.

    ``real_sets`` holds the features of 2n real pictures by the same names, of which the first n are used. Without ``fake``: the
    noise floor, real against real at the same n.
    """
    summary = {}
    for name, function in features.items():
        real_features, n = real_sets[name], len(real_sets[name]) // 2
        generator, resamples = torch.Generator().manual_seed(seed), 200 if real_features.shape[1] < 500 else 40
        if fake is None:
            mean, spread = fid.noise_floor(real_features, n, features=None, generator=generator)
            summary[name] = {"dimensions": real_features.shape[1], "fid": mean, "spread": spread}
        else:
            sets = real_features[:n], fid.extract_features(sprites.to_tensor(fake), function)
            distance, low, high = fid.fid_interval(*sets, features=None, generator=generator, resamples=resamples)
            summary[name] = {"dimensions": real_features.shape[1], "fid": distance, "low": low, "high": high, "resamples": resamples}
            summary[name]["kid"], summary[name]["kid_standard_error"] = fid.kid(*sets, features=None)
    return summary


def nearest(pictures, others):
    """The distance of each picture to the nearest of the ``others``, root mean square over its values, and that one's row."""
    x, y = (sprites.to_tensor(z).flatten(1) for z in (pictures, others))
    distance, row = torch.cdist(x, y).min(1)
    return distance / x.shape[1] ** 0.5, row


def nearest_training_pictures(pictures, shown, held_out, closest=20):
    """Distances of samples and of held-out pictures to the nearest picture ``shown`` in training, and the closest samples themselves."""
    distance, row = nearest(pictures, shown)
    order = distance.argsort()[:closest]
    return {
        "shown": len(shown),
        "samples": distance.tolist(),
        "held_out": nearest(held_out.images, shown)[0].tolist(),
        "closest": {"rows": row[order].tolist(), "pictures": base64.b64encode(pictures[order].tobytes()).decode()},
    }


def load_row(row, n):
    """The record of a row of the generated set, such as "ddim-20" or "real", at n pictures; ValueError if there is none."""
    return results.load(f"generated-{row}-{n}", results.FOLDER / "fid")


def compare_rows(one, other, floor):
    """The name of the recorded row that is closer to the real pictures, in each feature set and in all of them.

    Parameters
    ----------
    one, other : dict
        Records of samples, from :func:`load_row`.
    floor : dict
        The record "real" of the noise floor.

    Returns
    -------
    dict
        For each feature set the closer row by :func:`dgm_helpers.fid.closer`, or None; for "all" the row that every set
        names, or None.

    Raises
    ------
    ValueError
        If the records have different numbers of pictures, real pictures or feature sets.
    """
    for key in ("n", "reference_sha256"):
        if len(values := {record[key] for record in (one, other, floor)}) > 1:
            raise ValueError(f"one, other and floor must agree in {key}, got {sorted(values)}")
    if len(sets := {tuple(record["features"]) for record in (one, other, floor)}) > 1:
        raise ValueError(f"one, other and floor must have the same feature sets, got {sorted(sets)}")
    said = {}
    for kind in floor["features"]:
        estimates = [[record["features"][kind][part] for part in ("fid", "low", "high")] for record in (one, other)]
        which = fid.closer(*estimates, floor=floor["features"][kind]["fid"])
        said[kind] = None if which is None else (one, other)[which]["row"]
    names = set(said.values())
    return {**said, "all": names.pop() if len(names) == 1 else None}
