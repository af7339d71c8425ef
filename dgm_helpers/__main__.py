"""The command line: python -m dgm_helpers {data,train,sample,evaluate,handout,grade} --help.

Every command checks its arguments before its work, and writes a new folder or file whole or not at all. An
error is one line and exit status 1; Ctrl-C is one line and exit status 130.
"""

import argparse
import shutil
import signal
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from . import evaluation, grading, handout, recipes, results, score_sampling, sprites
from .arguments import require_int, require_number, require_path
from .networks import UNet
from .samplers import clipped
from .schedules import SPACINGS, NoiseSchedule


@contextmanager
def new_folder(path):
    """A new or empty folder to fill; if the work fails, it is as it was before."""
    folder = Path(path)
    existed = folder.is_dir()
    if existed and any(folder.iterdir()):
        raise ValueError(f"out must be a new or empty folder, got {folder}")
    try:
        yield results.writable(folder)
    except BaseException:
        if folder.is_dir():
            for child in folder.iterdir():
                shutil.rmtree(child) if child.is_dir() else child.unlink()
            if not existed:
                folder.rmdir()
        raise


def train(**options):
    """Train a network on sprites, continuing from its checkpoint; write weights and a record."""
    weights, record = recipes.train_sprites(**options)
    print(f"wrote {weights} and {record}")


def show_data(source, cache, out):
    """Describe a set of sprites; with --out, write it as one folder of PNGs per class."""
    with new_folder(out) if out is not None else nullcontext() as folder:
        data = sprites.load_sprites(source, cache=cache)
        counts = ", ".join(
            f"{count} {name}"
            for name, count in zip(data.classes, np.bincount(data.labels), strict=True)
        )
        groups = f"{len(np.unique(data.groups))} groups, SHA-256 {data.sha256}"
        print(f"{data.source}: {len(data)} pictures ({counts}) in {groups}")
        for name, split in sprites.SPLITS.items():
            train_side, other = split(data)
            shared = np.isin(other.groups, train_side.groups).mean()
            leak = f"{shared:.1%} of them in a group that training holds too"
            print(f"split by {name}: {len(train_side)} train, {len(other)} held out, {leak}")
        if folder is not None:
            for name in data.classes:
                (folder / name).mkdir()
            for i, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
                Image.fromarray(image).save(folder / data.classes[label] / f"{i:05d}.png")
            print(f"wrote {len(data)} PNGs below {folder}")


def draw_samples(weights, sampler, steps, eta, spacing, n, batch, seed, out, sheet):
    """Sample pictures, the classes in equal parts, and write them as PNGs."""
    n, batch = require_int("n", n, 1, 100_000), require_int("batch", batch, 1)
    seed, schedule = evaluation.require_seed(seed), NoiseSchedule.linear()
    if steps is None:
        steps = schedule.T if sampler == "ddpm" else 50
    steps = require_int("steps", steps, 1, schedule.T)
    if sampler == "ddpm" and eta is not None:
        raise ValueError(f"eta must not be given with the sampler ddpm, got {eta}")
    eta = 0.0 if eta is None else require_number("eta", eta, least=0, most=1)
    if sheet is not None and require_path("sheet", sheet, writable=True).suffix.lower() != ".png":
        raise ValueError(f"sheet must be the path of a .png file, got {sheet}")
    model = evaluation.load_network("weights", weights, UNet)
    labels = torch.arange(n) * model.n_classes // n
    options = {"sampler": sampler, "steps": steps, "eta": eta, "spacing": spacing}
    new_sheet = nullcontext() if sheet is None else results.whole_file(Path(sheet))
    with new_folder(out) as folder, new_sheet as file:
        pictures = []
        for rows in tqdm(torch.arange(n).split(batch), unit=" batches"):
            eps_model = clipped(model.for_labels(labels[rows]), schedule)
            seeds = [evaluation.part_seed(seed, i) for i in rows.tolist()]
            x = evaluation.draw_each(eps_model, schedule, seeds, **options)
            pictures += list(sprites.to_uint8(x))
        for i, picture in enumerate(pictures):
            Image.fromarray(picture).save(folder / f"{i:05d}.png")
        if file is not None:
            tiles = sprites.tile(np.stack(pictures), columns=20)
            Image.fromarray(tiles.repeat(3, 0).repeat(3, 1)).save(file, "PNG")
    print(f"wrote {n} PNGs to {folder}: {sampler}, {steps} steps, seed {seed}")


def evaluate_bound(**options):
    """Record the terms of the variational bound, for held-out pictures."""
    path = evaluation.record_bound(**options)
    small = results.load(path.stem, path.parent)["small"]
    bits = f"{small['bits_per_value']:.3f} bits per value"
    print(f"wrote {path}: {bits}, standard error {small['standard_error']:.3f}")


