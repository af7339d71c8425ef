"""Recorded evaluations of a trained denoiser: pictures that survive a kill, and what they are worth.

The arguments of a whole evaluation (``record_bound``, ``record_yardsticks``, …) are checked
before any work. Wrong kinds and values raise TypeError or ValueError naming the argument.
"""

import base64
import hashlib
import os
import shutil
import time
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from tqdm import tqdm

from . import results, sprites
from .arguments import (
    described,
    require_array,
    require_bool,
    require_callable,
    require_choice,
    require_data,
    require_int,
    require_json,
    require_labels,
    require_number,
    seeded,
)
from .bound import elbo_terms
from .diffusion import simple_loss
from .fid import extract_features, fid_interval, imagenet_features, kid, noise_floor, pca_features
from .networks import VAE, PCAGaussian, UNet
from .pixel_art import generate_sprites
from .predictors import affine_predictor, memoriser, palette_of, palette_predictor
from .samplers import (
    clipped,
    ddim_step,
    ddpm_step,
    epsilon_scaled,
    guided,
    multistep,
    reverse_process,
    sample_ddim,
    sample_ddpm,
    sample_es_ddpm,
)
from .schedules import SPACINGS, NoiseSchedule, require_schedule, timesteps
from .training import load_pretrained, load_tensors, save_tensors, weights_file

REFERENCE_SEED = 1  # of the fresh pictures that samples are compared with; those of training have 0
FLOOR_PAIRS = 10  # distances real against real
SAMPLERS = ("ddim", "ddpm", "multistep")
CLASSIFIED = ("generated", "dawnlike")  # sources with a released classifier
CLUSTERS = {"pca": 1, "clusters": 30}  # of a class, in the Gaussian proposals of that name
MOST = 10**6  # pictures of one seed


def require_seed(seed):
    """``seed``, if it is an int in 0…2³² − 1."""
    return require_int("seed", seed, 0, 2**32 - 1)


def require_counts(n, batch, least, *, whole=True):
    """``n`` and ``batch``, if they are ints from ``least`` and 1 on, and n a multiple of the batch where ``whole``."""
    n, batch = require_int("n", n, least, MOST), require_int("batch", batch, 1)
    if whole and n % batch:
        raise ValueError(f"n must be a multiple of batch = {batch}, got {n}")
    return n, batch


def part_seed(seed, i):
    """The seed of batch i, or of picture i, of a run with the given seed."""
    return MOST * seed + i


