"""The command line: python -m dgm_helpers {data,train,sample,evaluate,handout} --help."""

import argparse
import hashlib
import json
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tqdm import tqdm

from . import evaluation, fid, handout, results, sprites
from .diffusion import elbo_terms, elbo_weights, simple_loss
from .networks import VAE, SpriteClassifier, UNet
from .samplers import clipped, sample_ddim, sample_ddpm
from .schedules import NoiseSchedule, timesteps
from .training import load_checkpoint, load_pretrained, save_pretrained, train, weights_file



def noise_prediction(model, x0, labels, generator, *, schedule, weighting="simple", drop_label=0.1):
    """The loss of each picture at a uniform t in 1…T, weighted by 1 or as in the bound; a tenth of the labels become "no class"."""
    n = len(x0)
    labels = labels.masked_fill(torch.rand(n, generator=generator) < drop_label, model.n_classes)
    t = torch.randint(1, schedule.T + 1, (n,), generator=generator)
    noise = torch.randn(x0.shape, generator=generator)
    loss = simple_loss(partial(model, labels=labels), schedule, x0, t, noise)
    if weighting == "elbo":
        weights = elbo_weights(schedule)
        loss = loss * (weights / weights[1:].mean())[t].to(loss.dtype)
    return loss


@torch.no_grad()
def fixed_loss(model, x0, labels, *, schedule, seed=0):
    """The mean loss over pictures, with timesteps spread evenly over 1…T and noise from a fixed seed."""
    generator = torch.Generator().manual_seed(seed)
    t = 1 + torch.randperm(len(x0), generator=generator) * schedule.T // len(x0)
    noise = torch.randn(x0.shape, generator=generator)
    batches = zip(*(x.split(64) for x in (x0, labels, t, noise)), strict=True)
    return torch.cat([simple_loss(partial(model, labels=y), schedule, x, u, e) for x, y, u, e in batches]).mean().item()


def reconstruction(model, x0, labels, generator):
    """The loss of the VAE."""
    return model.negative_elbo(x0, labels, generator)


def fixed_bound(model, x0, labels, *, seed=0):
    """The mean negative bound of the VAE over pictures, with noise from a fixed seed."""
    with torch.no_grad():
        return model.negative_elbo(x0, labels, torch.Generator().manual_seed(seed)).mean().item()


def cross_entropy(model, x0, labels, generator):
    """The loss of the classifier; it needs no randomness."""
    return F.cross_entropy(model(x0), labels, reduction="none")


@torch.no_grad()
def accuracy(model, x0, labels):
    """The share of pictures that the classifier puts into their class."""
    return (model(x0).argmax(1) == labels).float().mean().item()


def mirrored(loss, model, x0, labels, generator):
    """``loss`` on each picture or its mirror image, by the toss of a coin."""
    flip = torch.rand(len(x0), generator=generator) < 0.5
    return loss(model, torch.where(flip[:, None, None, None], x0.flip(-1), x0), labels, generator)


