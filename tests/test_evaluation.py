"""Recorded evaluations: pictures that survive a kill, rows that repeat to the last digit, and one recorded row computed again."""

import base64
import json

import numpy as np
import pytest
import torch

from dgm_helpers import evaluation, fid, results, sprites
from dgm_helpers.__main__ import main
from dgm_helpers.networks import UNet
from dgm_helpers.training import load_pretrained, save_pretrained


def uniform(labels, generator):
    return 2 * torch.rand(len(labels), 3, 16, 16, generator=generator) - 1


def test_a_killed_run_continues_with_the_same_pictures(tmp_path):
    recipe, labels = {"batch": 4, "seed": 2}, torch.arange(5)
    whole, _ = evaluation.draw(uniform, labels, recipe, n=12, folder=tmp_path / "whole")
    calls = []

    def killed(y, generator):
        calls.append(y)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return uniform(y, generator)

    with pytest.raises(KeyboardInterrupt):
        evaluation.draw(killed, labels, recipe, n=12, folder=tmp_path / "killed")
    again, seconds = evaluation.draw(killed, labels, recipe, n=12, folder=tmp_path / "killed")
    assert len(calls) == 4 and np.array_equal(whole, again) and seconds > 0
    first, _ = evaluation.draw(uniform, labels, recipe, n=4, folder=tmp_path / "whole")
    assert np.array_equal(first, whole[:4])
    other, _ = evaluation.draw(uniform, labels, {**recipe, "seed": 3}, n=4, folder=tmp_path / "other")
    assert not np.array_equal(other, first)
    with pytest.raises(ValueError, match="holds pictures of another recipe"):
        evaluation.draw(uniform, labels, {**recipe, "seed": 3}, n=4, folder=tmp_path / "whole")
    with pytest.raises(ValueError, match="n must be a positive multiple of the batch of 4, got 6"):
        evaluation.draw(uniform, labels, recipe, n=6, folder=tmp_path / "whole")


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    settings = {"source": "generated", "split": "group", "data_sha256": sprites.load_sprites().sha256}
    save_pretrained(tmp_path / "net.safetensors", UNet((8, 8, 8)), {"settings": settings})
    return str(tmp_path / "net.safetensors")