def sha256(path):
    """The SHA-256 of a file, as hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def load_network(argument, name, kind):
    """The released or saved network ``name``, if it is of class ``kind``; errors name the ``argument``."""
    try:
        model = load_pretrained(name)
    except (TypeError, ValueError) as error:
        wanted = f"{argument} must be a released network or the .safetensors file of one"
        found = TypeError if isinstance(error, TypeError) else ValueError
        raise found(f"{wanted}: {error}") from error
    if not isinstance(model, kind):
        got = f"{name}, which holds a {type(model).__name__}"
        raise ValueError(f"{argument} must hold a {kind.__name__}, got {got}")
    return model


def noise(n, generator):
    """Standard normal noise, float32 (n, 3, 16, 16)."""
    shape = (n, 3, sprites.SIDE, sprites.SIDE)
    return torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float32)


class Denoiser:
    """A trained denoiser, the data that trained it, and the pictures that samplers draw with it.

    Parameters
    ----------
    weights : str or Path
        A released network or a ``.safetensors`` file; its record must say which data trained it.
    cache : path, optional
        As in :func:`dgm_helpers.sprites.load_sprites`.
    compiled : bool
        Whether to compile the network: a quarter faster, needs a C++ compiler.

    Raises
    ------
    ValueError
        If the weights hold another kind of network, or the data are not those of their record.
    """

    def __init__(self, weights="sprites-generated", *, cache=None, compiled=False):
        self.model, self.schedule = load_network("weights", weights, UNet), NoiseSchedule.linear()
        self.name, self.weights_sha256 = Path(weights).stem, sha256(weights_file(weights))
        self.compiled = require_bool("compiled", compiled)
        settings = self.model.info.get("settings")
        if not isinstance(settings, dict) or not {"source", "data_sha256"} <= settings.keys():
            wanted = "weights must say which data trained them, as those of the train command do"
            raise ValueError(f"{wanted}, got {weights}")
        self.data = sprites.load_sprites(settings["source"], cache=cache)
        if self.data.sha256 != settings["data_sha256"]:
            wanted = f"weights must be trained on the data with SHA-256 {self.data.sha256}"
            raise ValueError(f"{wanted}, got {weights}, trained on {settings['data_sha256']}")
        if (got := self.model.n_classes) != (classes := len(self.data.classes)):
            raise ValueError(
                f"weights must have the {classes} classes of the data, got {weights} with {got}"
            )
        split = sprites.SPLITS[require_choice("split", settings.get("split"), sprites.SPLITS)]
        self.train, self.held_out = split(self.data)
        self.shown = self.train.images[: settings.get("distinct")]
        if compiled:
            self.model.compile()

    def described(self):
        """Weights and data, as records name them."""
        names = {"weights": self.name, "weights_sha256": self.weights_sha256}
        return names | {"source": self.data.source, "data_sha256": self.data.sha256}

    def rows_of(self, recipe):
        """Whose row it is: the network's, without "sprites-", or the data's where no network draws."""
        drawn = recipe is not None and recipe["sampler"] != "train"
        return self.name.removeprefix("sprites-") if drawn else self.data.source

    def held_out_pictures(self, n, seed):
        """n held-out pictures in [−1, 1] and their labels, drawn without replacement."""
        if n > len(self.held_out):
            wanted = f"n must be at most {len(self.held_out)}, the number of held-out pictures"
            raise ValueError(f"{wanted}, got {n}")
        rows = torch.randperm(len(self.held_out), generator=seeded(seed), device="cpu")[:n]
        return tuple(values[rows] for values in self.held_out.tensors())

    def recipe(
        self,
        sampler="ddim",
        *,
        steps=None,
        proposals=None,
        stop_at=None,
        eps_scale=None,
        guidance=None,
        spacing="uniform",
        batch=100,
        seed=0,
    ):
        """What a row's pictures are made of, as a JSON-able dictionary; None for the noise floor.

        Parameters
        ----------
        sampler : {"ddim", "ddpm", "multistep", "train", "real"}
            "multistep" is DPM-Solver++(2M). "train" stands for training pictures and "real" for the noise floor;
            no option of a sampler is theirs.
        steps : int, optional
            Network evaluations, 50 by default.
        proposals : {"pca", "clusters"}, str or Path, optional
            Early stopping: the generator to start from, a PCA-Gaussian for each class or for each of 30 clusters of a
            class, or the name or file of a variational autoencoder.
        stop_at : int, optional
            Early stopping: the timestep to start from; 0 leaves the proposals as they are, without steps.
        eps_scale : float, optional
            Epsilon scaling: what the noise estimate is divided by.
        guidance : float, optional
            Classifier-free guidance: the scale; a step then costs two evaluations.
        spacing : {"uniform", "quadratic", "karras"}
            Of the timesteps.
        batch, seed : int
        """
        part = {"batch": require_int("batch", batch, 1), "seed": require_seed(seed)}
        require_choice("sampler", sampler, (*SAMPLERS, "train", "real"))
        require_choice("spacing", spacing, SPACINGS)
        options = {"steps": steps, "proposals": proposals, "stop_at": stop_at}
        options |= {"eps_scale": eps_scale, "guidance": guidance}
        options |= {"spacing": None if spacing == "uniform" else spacing}
        if sampler in ("train", "real"):
            for name, value in options.items():
                if value is not None:
                    raise ValueError(f"{name} must not be given with {sampler!r}, got {value}")
            return {"sampler": "train", **part} if sampler == "train" else None
        if (proposals is None) != (stop_at is None):
            got = f"{proposals} and {stop_at}"
            raise ValueError(f"proposals and stop_at must be given together, got {got}")
        if sampler == "multistep" and proposals is not None:
            raise ValueError(f"proposals must not be given with 'multistep', got {proposals}")
        if stop_at is not None:
            options["stop_at"] = stop_at = require_int("stop_at", stop_at, 0, self.schedule.T)
            options |= {"proposals": str(proposals), "proposals_sha256": None}
            if proposals not in CLUSTERS:
                self._autoencoder(proposals)
                options["proposals_sha256"] = sha256(weights_file(proposals))
        top = self.schedule.T if stop_at is None else stop_at
        options["steps"] = (
            require_int("steps", 50 if steps is None else steps, 1, top) if top else 0
        )
        if eps_scale is not None:
            options["eps_scale"] = require_number("eps_scale", eps_scale, above=0)
        if guidance is not None:
            options["guidance"] = require_number("guidance", guidance)
        for name in ("guidance", "spacing"):  # what most rows do without is not in their recipes
            if options[name] is None:
                del options[name]
        return {
            "weights": self.name,
            "weights_sha256": self.weights_sha256,
            "data_sha256": self.data.sha256,
            "sampler": sampler,
            "proposals_sha256": None,
            **options,
            **part,
            "compiled": self.compiled,
        }

    def _autoencoder(self, proposals):
        network = load_network("proposals", proposals, VAE)
        if network.n_classes != len(self.data.classes):
            wanted = f"proposals must have the {len(self.data.classes)} classes of the data"
            raise ValueError(f"{wanted}, got {proposals} with {network.n_classes}")
        return network

    def batch_drawer(self, recipe):
        """The function ``draw_batch(labels, generator)`` of a recipe: pictures in [−1, 1], float32 (B, 3, 16, 16)."""
        proposals = recipe["proposals"]
        if proposals in CLUSTERS:
            proposer = PCAGaussian(*self.train.tensors(), n_clusters=CLUSTERS[proposals])
        elif proposals is not None:
            proposer = self._autoencoder(proposals)
        options = {"steps": recipe["steps"], "spacing": recipe.get("spacing", "uniform")}

        def draw_batch(labels, generator):
            eps_model = self.model.for_labels(labels)
            if "guidance" in recipe:
                anything = self.model.for_labels(torch.full_like(labels, self.model.n_classes))
                eps_model = guided(eps_model, anything, recipe["guidance"])
            if recipe["eps_scale"] is not None:
                eps_model = epsilon_scaled(eps_model, recipe["eps_scale"])
            start = clipped(eps_model, self.schedule), self.schedule
            if proposals is not None:
                x = proposer.sample(labels, generator=generator)
                early = {"stop_at": recipe["stop_at"], "eta": float(recipe["sampler"] == "ddpm")}
                return sample_es_ddpm(*start, x, **early, **options, generator=generator)
            x_T = noise(len(labels), generator)
            if recipe["sampler"] == "multistep":
                steps, spacing = options["steps"], options["spacing"]
                taus = timesteps(self.schedule.T, steps, spacing, schedule=self.schedule)
                *_, last = reverse_process(*start, x_T, taus, multistep())
                return last.x
            if recipe["sampler"] == "ddpm":
                return sample_ddpm(*start, x_T, **options, generator=generator)
            return sample_ddim(*start, x_T, **options)

        return draw_batch

    def pictures(self, recipe, n, folder):
        """The n pictures of a recipe, uint8 (n, 16, 16, 3), and the processor seconds of one: :func:`draw_pictures`."""
        if recipe["sampler"] == "train":
            return self.train.images[self._training_rows(recipe, n)], 0.0
        folder = Path(folder) / f"{self.rows_of(recipe)}-{results.row_name(recipe)}"
        labels = self.train.tensors()[1]
        return draw_pictures(self.batch_drawer(recipe), labels, recipe, n=n, folder=folder)

    def _training_rows(self, recipe, n):
        if n > len(self.train):
            wanted = f"n must be at most {len(self.train)}, the number of training pictures"
            raise ValueError(f"{wanted}, got {n}")
        return torch.randperm(len(self.train), generator=seeded(recipe["seed"]), device="cpu")[:n]

    def real_pictures(self, n):
        """2n real pictures, uint8, of neither side of the split where there are such: fresh ones of the generated set,
        else distinct held-out ones in random order.

        Of the fresh ones a few in a thousand are by chance pictures of the training, and an eighth show the drawing of
        one in other colours or mirrored, as new draws do.
        """
        if self.data.source == "generated":
            return generate_sprites(2 * n, REFERENCE_SEED)[0]
        images = self._held_out_images()
        if 2 * n > len(images):
            wanted = f"n must be at most {len(images) // 2}, half of the distinct held-out pictures"
            raise ValueError(f"{wanted}, got {n}")
        return images[: 2 * n]

    def floor_pictures(self, n):
        """Real pictures for the noise floor: ten times 2n fresh ones of the generated set, else all held-out ones."""
        if self.data.source == "generated":
            return generate_sprites(FLOOR_PAIRS * 2 * n, REFERENCE_SEED + 1)[0]
        return self._held_out_images()

    def require_other_groups(self):
        """ValueError if a held-out picture shares a group with one of training: it is then no measure of new ones."""
        if np.isin(self.held_out.groups, self.train.groups).any():
            wanted = "weights must be trained on a split that leaves whole groups out"
            raise ValueError(f"{wanted}, got held-out pictures that share a group with training")

    def _held_out_images(self):
        self.require_other_groups()
        images = np.unique(self.held_out.images, axis=0)
        return images[np.random.default_rng(REFERENCE_SEED).permutation(len(images))]

    def unseen_pictures(self, n):
        """Distinct pictures that training did not show, uint8, and their labels; of the generated set more than n."""
        if self.data.source == "generated":
            images, labels, _ = generate_sprites(n + n // 4 + 200, REFERENCE_SEED)
        else:
            self.require_other_groups()
            images, labels = self.held_out.images, self.held_out.labels
        shown = {image.tobytes() for image in self.train.images}
        rows = []
        for row, image in enumerate(images):
            if (key := image.tobytes()) not in shown:
                rows.append(row)
                shown.add(key)
        return images[rows], labels[rows]

    def feature_sets(self):
        """The features of the distances, by name; those of a classifier where one is released for the set."""
        x, _ = self.train.tensors()
        features = {"imagenet": imagenet_features(), "pca": pca_features(x, 64)}
        classifier = self.classifier()
        return features if classifier is None else {"classifier": classifier.features, **features}

    def classifier(self):
        """The released classifier of the data's classes, or None."""
        if self.data.source not in CLASSIFIED:
            return None
        return load_pretrained(f"classifier-{self.data.source}")

    def in_class(self, recipe, pictures):
        """The share of a recipe's pictures that the classifier puts into the class asked for, or None without one."""
        classifier = self.classifier()
        if classifier is None or recipe["sampler"] == "train":
            return None
        labels, wanted = self.train.tensors()[1], []
        for i in range(len(pictures) // recipe["batch"]):
            generator = seeded(part_seed(recipe["seed"], i))
            wanted.append(labels[_rows_of_labels(len(labels), recipe["batch"], generator)])
        with torch.no_grad():
            found = classifier(sprites.to_tensor(pictures)).argmax(1)
        return (found == torch.cat(wanted)).double().mean().item()


def draw_pictures(draw_batch, labels, recipe, *, n, folder):
    """Draw n pictures in batches that are kept in ``folder``; a batch that is there already is not drawn again.

    Batch i depends on the recipe and i only, so a killed run continues with the same pictures, and a larger n
    adds to them.

    Parameters
    ----------
    draw_batch : callable
        ``draw_batch(labels, generator)`` returns pictures in [−1, 1], float (B, 3, 16, 16).
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
        Processor time of one picture, summed over threads: that of the median batch, since the first one may
        compile the network.

    Raises
    ------
    ValueError
        If the folder holds pictures of another recipe.
    """
    require_callable("draw_batch", draw_batch)
    if len(labels := require_labels(labels, 2**63 - 1)) == 0:
        raise ValueError("labels must hold at least one label, got none")
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"folder must be a path, got {described(folder)}")
    if not isinstance(recipe, dict) or not {"batch", "seed"} <= recipe.keys():
        raise TypeError(f"recipe must be a dictionary with batch and seed, got {described(recipe)}")
    recipe = require_json("recipe", recipe)  # as it will be read again
    n, batch = require_counts(n, recipe["batch"], 1)
    seed, made_with = require_seed(recipe["seed"]), results.provenance()
    pictures, seconds = [], []
    for i in tqdm(range(n // batch), unit=" batches", mininterval=10, desc=Path(folder).name):
        path = Path(folder) / f"{i:04d}.safetensors"
        if not path.exists():
            generator = seeded(part_seed(seed, i))
            rows = _rows_of_labels(len(labels), batch, generator)
            start = time.process_time()
            x = draw_batch(labels[rows], generator)
            shape = (batch, 3, sprites.SIDE, sprites.SIDE)
            x = sprites.to_uint8(require_data("the answer of draw_batch", x, shape=shape))
            info = {"recipe": recipe, "made_with": made_with}
            info["seconds"] = time.process_time() - start
            save_tensors(path, {"pictures": torch.from_numpy(x)}, info)
        tensors, info = load_tensors(path)
        if (other := info.get("recipe")) != recipe:
            raise ValueError(f"{path} holds pictures of another recipe: {other} is not {recipe}")
        pictures.append(tensors["pictures"])
        seconds.append(info["seconds"])
    return torch.cat(pictures).numpy(), median(seconds) / batch


def _rows_of_labels(n, batch, generator):
    """The rows of the labels of a batch; the first thing that its generator is asked for."""
    return torch.randint(n, (batch,), generator=generator, device="cpu")


def draw_each(eps_model, schedule, seeds, *, sampler="ddim", steps=50, eta=0.0, spacing="uniform"):
    """Draw a picture for each of the ``seeds``, float32 (B, 3, 16, 16), with all its noise from a generator of its own.

    So a picture does not depend on those that are drawn beside it, but for the network's rounding. ``sampler``
    is "ddim" or "ddpm"; the other options are those of :func:`dgm_helpers.samplers.sample_ddim`, and ``eta`` is
    for "ddim" only.
    """
    require_choice("sampler", sampler, ("ddim", "ddpm"))
    eta, steps = require_number("eta", eta, least=0, most=1), require_int("steps", steps, 1)
    formula = ddpm_step if sampler == "ddpm" else partial(ddim_step, eta=eta)
    taus = timesteps(require_schedule(schedule).T, steps, spacing, schedule=schedule)
    try:
        seeds = [require_int("seeds", seed, 0, 2**63 - 1) for seed in seeds]
    except TypeError:
        raise TypeError(f"seeds must be a list of ints, got {described(seeds)}") from None
    if not seeds:
        raise ValueError("seeds must hold at least one")
    generators = [seeded(seed) for seed in seeds]

    def draw():
        return torch.cat([noise(1, generator) for generator in generators])

    def step(schedule, x_t, eps, t, s, _):
        return formula(schedule, x_t, eps, t, s, draw() if sampler == "ddpm" or eta > 0 else None)

    for state in reverse_process(eps_model, schedule, draw(), taus, step):
        pass
    return state.x


def measure(real, fake, features, *, seed):
    """Distances of pictures ``fake`` to as many ``real`` ones, uint8 (n, …), for each of the named ``features``."""
    summary, real, fake = {}, sprites.to_tensor(real), sprites.to_tensor(fake)
    for name, function in features.items():
        sets = [extract_features(x, function) for x in (real, fake)]
        dimensions = sets[0].shape[1]
        splits = 50 if dimensions < 500 else 10  # four distances each, of a second where D is 1,280
        interval = fid_interval(*sets, features=None, generator=seeded(seed), splits=splits)
        found = {"dimensions": dimensions} | dict(zip(("fid", "low", "high"), interval))
        found |= zip(("kid", "kid_standard_error"), kid(*sets, features=None))
        summary[name] = found | {"splits": splits}
    return summary


def measure_floor(pictures, n, features, *, seed):
    """The noise floor at n real pictures a side of uint8 ``pictures`` (N, …), for each of the named ``features``."""
    summary, x = {}, sprites.to_tensor(pictures)
    for name, function in features.items():
        z = extract_features(x, function)
        options = {"generator": seeded(seed), "repetitions": FLOOR_PAIRS}
        mean, spread = noise_floor(z, n, features=None, **options)
        summary[name] = {"dimensions": z.shape[1], "fid": mean, "spread": spread}
        summary[name] |= {"pairs": FLOOR_PAIRS, "disjoint": min(FLOOR_PAIRS, len(z) // (2 * n))}
    return summary


def on_palette(pictures, others):
    """The share of the pixels of ``pictures`` whose colour occurs in the ``others``, both uint8 (n, …, 3)."""
    colors = [
        np.asarray(images).reshape(-1, 3) @ (1 << 16, 1 << 8, 1) for images in (pictures, others)
    ]
    return np.isin(*colors).mean().item()


def nearest(pictures, others):
    """The root mean square distance of each picture to the nearest of the ``others``, and that one's row."""
    x, y = (sprites.to_tensor(z).flatten(1) for z in (pictures, others))
    distance, row = torch.cdist(x, y).min(1)
    return distance / x.shape[1] ** 0.5, row


def nearest_training_pictures(pictures, shown, held_out, closest=20):
    """Distances of samples and of held-out pictures to the nearest one ``shown`` in training; the closest samples."""
    distance, row = nearest(pictures, shown)
    order = distance.argsort()[:closest]
    encoded = base64.b64encode(pictures[order].tobytes()).decode()
    return {
        "shown": len(shown),
        "samples": distance.tolist(),
        "held_out": nearest(held_out.images, shown)[0].tolist(),
        "closest": {"rows": row[order].tolist(), "pictures": encoded},
    }


def closest_samples(record):
    """The samples closest to training in a record of copies, uint8 (k, 16, 16, 3), and the rows they are closest to."""
    if not isinstance(record, dict) or "closest" not in record:
        raise TypeError(f"record must be one of record_copies, got {described(record)}")
    pictures = np.frombuffer(base64.b64decode(record["closest"]["pictures"]), np.uint8)
    return pictures.reshape(-1, sprites.SIDE, sprites.SIDE, 3), record["closest"]["rows"]


def copying(distances, held_out):
    """How much closer to training samples are than held-out pictures, from distances to the nearest training picture.

    Returns
    -------
    share : float
        Of the pairs (sample, held-out picture), those in which the sample is closer, ties counted half: one
        half if nothing is remembered (the statistic of Mann and Whitney).
    below : float
        The share of samples below the held-out distances' 5% point.
    """
    d, others = require_array("distances", distances), require_array("held_out", held_out)
    for name, values in (("distances", d), ("held_out", others)):
        if values.ndim != 1 or len(values) == 0:
            raise ValueError(f"{name} must have shape (N,) with N >= 1, got {tuple(values.shape)}")
    share = (d[:, None] < others).double().mean() + (d[:, None] == others).double().mean() / 2
    return share.item(), (d < others.quantile(0.05)).double().mean().item()


def record_bound(
    weights="sprites-generated", *, n=256, batch=64, seed=0, cache=None, out=results.FOLDER
):
    """Record the terms of the variational bound of n held-out pictures, in bits per value; returns the path.

    Until the record is whole, its batches are kept beside it, so a killed run continues.
    """
    (n, batch), seed = require_counts(n, batch, 2, whole=False), require_seed(seed)
    made_with, start = results.provenance(), time.perf_counter()
    denoiser = Denoiser(weights, cache=cache)
    schedule = denoiser.schedule
    x0, labels = denoiser.held_out_pictures(n, seed)
    results.writable(out)
    summary = denoiser.described() | {"n": n, "seed": seed}
    name = f"elbo-{denoiser.name}"
    made_of, parts = {**summary, "batch": batch}, Path(out) / f"{name}.parts"
    for variance in ("small", "large"):
        generator, terms = seeded(seed), []  # the same noise for both

        def terms_of(x, y, generator=generator, variance=variance):
            eps_model = clipped(denoiser.model.for_labels(y), schedule)
            options = {"generator": generator, "variance": variance, "levels": 256}
            terms = elbo_terms(eps_model, schedule, x, **options).tolist()
            return {"terms": terms, "generator": generator.get_state().tolist()}

        batches = zip(x0.split(batch), labels.split(batch))
        for i, part in enumerate(tqdm(list(batches), unit=" batches", desc=variance)):
            found = results.kept(f"{variance}-{i}", made_of, partial(terms_of, *part), folder=parts)
            generator.set_state(torch.tensor(found["generator"], dtype=torch.uint8))
            terms += found["terms"]
        terms = torch.tensor(terms, dtype=torch.float64)
        totals = terms.sum(1)
        summary[variance] = {
            "bits_per_value": totals.mean().item(),
            "standard_error": (totals.std() / n**0.5).item(),
            "terms": terms.mean(0).tolist(),
            "pictures": totals.tolist(),
        }
    summary["seconds"] = time.perf_counter() - start
    path = results.record(name, summary, made_with=made_with, folder=out)
    shutil.rmtree(parts)
    return path


YARDSTICK_TIMES = (1, 3, 10, 30, 60, 100, 200, 300, 400, 700)


def record_yardsticks(
    weights="sprites-generated", *, n=256, batch=64, seed=0, cache=None, out=results.FOLDER
):
    """Record what the predictors that need no training reach on n held-out pictures, beside the network.

    For each the loss at ten timesteps, with the same noise for all, and for those without training the bound in
    bits per value; the pictures are those of :func:`record_bound` with the same ``n`` and ``seed``, which records the
    network's. Where ``out`` holds a record of the same pictures and noise, only the network's loss is computed anew.
    Returns the path.
    """
    (n, batch), seed = require_counts(n, batch, 2, whole=False), require_seed(seed)
    made_with, start = results.provenance(), time.perf_counter()
    denoiser = Denoiser(weights, cache=cache)
    schedule = denoiser.schedule
    x0, labels = denoiser.held_out_pictures(n, seed)
    results.writable(out)
    seen, _ = denoiser.train.tensors()
    baselines = {
        "palette": palette_predictor(schedule, *palette_of(denoiser.train.images)),
        "affine": affine_predictor(schedule, seen),
        "memoriser": memoriser(schedule, seen),
    }
    summary = denoiser.described() | {"n": n, "seed": seed, "t": list(YARDSTICK_TIMES)}
    summary["predictors"] = {}
    record = f"yardsticks-{denoiser.name}"
    before = results.load(record, out) if record in results.names(folder=out) else {}
    if all(before.get(key) == summary[key] for key in ("data_sha256", "n", "seed", "t")):
        baselines, summary["predictors"] = {}, before["predictors"]
    for name in ("network", *baselines):
        losses = []
        for t in YARDSTICK_TIMES:
            generator = seeded(part_seed(seed, t))
            parts = []
            for x, y in zip(x0.split(batch), labels.split(batch)):
                eps_model = baselines.get(name) or denoiser.model.for_labels(y)
                draw = torch.randn(x.shape, generator=generator)
                parts.append(simple_loss(clipped(eps_model, schedule), schedule, x, t, draw))
            losses.append(torch.cat(parts))
        found = summary["predictors"][name] = {
            "loss": [loss.mean().item() for loss in losses],
            "standard_error": [(loss.std() / n**0.5).item() for loss in losses],
        }
        if name == "network":
            continue
        for variance in ("small", "large"):
            options = {"generator": seeded(seed), "variance": variance, "levels": 256}
            totals = []
            for x in tqdm(x0.split(batch), unit=" batches", desc=f"{name}, {variance}"):
                eps_model = clipped(baselines[name], schedule)
                totals.append(elbo_terms(eps_model, schedule, x, **options).sum(1))
            totals = torch.cat(totals)
            found[variance] = {
                "bits_per_value": totals.mean().item(),
                "standard_error": (totals.std() / n**0.5).item(),
            }
    summary["seconds"] = time.perf_counter() - start
    return results.record(record, summary, made_with=made_with, folder=out)


def record_distances(
    denoiser, recipes, *, n, seed=0, pictures="runs/fid", out=results.FOLDER / "fid"
):
    """Record distances from sampled pictures to as many real ones: one row for each recipe.

    Parameters
    ----------
    denoiser : Denoiser
    recipes : list
        From :meth:`Denoiser.recipe`.
    n : int
        Pictures a side, at least 4, a multiple of each recipe's batch.
    seed : int
        Of the intervals and the noise floor.
    pictures : path
        Folder that keeps the pictures; a killed run continues with them.
    out : path
        Folder of the records. A row that is recorded there with the same recipe and weights is not computed again.

    Returns
    -------
    iterator of (path, bool)
        For each row the record, and whether it is new.
    """
    n, seed = require_int("n", n, 4, MOST), require_seed(seed)
    for recipe in recipes:
        if recipe is not None:
            require_counts(n, recipe["batch"], 4)
        if recipe is not None and recipe["sampler"] == "train":
            denoiser._training_rows(recipe, n)
    real = denoiser.real_pictures(n)
    sampled = any(recipe is not None and recipe["sampler"] != "train" for recipe in recipes)
    for folder in (out, pictures) if sampled else (out,):
        results.writable(folder)
    return _record_distances(denoiser, recipes, n, seed, real, pictures, out)


def _record_distances(denoiser, recipes, n, seed, real, folder, out):
    features = None
    for recipe in recipes:
        row = results.row_name(recipe)
        name = results.row_record(row, n, denoiser.rows_of(recipe))
        made_of = {"row": row, "n": n, "recipe": recipe, "weights_sha256": denoiser.weights_sha256}
        if name in results.names(folder=out) and made_of.items() <= results.load(name, out).items():
            yield Path(out) / f"{name}.json", False
            continue
        made_with, start = results.provenance(), time.perf_counter()
        features = features or denoiser.feature_sets()
        summary = {**made_of, "data_sha256": denoiser.data.sha256}
        summary["reference_sha256"] = hashlib.sha256(real.tobytes()).hexdigest()
        if recipe is None:
            found = measure_floor(denoiser.floor_pictures(n), n, features, seed=seed)
        else:
            fake, summary["seconds_per_picture"] = denoiser.pictures(recipe, n, folder)
            summary["pictures_sha256"] = hashlib.sha256(fake.tobytes()).hexdigest()
            found = measure(real[:n], fake, features, seed=seed)
            summary["in_class"] = denoiser.in_class(recipe, fake)
            summary["on_palette"] = on_palette(fake, denoiser.train.images)
        summary |= {"features": found, "seconds": time.perf_counter() - start}
        yield results.record(name, summary, made_with=made_with, folder=out), True


def matched_pictures(denoiser, recipe, *, n, pictures="runs/fid"):
    """n sampled pictures and n real ones with the same classes, none of them shown in training, for other programs.

    The real ones are freshly drawn for the generated set, else held-out pictures; arguments as in
    :func:`record_distances`, with the recipe of a sampler.

    Returns
    -------
    samples, real : uint8 arrays (n, 16, 16, 3)

    Raises
    ------
    ValueError
        Before any picture is sampled, if there are not as many real pictures of a class.
    """
    if recipe is None or recipe["sampler"] == "train":
        raise ValueError("recipe must be that of a sampler, got one of real pictures")
    n, batch = require_counts(n, recipe["batch"], 1)
    _, labels = denoiser.train.tensors()
    parts = [
        labels[_rows_of_labels(len(labels), batch, seeded(part_seed(recipe["seed"], i)))]
        for i in range(n // batch)
    ]
    wanted = torch.cat(parts).bincount(minlength=len(denoiser.data.classes)).tolist()
    images, classes = denoiser.unseen_pictures(n)
    real = []
    for label, (name, count) in enumerate(zip(denoiser.data.classes, wanted, strict=True)):
        found = images[classes == label]
        if len(found) < count:
            got = f"{count} of class {name!r} for n = {n}, and there are {len(found)}"
            raise ValueError(f"n must leave enough pictures that training did not show, got {got}")
        real.append(found[:count])
    results.writable(pictures)
    samples, _ = denoiser.pictures(recipe, n, pictures)
    return samples, np.concatenate(real)


def record_export(denoiser, recipe, samples, real, *, out):
    """Record the distances of sampled pictures to as many real ones, uint8 (n, 16, 16, 3); returns the path.

    The two sets are those of :func:`matched_pictures`, and the feature sets those of :func:`record_distances`.
    """
    made_with, start = results.provenance(), time.perf_counter()
    row, n = results.row_name(recipe), len(samples)
    summary = {"row": row, "n": n, "recipe": recipe, "weights_sha256": denoiser.weights_sha256}
    for name, images in (("reference", real), ("pictures", samples)):
        summary[f"{name}_sha256"] = hashlib.sha256(images.tobytes()).hexdigest()
    features = measure(real, samples, denoiser.feature_sets(), seed=recipe["seed"])
    summary |= {"features": features, "seconds": time.perf_counter() - start}
    name = f"export-{results.row_record(row, n, denoiser.rows_of(recipe))}"
    return results.record(name, summary, made_with=made_with, folder=out)


def record_copies(
    weights="sprites-generated",
    *,
    sampler="ddim",
    steps=50,
    proposals=None,
    stop_at=None,
    n=2000,
    batch=100,
    seed=0,
    compiled=False,
    cache=None,
    pictures="runs/fid",
    out=results.FOLDER,
):
    """Record how far samples and held-out pictures lie from the nearest picture of the training; returns the path.

    The sampler and its options are those of :meth:`Denoiser.recipe`, all others as in :func:`record_distances`.
    """
    n, batch = require_counts(n, batch, 1)
    made_with, start = results.provenance(), time.perf_counter()
    denoiser = Denoiser(weights, cache=cache, compiled=compiled)
    early = {"proposals": proposals, "stop_at": stop_at}
    require_choice("sampler", sampler, SAMPLERS)
    recipe = denoiser.recipe(sampler, steps=steps, **early, batch=batch, seed=seed)
    denoiser.require_other_groups()
    for folder in (out, pictures):
        results.writable(folder)
    samples, _ = denoiser.pictures(recipe, n, pictures)
    summary = {"weights": denoiser.name, "n": n, "recipe": recipe}
    summary |= {"weights_sha256": denoiser.weights_sha256, "data_sha256": denoiser.data.sha256}
    summary |= nearest_training_pictures(samples, denoiser.shown, denoiser.held_out)
    summary["seconds"] = time.perf_counter() - start
    row = results.row_name(recipe)
    name = f"copies-{denoiser.name}" + (f"-{row}" if row != f"ddim-{steps}" else "")
    return results.record(name, summary, made_with=made_with, folder=out)
