"""The command line and the ledger of results."""

import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image

from dgm_helpers import results
from dgm_helpers.__main__ import main, noise_prediction
from dgm_helpers.diffusion import elbo_weights
from dgm_helpers.networks import UNet
from dgm_helpers.plots import animate, plot_loss, plot_samples
from dgm_helpers.schedules import NoiseSchedule
from dgm_helpers.sprites import load_sprites, tile, to_tensor, to_uint8
from dgm_helpers.training import load_pretrained, save_pretrained


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    save_pretrained(tmp_path / "net.safetensors", UNet((8, 8, 8)), {})
    return str(tmp_path / "net.safetensors")


def test_data_writes_a_folder_that_loads_as_the_same_set(tmp_path, capsys):
    main(["data", "--out", str(tmp_path / "png")])
    printed = capsys.readouterr().out
    assert "4470 pictures (400 human, 1620 non-human, 300 food, 1750 spell, 400 side-facing)" in printed
    written, drawn = load_sprites(tmp_path / "png"), load_sprites()
    assert sorted(written.images.reshape(4470, -1).tolist()) == sorted(drawn.images.reshape(4470, -1).tolist())
    assert sorted(written.classes) == sorted(drawn.classes)
    names = np.array(written.classes)[written.labels]
    assert {name: int((names == name).sum()) for name in drawn.classes} == dict(zip(drawn.classes, np.bincount(drawn.labels).tolist(), strict=True))