def test_fid_rows_repeat_to_the_last_digit_and_are_not_computed_twice(tmp_path, weights, capsys):
    def run(folder, *extra):
        arguments = ["--steps", "2", "--n", "4", "--batch", "2", "--pictures", str(tmp_path / folder), "--out", str(tmp_path / folder)]
        main(["evaluate", "fid", "--weights", weights, *arguments, *extra])

    run("a")
    run("b")
    first, second = (results.load("generated-ddim-2-4", tmp_path / folder) for folder in ("a", "b"))
    assert first["features"] == second["features"] and first["pictures_sha256"] == second["pictures_sha256"]
    assert first["features"].keys() == {"classifier", "imagenet", "pca"} and first["features"]["imagenet"]["dimensions"] == 1280
    capsys.readouterr()
    run("a")
    assert "is there already" in capsys.readouterr().out
    run("a", "--sampler", "ddpm", "--proposals", "pca", "--stop-at", "0", "10")
    assert results.load("generated-es-pca-0-4", tmp_path / "a")["recipe"]["steps"] == 0
    assert results.load("generated-es-pca-10-ddpm-2-4", tmp_path / "a")["recipe"]["stop_at"] == 10
    run("a", "--sampler", "real")
    assert results.load("generated-real-4", tmp_path / "a")["features"]["pca"]["fid"] > 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--n", "150"], "--n must be at least 3 and a multiple of --batch, got 150 and 100"),
        (["--steps", "1001"], "1…1000, got 1001"),
        (["--proposals", "pca"], "--proposals and --stop-at must be given together, got pca and None"),
        (["--stop-at", "100"], "--proposals and --stop-at must be given together, got None and 100"),
        (["--proposals", "pca", "--stop-at", "20", "--steps", "50"], "1…20, got 50"),
        (["--proposals", "pca", "--stop-at", "2000", "--steps", "50"], "--stop-at must lie in 0…1000, got 2000"),
        (["--proposals", "nothing", "--stop-at", "20", "--steps", "5"], "name must be one of"),
    ],
)
def test_senseless_rows_are_refused_before_any_picture(arguments, message, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        main(["evaluate", "fid", "--weights", weights, *arguments, "--out", str(tmp_path / "out")])
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_the_nearest_training_picture(tmp_path, weights):
    main(["evaluate", "copies", "--weights", weights, "--steps", "1", "--n", "4", "--batch", "2", "--pictures", str(tmp_path), "--out", str(tmp_path)])
    record = results.load("copies-net", tmp_path)
    assert (record["shown"], len(record["samples"]), len(record["held_out"])) == (3576, 4, 894)
    train = sprites.split_by_group(sprites.load_sprites())[0].images
    distance, row = evaluation.nearest(train[5:8], train)
    assert row.tolist() == [5, 6, 7] and distance.abs().max() < 2e-3  # cdist rounds
    blue = train[:1].copy()
    blue[..., 2] = np.where(blue[..., 2] < 128, blue[..., 2] + 51, blue[..., 2] - 51)  # 0.4 in a third of the values
    assert evaluation.nearest(blue, train[:1])[0].item() == pytest.approx(0.4 / 3**0.5, abs=1e-4)
    pictures = np.frombuffer(base64.b64decode(record["closest"]["pictures"]), np.uint8).reshape(-1, 16, 16, 3)
    assert np.allclose(sorted(record["samples"]), evaluation.nearest(pictures, train)[0], atol=1e-4)


def test_a_recorded_row_is_found_again():
    record = evaluation.load_row("ddim-10", 2000)
    run = evaluation.Run("sprites-generated", None, None, compiled=False)
    _, recipe = run.row("ddim", 10, None, None, None, 100, 0)
    assert {**recipe, "compiled": True} == record["recipe"]
    sampler = run.sampler(recipe)

    def draw(i):  # batch i as `evaluation.draw` draws it, but nothing is kept
        generator = torch.Generator().manual_seed(i)
        labels = run.train.tensors()[1]
        y = labels[torch.randint(len(labels), (100,), generator=generator)]
        return sampler(y, generator)

    fake = sprites.to_uint8(torch.cat([draw(i) for i in range(20)]))
    real = sprites.to_tensor(run.reference(4000)[:2000])
    features = run.feature_sets()
    for name in ("classifier", "pca"):
        found = fid.fid(real, sprites.to_tensor(fake), features=features[name])
        assert record["features"][name]["low"] < found < record["features"][name]["high"]
        assert found == pytest.approx(record["features"][name]["fid"], rel=0.01)  # compiled arithmetic rounds otherwise


def test_every_row_says_what_it_was_made_of():
    for path in (results.FOLDER / "fid").glob("*.json"):
        record = json.loads(path.read_text())
        assert {"row", "n", "recipe", "weights_sha256", "data_sha256", "reference_sha256", "features", "provenance"} <= record.keys()
        assert path.stem == f"generated-{record['row']}-{record['n']}"
        assert record["weights_sha256"] == evaluation.sha256(evaluation.weights_file("sprites-generated"))
        for values in record["features"].values():
            assert values["fid"] >= 0 and ("spread" in values or values["low"] <= values["fid"] <= values["high"])


def row(name, *distances, n=10, reference="a"):
    features = {kind: {"fid": d, "low": d - 1, "high": d + 1} for kind, d in zip(("classifier", "pca"), distances, strict=False)}
    return {"row": name, "n": n, "reference_sha256": reference, "features": features}


def test_two_rows_are_ordered_only_where_every_feature_set_orders_them():
    floor, near, far = row("real", 0.5, 0.5), row("near", 5, 20), row("far", 9, 30)
    expected = {"classifier": "near", "pca": "near", "all": "near"}
    assert evaluation.compare_rows(near, far, floor) == evaluation.compare_rows(far, near, floor) == expected
    assert evaluation.compare_rows(near, row("mixed", 9, 10), floor) == {"classifier": "near", "pca": "mixed", "all": None}
    assert evaluation.compare_rows(near, row("overlap", 6, 30), floor) == {"classifier": None, "pca": "near", "all": None}
    assert evaluation.compare_rows(near, far, row("real", 5, 5)) == {"classifier": None, "pca": "near", "all": None}
    assert evaluation.compare_rows(near, near, floor) == {"classifier": None, "pca": None, "all": None}
    with pytest.raises(ValueError, match=r"must agree in n, got \[10, 20\]"):
        evaluation.compare_rows(near, row("far", 9, 30, n=20), floor)
    with pytest.raises(ValueError, match=r"must agree in reference_sha256, got \['a', 'b'\]"):
        evaluation.compare_rows(near, far, row("real", 5, 5, reference="b"))
    with pytest.raises(ValueError, match="must have the same feature sets"):
        evaluation.compare_rows(near, row("far", 9), floor)
    recorded = [evaluation.load_row(name, 2000) for name in ("ddim-20", "ddpm-1000", "real")]
    assert evaluation.compare_rows(*recorded) == dict.fromkeys(("classifier", "imagenet", "pca", "all"), "ddpm-1000")


@pytest.mark.parametrize("name", ["vae-generated", "classifier-generated", "distinct-100", "distinct-3576"])
def test_released_networks_of_the_evaluation_are_those_of_their_records(name):
    record = results.load(f"train-{name}")
    assert evaluation.sha256(evaluation.weights_file(name)) == record["weights_sha256"]
    assert load_pretrained(name).info["settings"] == record["settings"]


def test_the_classifier_s_recorded_accuracy():
    _, held_out = sprites.split_by_group(sprites.load_sprites())
    x, labels = held_out.tensors()
    accuracy = (load_pretrained("classifier-generated")(x).argmax(1) == labels).float().mean().item()
    assert accuracy == pytest.approx(results.load("train-classifier-generated")["history"][-1]["ema_held_out_accuracy"], abs=0.003)
    assert accuracy > 0.95