def train_sprites(args):
    """Train a network on sprites, resuming where a checkpoint is found; write weights and a record."""
    if args.threads:
        torch.set_num_threads(args.threads)
    made_with = results.provenance()
    schedule = NoiseSchedule.linear()
    data = sprites.load_sprites(args.source, cache=args.cache)
    seen, held_out = sprites.SPLITS[args.split](data)
    compared = [x[: None if args.network == "classifier" else 256] for x in held_out.tensors()], [x[:256] for x in seen.tensors()]
    shown = seen.tensors()
    if args.distinct is not None:
        if not 1 <= args.distinct <= len(seen):
            raise ValueError(f"--distinct must lie in 1…{len(seen)}, the number of training pictures, got {args.distinct}")
        shown = [x[torch.arange(len(seen)) % args.distinct] for x in shown]

    torch.manual_seed(args.seed)  # the initial weights
    if args.network == "unet":
        model = UNet(tuple(args.channels), n_classes=len(data.classes))
        loss = partial(noise_prediction, schedule=schedule, weighting=args.weighting)
        measure, unit = partial(fixed_loss, schedule=schedule), "loss"
    elif args.network == "vae":
        model, loss, measure, unit = VAE(n_classes=len(data.classes)), reconstruction, fixed_bound, "loss"
    else:
        model, loss, measure, unit = SpriteClassifier(n_classes=len(data.classes)), cross_entropy, accuracy, "accuracy"

    def evaluate(ema):
        return {f"ema_{name}_{unit}": measure(ema, *x) for name, x in zip(("held_out", "train"), compared, strict=True)}

    run = Path(args.out) / args.name
    checkpoint = run / "checkpoint.safetensors"
    settings = {
        "source": data.source,
        "data_sha256": data.sha256,
        "split": args.split,
        "mirror": args.mirror,
        **({"weighting": args.weighting} if args.network == "unet" else {}),
        **({"distinct": args.distinct} if args.distinct else {}),
        "seed": args.seed,
        "network": model.config,
    }
    steps = train(
        model,
        partial(mirrored, loss) if args.mirror else loss,
        shown,
        epochs=args.epochs,
        batch_size=args.batch_size,
        lr=args.lr,
        ema_decay=args.ema,
        generator=torch.Generator().manual_seed(args.seed),
        evaluate=evaluate,
        checkpoint=checkpoint,
        settings=settings,
    )
    for _ in tqdm(steps, unit=" steps", mininterval=10):
        pass
    tensors, info = load_checkpoint(checkpoint)
    model.load_state_dict({k.removeprefix("ema.module."): v for k, v in tensors.items() if k.startswith("ema.module.")})
    summary = {
        "credit": sprites.CREDITS.get(data.source, "drawn by dgm_helpers.pixel_art"),
        "settings": info["settings"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "pictures": {"train": len(seen), "held_out": len(held_out)},
        "steps": info["number"],
        "seconds": sum(entry["seconds"] for entry in info["history"]),
    }
    weights = run / f"{args.name}.safetensors"
    save_pretrained(weights, model, {"classes": data.classes, **summary})
    summary["weights_sha256"] = evaluation.sha256(weights)
    path = results.record(f"train-{args.name}", {**summary, "history": info["history"]}, made_with=made_with, folder=run)
    print(f"wrote {weights} and {path}")


def show_data(args):
    """Describe a set of sprites; with ``--out``, write it as one folder of PNGs per class."""
    data = sprites.load_sprites(args.source, cache=args.cache)
    counts = ", ".join(f"{count} {name}" for name, count in zip(data.classes, np.bincount(data.labels), strict=True))
    print(f"{data.source}: {len(data)} pictures ({counts}) in {len(set(data.groups.tolist()))} groups, SHA-256 {data.sha256}")
    for name, split in sprites.SPLITS.items():
        train_side, other_side = split(data)
        shared = np.isin(other_side.groups, train_side.groups).mean()
        print(f"split by {name}: {len(train_side)} train, {len(other_side)} held out, {shared:.1%} of them in a group that training holds too")
    if args.out:
        folder = _empty_folder(args.out)
        for name in data.classes:
            (folder / name).mkdir()
        for i, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
            Image.fromarray(image).save(folder / data.classes[label] / f"{i:05d}.png")
        print(f"wrote {len(data)} PNGs below {folder}")


def draw_samples(args):
    """Sample pictures, the classes in equal parts, and write them as PNGs."""
    if args.n < 1 or args.batch < 1:
        raise ValueError(f"--n and --batch must be positive, got {args.n} and {args.batch}")
    model = load_pretrained(args.weights)
    schedule = NoiseSchedule.linear()
    steps = args.steps or (schedule.T if args.sampler == "ddpm" else 50)
    timesteps(schedule.T, steps)  # a wrong number of steps is an error before the folder is made
    if args.sampler == "ddpm":
        sampler = partial(sample_ddpm, steps=steps)
    else:
        sampler = partial(sample_ddim, steps=steps, eta=args.eta)
    folder = _empty_folder(args.out)
    labels = torch.arange(args.n) * model.n_classes // args.n
    generator = torch.Generator().manual_seed(args.seed)
    pictures = []
    for part in tqdm(labels.split(args.batch), unit=" batches"):
        eps_model = clipped(model.for_labels(part), schedule)
        x = sampler(eps_model, schedule, (len(part), 3, sprites.SIDE, sprites.SIDE), generator=generator)
        for picture in sprites.to_uint8(x):
            Image.fromarray(picture).save(folder / f"{len(pictures):05d}.png")
            pictures.append(picture)
    if args.sheet:
        sheet = Image.fromarray(sprites.tile(np.stack(pictures), columns=20))
        sheet.resize((3 * sheet.width, 3 * sheet.height), Image.Resampling.NEAREST).save(args.sheet)
    print(f"wrote {args.n} PNGs to {folder}: {args.sampler}, {steps} steps, seed {args.seed}")


def evaluate_bound(args):
    """Record every term of the variational bound, in bits per value, for held-out pictures of the set that trained the network."""
    if args.n < 2 or args.batch < 1:
        raise ValueError(f"--n must be at least 2 and --batch positive, got {args.n} and {args.batch}")
    if args.threads:
        torch.set_num_threads(args.threads)
    made_with, start = results.provenance(), time.perf_counter()
    model, schedule = load_pretrained(args.weights), NoiseSchedule.linear()
    data, _, held_out = evaluation.data_of(args.weights, model, args.cache)
    if args.n > len(held_out):
        raise ValueError(f"--n must be at most {len(held_out)}, the number of held-out pictures, got {args.n}")
    rows = torch.randperm(len(held_out), generator=torch.Generator().manual_seed(args.seed))[: args.n]
    x0, labels = (values[rows] for values in held_out.tensors())
    summary = {
        "weights": Path(args.weights).stem,
        "weights_sha256": evaluation.sha256(weights_file(args.weights)),
        "source": data.source,
        "data_sha256": data.sha256,
        "n": args.n,
        "seed": args.seed,
    }
    for variance in ("small", "large"):
        generator = torch.Generator().manual_seed(args.seed)  # the same noise for both
        terms = []
        for x, y in tqdm(list(zip(x0.split(args.batch), labels.split(args.batch), strict=True)), unit=" batches", desc=variance):
            eps_model = clipped(model.for_labels(y), schedule)
            terms.append(elbo_terms(eps_model, schedule, x, generator=generator, variance=variance, levels=256))
        terms = torch.cat(terms)
        totals = terms.sum(1)
        error = (totals.std() / len(totals) ** 0.5).item()
        bits = {"bits_per_value": totals.mean().item(), "standard_error": error}
        summary[variance] = {**bits, "terms": terms.mean(0).tolist(), "pictures": totals.tolist()}
    summary["seconds"] = time.perf_counter() - start
    path = results.record(f"elbo-{summary['weights']}", summary, made_with=made_with, folder=args.out)
    print(f"wrote {path}: {summary['small']['bits_per_value']:.3f} bits per value, standard error {summary['small']['standard_error']:.3f}")


def evaluate_fid(args):
    """Record Fréchet and kernel distances from sampled pictures to real ones, for each --stop-at and --steps; recorded rows are skipped."""
    if args.n < 3 or args.batch < 1 or args.n % args.batch:
        raise ValueError(f"--n must be at least 3 and a multiple of --batch, got {args.n} and {args.batch}")
    run = evaluation.Run(args.weights, args.cache, args.threads, compiled=args.compile)
    if args.sampler == "real":
        rows = [("real", None)]
    else:
        rows = [run.row(args.sampler, steps, args.proposals, stop_at, args.eps_scale, args.batch, args.seed) for stop_at in args.stop_at for steps in args.steps]
    real = None
    for name, recipe in rows:
        path = Path(args.out) / f"{run.data.source}-{name}-{args.n}.json"
        if path.exists() and (known := json.loads(path.read_text()))["recipe"] == recipe and known["weights_sha256"] == run.weights_sha256:
            print(f"{path} is there already")
            continue
        made_with, start = results.provenance(), time.perf_counter()
        if real is None:
            real, features = run.reference(2 * args.n), run.feature_sets()
            real_sets = {key: fid.extract_features(sprites.to_tensor(real), function) for key, function in features.items()}
        if recipe:
            pictures, seconds = run.draw(name, recipe, args.n, args.pictures)
            summary = {"seconds_per_picture": seconds, "pictures_sha256": hashlib.sha256(pictures.tobytes()).hexdigest()}
        else:
            pictures, summary = None, {}
        summary = {"row": name, "n": args.n, "recipe": recipe, "weights_sha256": run.weights_sha256, "data_sha256": run.data.sha256, **summary}
        summary["reference_sha256"] = hashlib.sha256(real.tobytes()).hexdigest()
        summary["features"] = evaluation.measure(real_sets, pictures, features, seed=args.seed)
        summary["seconds"] = time.perf_counter() - start
        print(f"wrote {results.record(path.stem, summary, made_with=made_with, folder=args.out)}")


def evaluate_copies(args):
    """Record how far sampled and held-out pictures lie from the nearest picture that the network was trained on."""
    run = evaluation.Run(args.weights, args.cache, args.threads, compiled=args.compile)
    made_with, start = results.provenance(), time.perf_counter()
    name, recipe = run.row("ddim", args.steps, None, None, None, args.batch, args.seed)
    pictures, _ = run.draw(name, recipe, args.n, args.pictures)
    summary = {"weights": run.name, "n": args.n, "recipe": recipe, "weights_sha256": run.weights_sha256, "data_sha256": run.data.sha256}
    summary |= evaluation.nearest_training_pictures(pictures, run.shown, run.held_out)
    summary["seconds"] = time.perf_counter() - start
    print(f"wrote {results.record(f'copies-{run.name}', summary, made_with=made_with, folder=args.out)}")


def hand_out(args):
    """Write the homework as an nbgrader course, with the student's copy as a zip."""
    labs = handout.load_labs()
    student = handout.write_course(labs, _empty_folder(args.out))
    print(f"wrote a course with {len(labs)} labs to {args.out}; {student.name} ({student.stat().st_size / 1e6:.0f} MB) is for the students")


def _empty_folder(path):
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(f"--out must be a new or empty folder, got {folder}")
    return folder


def _sampling_arguments(command):
    command.add_argument("--weights", default="sprites-generated", help="a released network or a .safetensors file")
    command.add_argument("--cache", help="folder for downloads (default: the user's cache folder)")
    command.add_argument("--batch", type=int, default=100, help="pictures sampled at once")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--threads", type=int, help="processor threads")
    command.add_argument("--compile", action="store_true", help="compile the network: a quarter faster, needs a C++ compiler")
    command.add_argument("--pictures", default="runs/fid", help="folder that keeps the pictures; a killed run continues with them")


def parser():
    top = argparse.ArgumentParser(prog="python -m dgm_helpers", description=__doc__.splitlines()[0])
    commands = top.add_subparsers(required=True)
    command = commands.add_parser("train", help="train a network on sprites; resumes from its checkpoint")
    command.add_argument("--network", choices=("unet", "vae", "classifier"), default="unet", help="denoiser, cheap generator, or features")
    command.add_argument("--source", default="generated", help="generated, dawnlike, original or a folder")
    command.add_argument("--cache", help="folder for downloads (default: the user's cache folder)")
    command.add_argument("--split", choices=sprites.SPLITS, default="group")
    command.add_argument("--epochs", type=int, default=500)
    command.add_argument("--batch-size", type=int, default=64)
    command.add_argument("--lr", type=float, default=2e-4)
    command.add_argument("--ema", type=float, default=0.9995, help="decay of the moving average of the weights")
    command.add_argument("--mirror", action="store_true", help="show each picture or its mirror image")
    command.add_argument("--distinct", type=int, help="show only so many training pictures, each repeated, as many in all")
    command.add_argument("--weighting", choices=("simple", "elbo"), default="simple", help="weights of the timesteps in the loss")
    command.add_argument("--channels", type=int, nargs=3, default=(24, 48, 72), help="widths of the U-Net")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--threads", type=int, help="processor threads (a resumed run is bit-identical only with the same number)")
    command.add_argument("--out", default="runs", help="folder of the runs")
    command.add_argument("--name", default="sprites", help="the run's folder below --out")
    command.set_defaults(run=train_sprites)

    command = commands.add_parser("data", help="describe a set of sprites, or write it as PNGs")
    command.add_argument("--source", default="generated", help="generated, dawnlike, original or a folder")
    command.add_argument("--cache", help="folder for downloads (default: the user's cache folder)")
    command.add_argument("--out", help="new folder for the PNGs, one sub-folder per class")
    command.set_defaults(run=show_data)

    command = commands.add_parser("sample", help="sample pictures from a trained network and write PNGs")
    command.add_argument("--weights", default="sprites-generated", help="a released network or a .safetensors file")
    command.add_argument("--sampler", choices=("ddpm", "ddim"), default="ddim")
    command.add_argument("--steps", type=int, help="1 to 1000 (default: 1000 for ddpm, 50 for ddim)")
    command.add_argument("--eta", type=float, default=0.0, help="noise of ddim, 0 to 1")
    command.add_argument("--n", type=int, default=50, help="number of pictures")
    command.add_argument("--batch", type=int, default=50, help="pictures sampled at once")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--out", required=True, help="new folder for the PNGs")
    command.add_argument("--sheet", help="also write all pictures, enlarged, to this one PNG")
    command.set_defaults(run=draw_samples)

    command = commands.add_parser("evaluate", help="record what a trained network is worth")
    measures = command.add_subparsers(required=True)
    command = measures.add_parser("bound", help="the variational bound on held-out pictures")
    command.add_argument("--weights", default="sprites-generated", help="a released network or a .safetensors file")
    command.add_argument("--cache", help="folder for downloads (default: the user's cache folder)")
    command.add_argument("--n", type=int, default=256, help="number of held-out pictures")
    command.add_argument("--batch", type=int, default=64, help="pictures evaluated at once")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--threads", type=int, help="processor threads")
    command.add_argument("--out", default=results.FOLDER, help="folder of the record")
    command.set_defaults(run=evaluate_bound)

    command = measures.add_parser("fid", help="Fréchet and kernel distances of samples to real pictures")
    _sampling_arguments(command)
    command.add_argument("--sampler", choices=("ddpm", "ddim", "train", "real"), default="ddim", help='"train" and "real": no sampler, but training pictures, or the noise floor')
    command.add_argument("--steps", type=int, nargs="+", default=[50], help="one row for each number of network evaluations")
    command.add_argument("--proposals", help='early stopping: "pca", or a variational autoencoder (a released network or a .safetensors file)')
    command.add_argument("--stop-at", type=int, nargs="+", default=[None], help="early stopping: one row for each timestep to start from")
    command.add_argument("--eps-scale", type=float, help="epsilon scaling: divide the noise estimate by this")
    command.add_argument("--n", type=int, default=2000, help="number of pictures, a multiple of --batch")
    command.add_argument("--out", default=results.FOLDER / "fid", help="folder of the records")
    command.set_defaults(run=evaluate_fid)

    command = measures.add_parser("copies", help="distances of samples to the nearest training picture")
    _sampling_arguments(command)
    command.add_argument("--steps", type=int, default=50, help="steps of deterministic DDIM")
    command.add_argument("--n", type=int, default=2000, help="number of pictures, a multiple of --batch")
    command.add_argument("--out", default=results.FOLDER, help="folder of the record")
    command.set_defaults(run=evaluate_copies)

    command = commands.add_parser("handout", help="write the homework as an nbgrader course, with a zip for the students")
    command.add_argument("--out", required=True, help="new folder of the course")
    command.set_defaults(run=hand_out)
    return top


def main(arguments=None):
    args = parser().parse_args(arguments)
    try:
        args.run(args)
    except (ValueError, TypeError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