def test_sample_writes_the_same_pictures_for_the_same_seed(tmp_path, weights):
    options = ["--weights", weights, "--steps", "3", "--n", "7", "--batch", "5", "--seed", "1", "--sheet", str(tmp_path / "sheet.png")]
    for folder in ("a", "b"):
        main(["sample", *options, "--out", str(tmp_path / folder)])
    names = [f"{i:05d}.png" for i in range(7)]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    assert Image.open(tmp_path / "a" / names[0]).size == (16, 16)
    assert Image.open(tmp_path / "sheet.png").size == (3 * (20 * 18 + 2), 3 * 20)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["data", "--source", "nowhere"], "source must be .*'nowhere'"),
        (["sample", "--weights", "nowhere", "--out", "x"], "name must be one of"),
        (["sample", "--n", "0", "--out", "x"], "--n and --batch must be positive, got 0 and 50"),
        (["evaluate", "bound", "--n", "1"], "--n must be at least 2 and --batch positive, got 1 and 64"),
        (["train", "--epochs", "0"], "epochs must be a positive int, got 0"),
    ],
)
def test_errors_are_one_line_and_leave_no_files(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"^error: {message}"):
        main(arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_number_of_steps_or_a_full_folder_is_refused(tmp_path, weights):
    with pytest.raises(SystemExit, match="number of steps.*1…1000, got 1001"):
        main(["sample", "--weights", weights, "--steps", "1001", "--out", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()
    with pytest.raises(SystemExit, match="--out must be a new or empty folder"):
        main(["sample", "--weights", weights, "--steps", "2", "--out", str(tmp_path)])


def test_evaluate_records_the_bound_on_held_out_pictures(tmp_path, capsys, monkeypatch):
    short = NoiseSchedule.linear(20, 0.005, 0.5)  # 1,000 steps would take a minute
    monkeypatch.setattr(NoiseSchedule, "linear", classmethod(lambda cls: short))
    data, net = load_sprites(), UNet((8, 8, 8))
    settings = {"source": "generated", "split": "group", "data_sha256": data.sha256}
    save_pretrained(tmp_path / "net.safetensors", net, {"settings": settings})
    arguments = ["evaluate", "bound", "--weights", str(tmp_path / "net.safetensors"), "--n", "2", "--seed", "3", "--out", str(tmp_path)]
    main(arguments)
    first = results.load("elbo-net", tmp_path)
    main(arguments)
    second = results.load("elbo-net", tmp_path)
    for variance in ("small", "large"):
        assert first[variance] == second[variance] and len(first[variance]["terms"]) == 21
        assert sum(first[variance]["terms"]) == pytest.approx(first[variance]["bits_per_value"])
        assert sum(first[variance]["pictures"]) == pytest.approx(2 * first[variance]["bits_per_value"])
    assert first["small"]["terms"][-1] == first["large"]["terms"][-1] > 0  # the prior's term
    assert "bits per value" in capsys.readouterr().out
    save_pretrained(tmp_path / "bare.safetensors", net, {})
    with pytest.raises(SystemExit, match="does not say which data trained it"):
        main(["evaluate", "bound", "--weights", str(tmp_path / "bare.safetensors"), "--n", "2"])
    with pytest.raises(SystemExit, match="--n must be at most 894"):
        main([*arguments, "--n", "895"])
    save_pretrained(tmp_path / "other.safetensors", net, {"settings": {**settings, "data_sha256": "0"}})
    with pytest.raises(SystemExit, match="was trained on data with SHA-256 0"):
        main(["evaluate", "bound", "--weights", str(tmp_path / "other.safetensors"), "--n", "2"])


def test_weighting_by_the_bound_changes_the_training_loss():
    net, (x0, y) = UNet((8, 8, 8)).eval(), (values[:64] for values in load_sprites().tensors())
    simple, weighted = (
        noise_prediction(net, x0, y, torch.Generator().manual_seed(0), schedule=NoiseSchedule.linear(), weighting=weighting)
        for weighting in ("simple", "elbo")
    )
    t = torch.randint(1, 1001, (64,), generator=after_labels(64))
    weights = elbo_weights(NoiseSchedule.linear())
    torch.testing.assert_close(weighted, simple * (weights / weights[1:].mean())[t].float())


def after_labels(n):
    """The generator of ``noise_prediction`` when it comes to the timesteps."""
    generator = torch.Generator().manual_seed(0)
    torch.rand(n, generator=generator)
    return generator


def test_record_and_load(tmp_path):
    path = results.record("run", {"loss": 0.1}, made_with=results.provenance(), folder=tmp_path)
    loaded = results.load("run", tmp_path)
    assert loaded["loss"] == 0.1
    assert {"date", "code", "python", "torch", "numpy", "device", "threads"} == loaded["provenance"].keys()
    before = path.read_bytes()
    with pytest.raises(ValueError):
        results.record("run", {"loss": float("nan")}, made_with={}, folder=tmp_path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(ValueError, match=r"no record 'other' .* there are \['run'\]"):
        results.load("other", tmp_path)


def test_every_record_of_the_repository_says_where_it_comes_from():
    paths = sorted(results.FOLDER.glob("*.json"))
    assert paths
    for path in paths:
        assert {"date", "code", "device"} <= json.loads(path.read_text())["provenance"].keys()


@pytest.mark.parametrize("name, epochs", [("sprites-dawnlike", 500), ("sprites-generated", 500), ("weighting-simple", 40), ("weighting-elbo", 40)])
def test_released_weights_are_those_of_their_records(name, epochs):
    record, model = results.load(f"train-{name}"), load_pretrained(name)
    weights = results.FOLDER.parent / "dgm_helpers" / "weights" / f"{name}.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == record["weights_sha256"]
    assert model.info["settings"] == record["settings"] and model.info["steps"] == record["steps"]
    assert results.load(f"elbo-{name}")["weights_sha256"] == record["weights_sha256"]
    assert len(record["history"]) == epochs and model.info["credit"] == record["credit"]


def test_pictures_survive_the_way_to_tensors_and_back():
    images = load_sprites().images[:20]
    assert np.array_equal(to_uint8(to_tensor(images)), images)
    assert to_tensor(images).min() >= -1 and to_tensor(images).max() == 1
    with pytest.raises(ValueError, match="x must be finite"):
        to_uint8(torch.full((1, 3, 16, 16), torch.nan))


def test_sheet_and_animation():
    images = load_sprites().images[:5]
    sheet = tile(images, columns=3)
    assert sheet.shape == (2 * 18 + 2, 3 * 18 + 2, 3)
    assert np.array_equal(sheet[2:18, 20:36], images[1])
    gif = animate([to_tensor(images), to_tensor(images[::-1].copy())], columns=5, scale=2)
    assert gif[:6] == b"GIF89a"
    assert plot_samples(images, columns=5, title="five", row_labels=["row"]).axes[0].get_title() == "five"
    axes = plot_loss([{"epoch": 1, "a": 1.0}, {"epoch": 2, "a": 0.5}], keys=["a"], labels=["loss"]).axes[0]
    assert axes.lines[0].get_ydata().tolist() == [1.0, 0.5]