def evaluate_yardsticks(**options):
    """Record what predictors without training reach beside the network, for held-out pictures."""
    print(f"wrote {evaluation.record_yardsticks(**options)}")


def evaluate_fid(weights, cache, compiled, n, pictures, out, steps, stop_at, **options):
    """Record Fréchet and kernel distances of samples to real pictures; recorded rows are skipped."""
    evaluation.require_counts(n, options["batch"], 4)
    denoiser = evaluation.Denoiser(weights, cache=cache, compiled=compiled)
    recipes = [
        denoiser.recipe(steps=k, stop_at=t, **options)
        for t in stop_at or [None]
        for k in steps or [None]
    ]
    folders = {"pictures": pictures, "out": out}
    rows = evaluation.record_distances(denoiser, recipes, n=n, seed=options["seed"], **folders)
    for path, new in rows:
        print(f"wrote {path}" if new else f"{path} is there already")


def export(out, weights, cache, compiled, n, pictures, **options):
    """Write as many sampled as real pictures as PNGs, for programs such as pytorch-fid, and their distances in our
    own features.
    """
    evaluation.require_counts(n, options["batch"], 4)
    with new_folder(out) as folder:
        denoiser = evaluation.Denoiser(weights, cache=cache, compiled=compiled)
        recipe = denoiser.recipe(**options)
        sets = evaluation.matched_pictures(denoiser, recipe, n=n, pictures=pictures)
        for name, images in zip(("generated", "real"), sets):
            (folder / name).mkdir()
            for i, image in enumerate(images):
                Image.fromarray(image).save(folder / name / f"{i:05d}.png")
        record = evaluation.record_export(denoiser, recipe, *sets, out=folder)
    print(f"wrote {len(images)} PNGs each to {folder / 'generated'} and {folder / 'real'}")
    print(f"wrote their distances to {record}")


def evaluate_copies(**options):
    """Record how far samples and held-out pictures lie from the nearest training picture."""
    print(f"wrote {evaluation.record_copies(**options)}")


def evaluate_scores(**options):
    """Record what chains on exact and on learned scores of the mixture are worth, level by level and annealed."""
    print(f"wrote {score_sampling.record_scores(**options)}")


def hand_out(out):
    """Write the homework as an nbgrader course, with a zip for the students."""
    labs = handout.load_labs()
    with new_folder(out) as folder:
        student = handout.write_course(labs, folder)
    size = f"{student.stat().st_size / 1e6:.0f} MB"
    print(f"wrote a course with {len(labs)} labs to {out}")
    print(f"{student.name} ({size}) is for the students")


