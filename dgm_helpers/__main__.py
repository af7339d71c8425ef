"""The command line: python -m dgm_helpers {data,train,sample,evaluate} --help."""

import argparse
import hashlib
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tqdm import tqdm

from . import results, sprites
from .diffusion import elbo_terms, elbo_weights, simple_loss
from .networks import VAE, SpriteClassifier, UNet
from .samplers import clipped, sample_ddim, sample_ddpm
from .schedules import NoiseSchedule, timesteps
from .training import load_checkpoint, load_pretrained, save_pretrained, train, weights_file

SPLITS = {"group": sprites.split_by_group, "random": sprites.split_at_random}


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
    seen, held_out = SPLITS[args.split](data)
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
    summary["weights_sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    path = results.record(f"train-{args.name}", {**summary, "history": info["history"]}, made_with=made_with, folder=run)
    print(f"wrote {weights} and {path}")


def show_data(args):
    """Describe a set of sprites; with ``--out``, write it as one folder of PNGs per class."""
    data = sprites.load_sprites(args.source, cache=args.cache)
    counts = ", ".join(f"{count} {name}" for name, count in zip(data.classes, np.bincount(data.labels), strict=True))
    print(f"{data.source}: {len(data)} pictures ({counts}) in {len(set(data.groups.tolist()))} groups, SHA-256 {data.sha256}")
    for name, split in SPLITS.items():
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
    if "settings" not in model.info:
        raise ValueError(f"--weights {args.weights} does not say which data trained it; give a network that the train command wrote")
    settings = model.info["settings"]
    data = sprites.load_sprites(settings["source"], cache=args.cache)
    if data.sha256 != settings["data_sha256"]:
        raise ValueError(f"--weights {args.weights} was trained on data with SHA-256 {settings['data_sha256']}, not {data.sha256}")
    _, held_out = SPLITS[settings["split"]](data)
    if args.n > len(held_out):
        raise ValueError(f"--n must be at most {len(held_out)}, the number of held-out pictures, got {args.n}")
    rows = torch.randperm(len(held_out), generator=torch.Generator().manual_seed(args.seed))[: args.n]
    x0, labels = (values[rows] for values in held_out.tensors())
    summary = {
        "weights": Path(args.weights).stem,
        "weights_sha256": hashlib.sha256(weights_file(args.weights).read_bytes()).hexdigest(),
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


def _empty_folder(path):
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(f"--out must be a new or empty folder, got {folder}")
    return folder


def parser():
    top = argparse.ArgumentParser(prog="python -m dgm_helpers", description=__doc__.splitlines()[0])
    commands = top.add_subparsers(required=True)
    command = commands.add_parser("train", help="train a network on sprites; resumes from its checkpoint")
    command.add_argument("--network", choices=("unet", "vae", "classifier"), default="unet", help="denoiser, cheap generator, or features")
    command.add_argument("--source", default="generated", help="generated, dawnlike, original or a folder")
    command.add_argument("--cache", help="folder for downloads (default: the user's cache folder)")
    command.add_argument("--split", choices=SPLITS, default="group")
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

    command = commands.add_parser("evaluate", help="record the variational bound of a trained network on held-out pictures")
    command.add_argument("--weights", default="sprites-generated", help="a released network or a .safetensors file")
    command.add_argument("--cache", help="folder for downloads (default: the user's cache folder)")
    command.add_argument("--n", type=int, default=256, help="number of held-out pictures")
    command.add_argument("--batch", type=int, default=64, help="pictures evaluated at once")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--threads", type=int, help="processor threads")
    command.add_argument("--out", default=results.FOLDER, help="folder of the record")
    command.set_defaults(run=evaluate_bound)
    return top


def main(arguments=None):
    args = parser().parse_args(arguments)
    try:
        args.run(args)
    except (ValueError, TypeError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
