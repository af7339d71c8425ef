"""The losses and measures against closed forms and their own draws, and whole training runs from Python."""

import hashlib
import json
import math
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from dgm_helpers import recipes
from dgm_helpers.arguments import seeded
from dgm_helpers.bound import elbo_weights
from dgm_helpers.diffusion import simple_loss
from dgm_helpers.networks import VAE, ScoreMLP, SpriteClassifier, UNet
from dgm_helpers.predictors import palette_of
from dgm_helpers.recipes import (
    accuracy,
    classification_loss,
    mean_negative_elbo,
    mean_noise_prediction_loss,
    mirrored,
    negative_elbo_loss,
    noise_prediction_loss,
    train_sprites,
)
from dgm_helpers.schedules import NoiseSchedule
from dgm_helpers.sprites import load_sprites, split_by_group
from dgm_helpers.training import load_pretrained, load_tensors, train

SCHEDULE = NoiseSchedule.linear()
SMALL = {"channels": (8, 8, 8), "batch_size": 32, "progress": False}


def pictures(n=20):
    return torch.rand(n, 3, 16, 16, generator=seeded(5)) * 2 - 1, torch.arange(n) % 5


def unet(kind=UNet):
    """A small U-Net whose answer depends on everything."""
    torch.manual_seed(0)
    net = kind((8, 8, 8))
    torch.nn.init.normal_(net.head[-1].weight, std=0.1)
    return net