def grade(**options):
    """Grade a class: collect what students handed in, run each alone and shut in, write grades and feedback."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to end what runs, as after Ctrl-C
    grading.grade_class(**options)


class Parser(argparse.ArgumentParser):
    def error(self, message):
        sys.exit(f"error: {message}")


def parser():
    top = Parser(prog="python -m dgm_helpers", description=__doc__.splitlines()[0])

    def command(parent, name, run, shared=""):
        text = run.__doc__.splitlines()[0]
        new = parent.add_parser(name, help=text, description=text)
        new.set_defaults(run=run)
        for flag in shared.split():
            new.add_argument(f"--{flag}", **SHARED[flag])
        return new.add_argument

    commands = top.add_subparsers(required=True, metavar="command")
    add = command(commands, "train", train, "source cache seed threads compile")
    add("--network", choices=(*recipes.DENOISERS, "vae", "classifier"), default="unet")
    add("--split", choices=sprites.SPLITS, default="group", help="what is held out")
    add("--epochs", type=int, default=500)
    add("--batch-size", type=int, default=64)
    add("--lr", type=float, default=2e-4)
    add("--ema-decay", type=float, default=0.9995, help="of the moving average of the weights")
    add("--mirror", action="store_true", help="show each picture or its mirror image")
    add("--distinct", type=int, help="show only so many pictures, each repeated, as many in all")
    add("--weighting", choices=("simple", "elbo"), default="simple", help="of the timesteps")
    add("--channels", type=int, nargs=3, default=recipes.CHANNELS, help="widths of the U-Net")
    add("--out", default="runs", help="folder of the runs")
    add("--name", default="sprites", help="the run's folder below --out")

    add = command(commands, "data", show_data, "source cache")
    add("--out", help="new folder for the PNGs, one sub-folder per class")

    add = command(commands, "sample", draw_samples, "weights spacing seed")
    add("--sampler", choices=("ddpm", "ddim"), default="ddim")
    add("--steps", type=int, help="1 to 1000 (default: 1000 for ddpm, 50 for ddim)")
    add("--eta", type=float, help="noise of ddim, 0 (the default) to 1")
    add("--n", type=int, default=50, help="number of pictures")
    add("--batch", type=int, default=50, help="pictures sampled at once; it does not change them")
    add("--out", required=True, help="new folder for the PNGs")
    add("--sheet", help="also write all pictures, enlarged, to this one .png file")

    group = commands.add_parser("evaluate", help="record what a trained network is worth")
    measures = group.add_subparsers(required=True, metavar="measure")
    for name, run in (("bound", evaluate_bound), ("yardsticks", evaluate_yardsticks)):
        add = command(measures, name, run, "weights cache seed threads")
        add("--n", type=int, default=256, help="number of held-out pictures")
        add("--batch", type=int, default=64, help="pictures evaluated at once")
        add("--out", default=results.FOLDER, help="folder of the record")

    add = command(measures, "fid", evaluate_fid, f"{RECORDED} spacing")
    text = '"train" and "real" are no samplers, but training pictures and the noise floor'
    add(
        "--sampler",
        choices=(*evaluation.SAMPLERS, "train", "real"),
        default="ddim",
        help=text,
    )
    add("--steps", type=int, nargs="+", help="one row for each number of steps (default: 50)")
    add("--proposals", help=PROPOSALS)
    add("--stop-at", type=int, nargs="+", help="early stopping: one row for each timestep")
    add("--eps-scale", type=float, help="epsilon scaling: divide the noise estimate by this")
    add("--guidance", type=float, help="classifier-free guidance: the scale; 1 is none")
    add("--out", default=results.FOLDER / "fid", help="folder of the records")

    add = command(measures, "export", export, f"{RECORDED} spacing")
    add("--sampler", choices=evaluation.SAMPLERS, default="ddim")
    add("--steps", type=int, help="network evaluations (default: 50)")
    add("--guidance", type=float, help="classifier-free guidance: the scale; 1 is none")
    add("--out", required=True, help='new folder, for the folders "generated" and "real"')

    add = command(measures, "copies", evaluate_copies, RECORDED)
    add("--sampler", choices=evaluation.SAMPLERS, default="ddim")
    add("--steps", type=int, default=50, help="network evaluations")
    add("--proposals", help=PROPOSALS)
    add("--stop-at", type=int, help="early stopping: the timestep")
    add("--out", default=results.FOLDER, help="folder of the record")

    add = command(measures, "scores", evaluate_scores, "seed threads")
    add("--number", type=int, default=810_100_007, help="the student number of the mixture")
    add("--n", type=int, default=1000, help="number of chains")
    add("--out", default=results.FOLDER, help="folder of the record")

    add = command(commands, "handout", hand_out)
    add("--out", required=True, help="new folder of the course")

    add = command(commands, "grade", grade)
    add("--submissions", required=True, help="folder with zip files or folders; it is only read")
    add("--roster", required=True, help="CSV: number, last_name, first_name, deadline (optional)")
    add("--out", required=True, help="new, or a course, or the folder of an earlier run")
    add("--deadline", help="2026-12-01T18:00, or a day: until its end")
    return top


PROPOSALS = 'early stopping: "pca", "clusters", or a released or saved VAE'
RECORDED = "weights cache n batch seed threads compile pictures"
SHARED = {  # arguments of several commands
    "source": {"default": "generated", "help": "generated, dawnlike, original or a folder"},
    "cache": {"help": "folder for downloads (default: the user's cache folder)"},
    "weights": {"default": "sprites-generated", "help": "released, or a .safetensors file"},
    "n": {"type": int, "default": 2000, "help": "number of pictures, a multiple of --batch"},
    "batch": {"type": int, "default": 100, "help": "pictures sampled at once"},
    "seed": {"type": int, "default": 0},
    "threads": {"type": int, "help": "of the processor; with as many, a run repeats bit for bit"},
    "spacing": {"choices": SPACINGS, "default": "uniform", "help": "of the steps"},
    "compile": {"action": "store_true", "dest": "compiled", "help": "needs a C++ compiler"},
    "pictures": {"default": "runs/fid", "help": "folder that keeps them; a killed run continues"},
}


def named(message, names):
    """An error message with the arguments before "must" as they are written on the command line."""
    head, must, rest = message.partition(" must ")
    words = [f"--{word.replace('_', '-')}" if word in names else word for word in head.split(" ")]
    return " ".join(words) + must + rest if must else message


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments:
        return parser().print_help()
    options = vars(parser().parse_args(arguments))
    run, names = options.pop("run"), set(options)
    try:
        if options.get("threads") is not None:
            require_int("threads", options["threads"], 1, 1024)
        if run is not train and (threads := options.pop("threads", None)) is not None:
            torch.set_num_threads(threads)
        run(**options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except (ValueError, TypeError, OSError) as error:
        sys.exit(f"error: {named(str(error), names)}")


if __name__ == "__main__":
    main()