def draws(n, seed=0):
    """What ``noise_prediction_loss`` draws for n pictures: label dropout, timesteps, noise."""
    g = seeded(seed)
    dropped = torch.rand(n, generator=g) < 0.1
    return (
        dropped,
        torch.randint(1, 1001, (n,), generator=g),
        torch.randn(n, 3, 16, 16, generator=g),
    )


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A folder with a few of the generated sprites."""
    folder, data = tmp_path_factory.mktemp("few"), load_sprites()
    for label, name in enumerate(data.classes):
        (folder / name).mkdir()
        for i in np.flatnonzero(data.labels == label)[:20]:
            Image.fromarray(data.images[i]).save(folder / name / f"{i}.png")
    return str(folder)


def test_the_loss_of_a_new_network_is_the_square_of_the_noise():
    x0, y = pictures()
    loss = noise_prediction_loss(UNet((8, 8, 8)), x0, y, seeded(0), schedule=SCHEDULE)
    torch.testing.assert_close(loss, draws(20)[2].square().mean((1, 2, 3)))


@pytest.mark.parametrize("drop_label", [0, 0.1, 1.0])
def test_dropped_labels_are_those_of_no_class(drop_label):
    net, (x0, y) = unet(), pictures()
    dropped, t, noise = draws(20)
    labels = {0: y, 0.1: torch.where(dropped, 5, y), 1.0: None}[drop_label]
    assert drop_label != 0.1 or 0 < dropped.sum() < 10
    loss = noise_prediction_loss(net, x0, y, seeded(0), schedule=SCHEDULE, drop_label=drop_label)
    expected = simple_loss(partial(net, labels=labels), SCHEDULE, x0, t, noise)
    torch.testing.assert_close(loss, expected)


def test_weighting_by_the_bound_changes_the_training_loss():
    net, (x0, y) = unet(), pictures(64)
    simple, weighted = (
        noise_prediction_loss(net, x0, y, seeded(0), schedule=SCHEDULE, weighting=weighting)
        for weighting in ("simple", "elbo")
    )
    weights = elbo_weights(SCHEDULE)
    weights = weights / weights[1:].mean()
    torch.testing.assert_close(weighted, simple * weights[draws(64)[1]].float())
    assert weights[1:].mean() == pytest.approx(1)


def test_the_measure_spreads_its_timesteps_evenly_and_repeats():
    seen = []

    class Recorder(UNet):
        def forward(self, x, t, labels):
            seen.append((t, labels))
            return torch.zeros_like(x)

    x0, y = pictures(130)
    measured = mean_noise_prediction_loss(Recorder((8, 8, 8)), x0, y, schedule=SCHEDULE)
    t, labels = (torch.cat(parts) for parts in zip(*seen))
    assert t.sort().values.tolist() == [1 + i * 1000 // 130 for i in range(130)]
    assert torch.equal(labels, y)
    g = seeded(0)
    torch.randperm(130, generator=g)
    noise = torch.randn(x0.shape, generator=g)
    assert measured == pytest.approx(noise.square().mean().item(), rel=1e-5)


def test_the_losses_of_the_autoencoder_are_its_bound():
    torch.manual_seed(0)
    net, (x0, y) = VAE(latent=2, width=4), pictures()
    expected = net.negative_elbo(x0, y, seeded(3))
    assert torch.equal(negative_elbo_loss(net, x0, y, seeded(3)), expected)
    assert mean_negative_elbo(net, x0, y, seed=3) == expected.mean().item()


def test_the_losses_of_the_classifier():
    torch.manual_seed(0)
    net, (x0, y) = SpriteClassifier(), pictures()
    log_p = net(x0).log_softmax(1)
    torch.testing.assert_close(classification_loss(net, x0, y, None), -log_p[torch.arange(20), y])
    torch.nn.init.zeros_(net.head.weight)
    net.head.bias.data = torch.eye(5)[2]  # always the class 2
    assert accuracy(net, x0, y) == pytest.approx(0.2)
    assert accuracy(net, x0, torch.full((20,), 2)) == 1


def test_mirrored_tosses_a_coin_for_each_picture():
    (x0, y), seen = pictures(), []

    def loss(model, x, labels, generator):
        seen.append(x)
        return torch.rand(len(x), generator=generator)

    g = seeded(7)
    kept = x0.clone()
    value = mirrored(loss, None, x0, y, g)
    heads = torch.rand(20, generator=seeded(7)) < 0.5
    assert 0 < heads.sum() < 20 and torch.equal(x0, kept)
    for x, was, flipped in zip(seen[0], x0, heads):
        assert torch.equal(x, was.flip(-1) if flipped else was)
    torch.rand(20, generator=(again := seeded(7)))
    assert torch.equal(value, torch.rand(20, generator=again))  # the same generator goes on


def calls():
    """Each loss and measure: its network, and its answer for pictures and labels."""
    torch.manual_seed(0)
    weighted = partial(noise_prediction_loss, schedule=SCHEDULE, weighting="elbo")
    return {
        "noise": (
            unet(),
            lambda net, x, y: noise_prediction_loss(net, x, y, seeded(0), schedule=SCHEDULE),
        ),
        "elbo": (unet(), lambda net, x, y: weighted(net, x, y, seeded(0))),
        "vae": (VAE(2, 4), lambda net, x, y: negative_elbo_loss(net, x, y, seeded(0))),
        "classifier": (SpriteClassifier(), lambda net, x, y: classification_loss(net, x, y, None)),
        "mirrored": (
            VAE(2, 4),
            lambda net, x, y: mirrored(negative_elbo_loss, net, x, y, seeded(0)),
        ),
        "mean noise": (unet(), partial(mean_noise_prediction_loss, schedule=SCHEDULE)),
        "mean vae": (VAE(2, 4), mean_negative_elbo),
        "accuracy": (SpriteClassifier(), accuracy),
    }


@pytest.mark.parametrize("name", calls())
def test_draws_and_constants_lie_on_the_data_s_device_and_in_its_dtype(name):
    """What is made without a device would be a meta tensor here, and without a dtype double precision."""
    (net, call), (x0, y) = calls()[name], pictures()
    expected = torch.as_tensor(call(net, x0, y))
    try:
        torch.set_default_device("meta")
        torch.set_default_dtype(torch.float64)
        answer = call(net, x0, y)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    answer = torch.as_tensor(answer)
    assert answer.dtype == torch.float32
    torch.testing.assert_close(answer, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", calls())
def test_losses_and_measures_run_in_other_precisions(name, dtype):
    (net, call), (x0, y) = calls()[name], pictures()
    answer = call(net.to(dtype), x0.to(dtype), y)
    assert math.isfinite(answer) if isinstance(answer, float) else answer.dtype == dtype


@pytest.mark.parametrize("name", ["noise", "elbo", "vae", "classifier", "mirrored"])
def test_losses_run_on_the_meta_device(name):
    (net, call), (x0, y) = calls()[name], pictures()
    answer = call(net.to("meta"), x0.to("meta"), y.to("meta"))
    assert answer.is_meta and answer.shape == (20,)


@pytest.mark.parametrize("name", calls())
def test_labels_may_be_a_list_and_nothing_is_changed(name):
    (net, call), (x0, y) = calls()[name], pictures()
    kept, state = (x0.clone(), y.clone()), torch.get_rng_state()
    one, other = torch.as_tensor(call(net, x0, y)), torch.as_tensor(call(net, x0, y.tolist()))
    assert torch.equal(one, other) and torch.equal(x0, kept[0]) and torch.equal(y, kept[1])
    assert torch.equal(torch.get_rng_state(), state)


X, Y = torch.zeros(4, 3, 16, 16), torch.arange(4)


@pytest.mark.parametrize("name", calls())
@pytest.mark.parametrize(
    ("x0", "y", "error", "message"),
    [
        (X.numpy(), Y, TypeError, "x0 must be a floating-point tensor, got a numpy array"),
        (X.long(), Y, TypeError, "x0 must be a floating-point tensor"),
        (X[0], Y, ValueError, "x0 must have shape"),
        (X * math.nan, Y, ValueError, "x0 must be finite"),
        (X.double(), Y, TypeError, "x(_t)? must have dtype torch.float32"),
        (X, Y[:3], ValueError, r"labels must be int64 \(4,\)"),
        (X, Y + 5, ValueError, r"labels must be int64 \(4,\) in 0…"),
        (X, Y - 1, ValueError, r"labels must be int64 \(4,\) in 0…"),
        (X, Y.float(), TypeError, "labels must be int64"),
        (X, None, TypeError, "labels must be int64"),
        (X, ["food"] * 4, TypeError, "labels must be int64"),
    ],
)
def test_bad_pictures_and_labels_are_named(name, x0, y, error, message):
    net, call = calls()[name]
    with pytest.raises(error, match=f"^{message}"):
        call(net, x0, y)


@pytest.mark.parametrize("name", calls())
def test_the_wrong_kind_of_network_is_named(name):
    net, call = calls()[name]
    for other in (
        UNet((8, 8, 8)),
        VAE(2, 4),
        SpriteClassifier(),
        ScoreMLP(),
        None,
        torch.nn.Linear,
    ):
        if type(other) is not type(net):
            with pytest.raises(TypeError, match=f"^model must be a {type(net).__name__}, got "):
                call(other, X, Y)


@pytest.mark.parametrize("name", ["mean noise", "mean vae", "accuracy"])
def test_a_mean_over_nothing_is_refused(name):
    net, call = calls()[name]
    with pytest.raises(ValueError, match="x0 must hold at least 1 picture, got 0"):
        call(net, X[:0], Y[:0])
    if name != "accuracy":
        for seed, error in (
            (-1, ValueError),
            (None, TypeError),
            (0.0, TypeError),
            (2**63, ValueError),
        ):
            with pytest.raises(error, match="seed must be an int"):
                call(net, X, Y, seed=seed)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"schedule": SCHEDULE.alpha_bar}, TypeError, "schedule must be a NoiseSchedule"),
        ({"schedule": None}, TypeError, "schedule must be a NoiseSchedule"),
        ({"weighting": "bound"}, ValueError, "weighting must be one of 'simple', 'elbo'"),
        ({"weighting": None}, ValueError, "weighting must be one of"),
        (
            {"drop_label": 1.5},
            ValueError,
            "drop_label must be a finite number of at least 0 and of at most 1",
        ),
        ({"drop_label": None}, TypeError, "drop_label must be a finite number"),
        ({"generator": None}, TypeError, "generator must be a torch.Generator"),
        ({"generator": 0}, TypeError, "generator must be a torch.Generator"),
    ],
)
def test_bad_options_of_the_noise_prediction_loss(options, error, message):
    arguments = {"generator": seeded(0), "schedule": SCHEDULE} | options
    with pytest.raises(error, match=f"^{message}"):
        noise_prediction_loss(unet(), X, Y, **arguments)


def test_other_generators_and_losses_are_named():
    for wrong in (None, 0):
        with pytest.raises(TypeError, match="generator must be a torch.Generator"):
            negative_elbo_loss(VAE(2, 4), X, Y, wrong)
        with pytest.raises(TypeError, match="generator must be a torch.Generator"):
            mirrored(negative_elbo_loss, VAE(2, 4), X, Y, wrong)
    with pytest.raises(TypeError, match="loss must be a callable"):
        mirrored(None, VAE(2, 4), X, Y, seeded(0))


def test_a_little_network_is_trained_from_a_notebook(few, tmp_path):
    """What a lab does with ``train`` and a loss is what ``train_sprites`` does: the same bits."""
    weights, record = train_sprites(source=few, epochs=2, lr=1e-3, out=tmp_path, **SMALL)
    data, _ = split_by_group(load_sprites(few))
    torch.manual_seed(0)
    net = UNet((8, 8, 8))
    loss = partial(noise_prediction_loss, schedule=SCHEDULE)
    options = {"epochs": 2, "batch_size": 32, "lr": 1e-3, "generator": seeded(0)}
    *_, last = train(net, loss, data.tensors(), **options)
    loaded = load_pretrained(weights)
    for a, b in zip(last.ema.parameters(), loaded.parameters()):
        assert b.dtype == torch.float32 and torch.equal(a.half().float(), b)  # half of the size
    assert loaded.info["steps"] == last.number
    assert weights.stat().st_size < 2.2 * sum(p.numel() for p in loaded.parameters()) + 12_000
    assert weights == tmp_path / "sprites" / "sprites.safetensors"
    assert record == tmp_path / "sprites" / "train-sprites.json"


@pytest.mark.parametrize("network", ["fourier", "correction", "faded"])
def test_what_the_palette_network_is_compared_with(few, tmp_path, network):
    weights, _ = train_sprites(network, few, epochs=1, out=tmp_path, **SMALL)
    model = load_pretrained(weights)
    assert model.config["faded"] == (network == "faded")
    colors, _ = palette_of(split_by_group(load_sprites(few))[0].images)
    assert torch.equal(model.colors, colors[: 0 if network == "fourier" else None])


@pytest.mark.parametrize("network", ["unet", "vae", "classifier"])
def test_the_record_of_a_run(few, tmp_path, network):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    kind = {"channels": (8, 8, 16), "weighting": "elbo"} if network == "unet" else {}
    options = {
        "source": few,
        "epochs": np.int64(2),
        "batch_size": np.int64(40),
        "mirror": True,
        "distinct": np.int64(30),
    }
    options |= {
        "split": "random",
        "seed": 3,
        "threads": 1,
        "out": str(tmp_path),
        "name": "it",
        "progress": False,
    }
    weights, record = train_sprites(network, **options, **kind)
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    record = json.loads(record.read_text(encoding="utf-8"))
    model, data = load_pretrained(weights), load_sprites(few)
    assert record["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert record["settings"] == {
        "batch_size": 40,
        "lr": 2e-4,
        "ema_decay": 0.9995,
        "items": 80,
        "source": few,
        "data_sha256": data.sha256,
        "split": "random",
        "mirror": True,
        **({"weighting": "elbo"} if network == "unet" else {}),
        "distinct": 30,
        "seed": 3,
        "network": model.config,
    }
    assert record["pictures"] == {"train": 80, "held_out": 20} and record["steps"] == 4
    assert record["provenance"]["threads"] == 1
    unit = "accuracy" if network == "classifier" else "loss"
    keys = {"epoch", "train_loss", f"ema_held_out_{unit}", f"ema_train_{unit}", "seconds"}
    assert [entry.keys() for entry in record["history"]] == [keys, keys]
    assert (
        model.info["classes"] == list(data.classes) and model.info["settings"] == record["settings"]
    )
    assert {UNet: "unet", VAE: "vae", SpriteClassifier: "classifier"}[type(model)] == network


def test_a_run_continues_and_another_run_is_refused(few, tmp_path):
    run = partial(train_sprites, source=few, lr=1e-3, **SMALL)
    whole, _ = run(epochs=2, out=tmp_path / "whole")
    run(epochs=1, out=tmp_path / "parts")
    weights, _ = run(epochs=2, out=tmp_path / "parts")
    one, other = load_pretrained(whole), load_pretrained(weights)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))
    kept = {path.name: path.read_bytes() for path in weights.parent.iterdir()}
    for changed in (
        {"seed": 1},
        {"mirror": True},
        {"channels": [8, 16, 8]},
        {"distinct": 9},
        {"weighting": "elbo"},
    ):
        with pytest.raises(ValueError, match="^checkpoint .* belongs to another run"):
            train_sprites(
                **{"source": few, "lr": 1e-3, "epochs": 3, "out": tmp_path / "parts"}
                | SMALL
                | changed
            )
    assert {path.name: path.read_bytes() for path in weights.parent.iterdir()} == kept


def test_only_so_many_pictures_are_shown(few, tmp_path, monkeypatch):
    seen = []

    def spy(model, loss, data, **options):
        seen.append(data)
        return train(model, loss, data, **options)

    monkeypatch.setattr(recipes, "train", spy)
    train_sprites("classifier", few, epochs=1, distinct=7, out=tmp_path, progress=False)
    x0, _ = split_by_group(load_sprites(few))[0].tensors()
    assert torch.equal(seen[0][0], x0[torch.arange(len(x0)) % 7])
    with pytest.raises(ValueError, match=r"distinct must be an int in 1…\d+, got 101"):
        train_sprites("vae", few, distinct=101, out=tmp_path / "new", progress=False)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"network": "resnet"},
            ValueError,
            "network must be one of 'unet', 'palette', 'fourier', 'correction', 'faded', 'vae', 'classif",
        ),
        ({"network": None}, ValueError, "network must be one of"),
        ({"split": "by group"}, ValueError, "split must be one of 'group', 'random', got"),
        ({"weighting": "bound"}, ValueError, "weighting must be one of 'simple', 'elbo'"),
        ({"epochs": 0}, ValueError, "epochs must be an int of at least 1, got 0"),
        ({"epochs": 2.0}, TypeError, "epochs must be an int of at least 1"),
        ({"batch_size": 0}, ValueError, "batch_size must be an int of at least 1"),
        ({"batch_size": "64"}, TypeError, "batch_size must be an int of at least 1"),
        ({"lr": -1e-3}, ValueError, "lr must be a finite number above 0"),
        ({"lr": math.inf}, ValueError, "lr must be a finite number above 0"),
        (
            {"ema_decay": 1},
            ValueError,
            "ema_decay must be a finite number of at least 0 and below 1",
        ),
        ({"channels": (8, 8)}, ValueError, "channels must be three positive multiples of 8"),
        ({"channels": 24}, TypeError, "channels must be three positive multiples of 8"),
        (
            {"network": "vae", "channels": (8, 8, 8)},
            ValueError,
            "channels and weighting are those of noise predictors",
        ),
        (
            {"network": "classifier", "weighting": "elbo"},
            ValueError,
            "channels and weighting are those of",
        ),
        ({"mirror": 1}, TypeError, "mirror must be True or False"),
        ({"progress": None}, TypeError, "progress must be True or False"),
        ({"distinct": 0}, ValueError, "distinct must be an int of at least 1, got 0"),
        ({"distinct": 1.5}, TypeError, "distinct must be an int"),
        ({"seed": -1}, ValueError, "seed must be an int in 0…"),
        ({"seed": 2**63}, ValueError, "seed must be an int in 0…"),
        ({"seed": None}, TypeError, "seed must be an int"),
        ({"threads": 0}, ValueError, "threads must be an int of at least 1, got 0"),
        ({"threads": 1.0}, TypeError, "threads must be an int"),
        ({"name": "a/b"}, ValueError, "name must be a file's name, without folders, got 'a/b'"),
        ({"name": "..\\b"}, ValueError, "name must be a file's name"),
        ({"name": ".."}, ValueError, "name must be a file's name"),
        ({"name": ""}, ValueError, "name must be a file's name"),
        ({"name": None}, TypeError, "name must be a string, got None"),
        ({"out": None}, TypeError, "out must be a path, got None"),
        ({"out": "file"}, OSError, "out: cannot write"),
    ],
)
def test_everything_is_checked_before_the_data_are_loaded(
    options, error, message, tmp_path, monkeypatch
):
    def never(*arguments, **options):
        raise AssertionError("work was begun")

    monkeypatch.setattr(recipes.sprites, "load_sprites", never)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    threads = torch.get_num_threads()
    with pytest.raises(error, match=f"^{message}"):
        train_sprites(**options)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("source", ["nowhere", None, 3])
def test_unknown_sources_leave_no_files(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError), match="source must be"):
        train_sprites(source=source)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_a_file_is_named(few, tmp_path):
    (tmp_path / "sprites" / "sprites.safetensors").mkdir(parents=True)
    with pytest.raises(ValueError, match="out must be the path of a file, got the folder"):
        train_sprites(source=few, out=tmp_path, **SMALL)
    (tmp_path / "it" / "checkpoint.safetensors").mkdir(parents=True)
    with pytest.raises(ValueError, match="checkpoint must be the path of a file, got the folder"):
        train_sprites(source=few, out=tmp_path, name="it", **SMALL)


def test_networks_are_made_in_the_dtype_of_the_pictures(few, tmp_path):
    torch.set_default_dtype(torch.float64)
    try:
        weights, _ = train_sprites("vae", few, epochs=1, out=tmp_path, progress=False)
    finally:
        torch.set_default_dtype(torch.float32)
    assert load_pretrained(weights).log_variance.dtype == torch.float32


def test_the_checkpoint_keeps_the_history_of_every_epoch(few, tmp_path):
    train_sprites("vae", few, epochs=3, out=tmp_path, progress=False)
    _, info = load_tensors(tmp_path / "sprites" / "checkpoint.safetensors")
    assert [entry["epoch"] for entry in info["history"]] == [1, 2, 3]
    assert all(math.isfinite(entry["ema_train_loss"]) for entry in info["history"])
