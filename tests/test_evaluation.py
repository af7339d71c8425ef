"""Recorded evaluations: pictures that survive a kill, rows that repeat to the last digit, one of them found again."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from dgm_helpers import evaluation, results, sprites
from dgm_helpers.__main__ import main
from dgm_helpers.arguments import seeded
from dgm_helpers.bound import elbo_terms
from dgm_helpers.diffusion import simple_loss
from dgm_helpers.fid import fid
from dgm_helpers.networks import UNet
from dgm_helpers.predictors import palette_of, palette_predictor
from dgm_helpers.samplers import clipped, sample_ddim
from dgm_helpers.schedules import NoiseSchedule
from dgm_helpers.training import load_pretrained, save_pretrained, save_tensors


def uniform(labels, generator):
    return 2 * torch.rand(len(labels), 3, 16, 16, generator=generator) - 1


def test_a_killed_run_continues_with_the_same_pictures(tmp_path):
    recipe, labels = {"batch": 4, "seed": 2}, torch.arange(5)
    whole, _ = evaluation.draw_pictures(uniform, labels, recipe, n=12, folder=tmp_path / "whole")
    calls = []

    def killed(y, generator):
        calls.append(y)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return uniform(y, generator)

    with pytest.raises(KeyboardInterrupt):
        evaluation.draw_pictures(killed, labels, recipe, n=12, folder=tmp_path / "killed")
    again, seconds = evaluation.draw_pictures(
        killed, labels, recipe, n=12, folder=tmp_path / "killed"
    )
    assert len(calls) == 4 and np.array_equal(whole, again) and seconds > 0
    first, _ = evaluation.draw_pictures(uniform, labels, recipe, n=4, folder=tmp_path / "whole")
    assert np.array_equal(first, whole[:4])
    other, _ = evaluation.draw_pictures(
        uniform, labels, {**recipe, "seed": 3}, n=4, folder=tmp_path / "other"
    )
    assert not np.array_equal(other, first)
    with pytest.raises(ValueError, match="holds pictures of another recipe"):
        evaluation.draw_pictures(
            uniform, labels, {**recipe, "seed": 3}, n=4, folder=tmp_path / "whole"
        )
    with pytest.raises(ValueError, match="n must be a multiple of batch = 4, got 6"):
        evaluation.draw_pictures(uniform, labels, recipe, n=6, folder=tmp_path / "whole")


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    settings = {
        "source": "generated",
        "split": "group",
        "data_sha256": sprites.load_sprites().sha256,
    }
    save_pretrained(tmp_path / "net.safetensors", UNet((8, 8, 8)), {"settings": settings})
    return str(tmp_path / "net.safetensors")


@pytest.fixture
def few_features(monkeypatch):
    """Seven features in place of 1,280, whose distances take a second each."""
    monkeypatch.setattr(evaluation, "imagenet_features", lambda: lambda x: x.flatten(1)[:, :7])


def test_fid_rows_repeat_to_the_last_digit_and_are_not_computed_twice(
    tmp_path, weights, few_features, capsys
):
    def run(name, *options):
        folders = ["--pictures", str(tmp_path / name), "--out", str(tmp_path / name)]
        small = ["--weights", weights, "--n", "4", "--batch", "2", *folders]
        main(["evaluate", "fid", *small, *options])

    run("a", "--steps", "2")
    run("b", "--steps", "2")
    first, second = (results.load("net-ddim-2-4", tmp_path / folder) for folder in ("a", "b"))
    assert first["features"] == second["features"]
    assert first["pictures_sha256"] == second["pictures_sha256"]
    assert first["features"].keys() == {"classifier", "imagenet", "pca"}
    assert first["features"]["imagenet"]["dimensions"] == 7
    capsys.readouterr()
    run("a", "--steps", "2")
    assert "is there already" in capsys.readouterr().out
    run("a", "--steps", "2", "--sampler", "ddpm", "--proposals", "pca", "--stop-at", "0", "10")
    assert results.load("net-es-pca-0-4", tmp_path / "a")["recipe"]["steps"] == 0
    assert results.load("net-es-pca-10-ddpm-2-4", tmp_path / "a")["recipe"]["stop_at"] == 10
    run("a", "--sampler", "multistep", "--steps", "2", "--guidance", "2", "--spacing", "karras")
    guided = results.load("net-guided-2-karras-multistep-2-4", tmp_path / "a")
    assert guided["recipe"]["guidance"] == 2 and guided["recipe"]["spacing"] == "karras"
    run("a", "--sampler", "real")
    floor = results.load("generated-real-4", tmp_path / "a")
    assert floor["features"]["pca"]["fid"] > 0
    assert floor["reference_sha256"] == first["reference_sha256"]
    for found in floor["features"].values():
        assert (found["pairs"], found["disjoint"]) == (10, 10)
    assert {found["splits"] for found in first["features"].values()} == {50}
    assert 0 <= first["in_class"] <= 1 and "in_class" not in floor


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--n", "150"], "--n must be a multiple of batch = 100, got 150"),
        (["--n", "0"], "--n must be an int in 4…1000000, got 0"),
        (["--batch", "0"], "--batch must be an int of at least 1, got 0"),
        (["--seed", "-1"], "--seed must be an int in 0…4294967295, got -1"),
        (["--threads", "0"], "--threads must be an int in 1…1024, got 0"),
        (["--steps", "20", "1001"], "--steps must be an int in 1…1000, got 1001"),
        (["--steps", "0"], "--steps must be an int in 1…1000, got 0"),
        (["--eps-scale", "0"], "--eps-scale must be a finite number above 0, got 0.0"),
        (["--eps-scale", "nan"], "--eps-scale must be a finite number above 0, got nan"),
        (
            ["--proposals", "pca"],
            "--proposals and --stop-at must be given together, got pca and None",
        ),
        (
            ["--stop-at", "100"],
            "--proposals and --stop-at must be given together, got None and 100",
        ),
        (
            ["--proposals", "pca", "--stop-at", "20", "--steps", "50"],
            "--steps must be an int in 1…20, got 50",
        ),
        (
            ["--proposals", "pca", "--stop-at", "2000", "--steps", "50"],
            "--stop-at must be an int in 0…1000, got 2000",
        ),
        (
            ["--proposals", "nothing", "--stop-at", "20"],
            "--proposals must be a released network or .* file of one: .*'nothing'",
        ),
        (
            ["--proposals", "classifier-generated", "--stop-at", "50"],
            "--proposals must hold a VAE, got classifier-generated",
        ),
        (
            ["--sampler", "train", "--n", "3600"],
            "--n must be at most 3576, the number of training pictures, got 3600",
        ),
        (
            ["--sampler", "train", "--steps", "20"],
            "--steps must not be given with 'train', got 20",
        ),
        (
            ["--sampler", "real", "--guidance", "2"],
            "--guidance must not be given with 'real', got 2.0",
        ),
        (["--guidance", "inf"], "--guidance must be a finite number, got inf"),
        (
            ["--sampler", "multistep", "--proposals", "pca", "--stop-at", "50"],
            "--proposals must not be given with 'multistep', got pca",
        ),
        (
            ["--sampler", "real", "--eps-scale", "1.1"],
            "--eps-scale must not be given with 'real', got 1.1",
        ),
        (
            ["--pictures", "net.safetensors"],
            "cannot write to the folder net.safetensors: File exists",
        ),
    ],
)
def test_senseless_rows_are_refused_before_any_picture(
    arguments, message, weights, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"^error: {message}"):
        main(["evaluate", "fid", "--weights", weights, *arguments, "--out", str(tmp_path / "out")])
    assert not list(tmp_path.rglob("*/*"))


def test_guidance_mixes_the_estimates_with_and_without_the_class():
    denoiser = evaluation.Denoiser()
    labels = torch.tensor([0, 3])

    def drawn(**options):
        recipe = denoiser.recipe("ddim", steps=2, **options)
        return denoiser.batch_drawer(recipe)(labels, seeded(0))

    plain = drawn()
    assert torch.allclose(drawn(guidance=1), plain, atol=1e-5)
    anything = torch.full_like(labels, denoiser.model.n_classes)
    start = clipped(denoiser.model.for_labels(anything), denoiser.schedule), denoiser.schedule
    wanted = sample_ddim(*start, evaluation.noise(2, seeded(0)), steps=2)
    assert torch.allclose(drawn(guidance=0), wanted, atol=1e-5)
    assert not torch.allclose(drawn(guidance=3), plain, atol=1e-3)


def test_yardsticks_are_recorded_beside_the_network(tmp_path, weights, monkeypatch):
    short = NoiseSchedule.linear(20, 0.005, 0.5)  # 1,000 steps would take a minute
    monkeypatch.setattr(NoiseSchedule, "linear", classmethod(lambda cls: short))
    monkeypatch.setattr(evaluation, "YARDSTICK_TIMES", (1, 10))
    main(["evaluate", "yardsticks", "--weights", weights, "--n", "3", "--out", str(tmp_path)])
    record = results.load("yardsticks-net", tmp_path)
    assert record["predictors"].keys() == {"network", "palette", "affine", "memoriser"}
    first = {name: found["loss"][0] for name, found in record["predictors"].items()}
    assert first["palette"] < min(first["affine"], first["network"])
    assert first["network"] == pytest.approx(1, abs=0.1)  # untrained: its answer is zero
    bits = {name: record["predictors"][name]["large"] for name in ("palette", "affine")}
    assert bits["palette"]["bits_per_value"] < bits["affine"]["bits_per_value"]
    # by hand, for one of them
    denoiser = evaluation.Denoiser(weights)
    x0, _ = denoiser.held_out_pictures(3, 0)
    noise = torch.randn(x0.shape, generator=seeded(evaluation.part_seed(0, 10)))
    colors = palette_of(denoiser.train.images)
    eps_model = clipped(palette_predictor(short, *colors), short)
    again = simple_loss(eps_model, short, x0, 10, noise).mean().item()
    assert record["predictors"]["palette"]["loss"][1] == pytest.approx(again, rel=1e-5)
    # beside a record of the same pictures only the network is asked again
    changed = json.loads(json.dumps(record))
    for name in ("network", "palette"):
        changed["predictors"][name]["loss"] = [7, 7]
    (tmp_path / "yardsticks-net.json").write_text(json.dumps(changed))
    main(["evaluate", "yardsticks", "--weights", weights, "--n", "3", "--out", str(tmp_path)])
    anew = results.load("yardsticks-net", tmp_path)["predictors"]
    assert anew["palette"]["loss"] == [7, 7]
    assert anew["network"] == record["predictors"]["network"]
    assert anew["affine"] == record["predictors"]["affine"]
    # and at other timesteps all of them are
    monkeypatch.setattr(evaluation, "YARDSTICK_TIMES", (10,))
    main(["evaluate", "yardsticks", "--weights", weights, "--n", "3", "--out", str(tmp_path)])
    anew = results.load("yardsticks-net", tmp_path)["predictors"]
    assert anew["palette"]["loss"] == record["predictors"]["palette"]["loss"][1:]


def test_exported_folders_have_the_same_classes_and_no_picture_of_the_training(
    tmp_path, weights, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    options = ["--weights", weights, "--steps", "1", "--batch", "20", "--n", "60"]
    main(["evaluate", "export", *options, "--out", "sets"])
    sides = {
        name: np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])
        for name in ("generated", "real")
        if (folder := tmp_path / "sets" / name)
    }
    assert sides["generated"].shape == sides["real"].shape == (60, 16, 16, 3)
    record = results.load("export-net-ddim-1-60", tmp_path / "sets")
    x = [sprites.to_tensor(side) for side in (sides["real"], sides["generated"])]
    wanted = fid(*x, features=evaluation.Denoiser(weights).feature_sets()["classifier"])
    assert results.estimate(record, "classifier")[0] == pytest.approx(wanted)
    denoiser = evaluation.Denoiser(weights)
    shown = {image.tobytes() for image in denoiser.train.images}
    real = {image.tobytes() for image in sides["real"]}
    assert len(real) == 60 and not shown & real
    # the labels that draw_batch was given, counted against those of the real pictures
    given = []
    evaluation.draw_pictures(
        lambda labels, generator: given.append(labels) or torch.zeros(len(labels), 3, 16, 16),
        denoiser.train.tensors()[1],
        {"batch": 20, "seed": 0},
        n=60,
        folder=tmp_path / "counted",
    )
    images, labels = denoiser.unseen_pictures(60)
    label_of = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    found = [label_of[image.tobytes()] for image in sides["real"]]
    assert (
        np.bincount(found, minlength=5).tolist() == torch.cat(given).bincount(minlength=5).tolist()
    )


def test_exports_are_refused_before_any_picture(tmp_path, weights, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("kept", encoding="utf-8")
    start = ["evaluate", "export", "--weights", weights]
    with pytest.raises(SystemExit, match="--out must be a new or empty folder, got full"):
        main([*start, "--out", "full"])
    few = sprites.load_sprites().subset(np.arange(40))
    monkeypatch.setattr(evaluation, "generate_sprites", lambda n, seed: (few.images, few.labels, 0))
    with pytest.raises(SystemExit, match=r"--n must leave enough .* got \d+ of class 'human' for"):
        main([*start, "--n", "2000", "--out", "new"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "net.safetensors"]


def test_a_killed_evaluation_leaves_no_record_and_continues(
    tmp_path, weights, few_features, monkeypatch
):
    def run(name):
        folders = ["--pictures", str(tmp_path / name), "--out", str(tmp_path / f"{name}-records")]
        options = ["--weights", weights, "--n", "6", "--batch", "2", "--steps", "1"]
        main(["evaluate", "fid", *options, *folders])
        return results.load("net-ddim-1-6", tmp_path / f"{name}-records")

    whole, saved = run("whole"), []

    def save_two(*arguments):
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(save_tensors(*arguments))

    monkeypatch.setattr(evaluation, "save_tensors", save_two)
    with pytest.raises(SystemExit) as exit:
        run("killed")
    assert exit.value.code == 130
    assert len(list((tmp_path / "killed").rglob("*.safetensors"))) == 2
    assert not list((tmp_path / "killed-records").iterdir())
    monkeypatch.setattr(evaluation, "save_tensors", save_tensors)
    again = run("killed")
    for key in ("features", "pictures_sha256", "reference_sha256"):
        assert again[key] == whole[key]


def test_a_killed_bound_continues(tmp_path, weights, monkeypatch):
    def run(name):
        options = ["--weights", weights, "--n", "6", "--batch", "2", "--out", str(tmp_path / name)]
        main(["evaluate", "bound", *options])
        return results.load("elbo-net", tmp_path / name)

    whole, calls = run("whole"), []

    def count(*arguments, **options):
        if len(calls) == 4:  # in the second variance
            raise KeyboardInterrupt
        calls.append(options["variance"])
        return elbo_terms(*arguments, **options)

    monkeypatch.setattr(evaluation, "elbo_terms", count)
    with pytest.raises(SystemExit) as exit:
        run("killed")
    assert exit.value.code == 130 and results.names(folder=tmp_path / "killed") == []
    calls.clear()
    again = run("killed")
    assert calls == ["large", "large"]
    assert all(again[variance] == whole[variance] for variance in ("small", "large"))
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["elbo-net.json"]


def test_real_pictures_share_no_group_with_training(tmp_path, weights, monkeypatch):
    """Of a set that is not drawn afresh the held-out pictures are the real ones, and they must be of other groups."""
    data = sprites.load_sprites()
    other = sprites.SpriteSet(data.images, data.labels, data.groups, data.classes, "drawn")
    monkeypatch.setattr(sprites, "load_sprites", lambda *arguments, **options: other)
    denoiser = evaluation.Denoiser(weights)
    held_out = {image.tobytes() for image in denoiser.held_out.images}
    for images in (denoiser.real_pictures(100), denoiser.floor_pictures(100)):
        assert {image.tobytes() for image in images} <= held_out
    fid = ["evaluate", "fid", "--weights", weights, "--out", str(tmp_path / "out")]
    most = len(held_out) // 2
    wanted = f"--n must be at most {most}, half of the distinct held-out pictures, got 500"
    with pytest.raises(SystemExit, match=f"^error: {wanted}$"):
        main([*fid, "--n", "500"])
    network, info = load_pretrained(weights), load_pretrained(weights).info
    at_random = info | {"settings": {**info["settings"], "split": "random"}}
    save_pretrained(tmp_path / "random.safetensors", network, at_random)
    export = ["evaluate", "export", "--n", "100", "--out", str(tmp_path / "sets")]
    copies = ["evaluate", "copies", "--n", "100", "--out", str(tmp_path / "out")]
    for command in (fid, export, copies):
        with pytest.raises(SystemExit, match="^error: --weights must be trained on a split that "):
            main([*command, "--weights", str(tmp_path / "random.safetensors")])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "net.safetensors",
        "random.safetensors",
    ]


def test_a_spacing_that_does_not_exist_is_one_line(weights, tmp_path):
    for measure in ("fid", "export"):
        options = ["--weights", weights, "--out", str(tmp_path / "out"), "--spacing", "cubic"]
        with pytest.raises(SystemExit, match="^error: argument --spacing: invalid choice: 'cubic'"):
            main(["evaluate", measure, *options])
    with pytest.raises(
        ValueError, match="^spacing must be one of 'uniform', 'quadratic', 'karras', got"
    ):
        evaluation.Denoiser(weights).recipe(spacing="cubic")
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


@pytest.mark.parametrize("kind", ["vae-generated", "classifier-generated"])
def test_networks_of_another_kind_are_one_line(kind, tmp_path):
    for measure in ("fid", "bound", "yardsticks", "copies"):
        with pytest.raises(
            SystemExit, match=f"^error: --weights must hold a UNet, got {kind}, which holds a "
        ):
            main(["evaluate", measure, "--weights", kind, "--out", str(tmp_path / "out")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "settings, message",
    [
        (None, "weights must say which data trained them"),
        ({"source": "generated"}, "weights must say which data trained them"),
        (
            {"source": "generated", "split": "group", "data_sha256": "0"},
            "weights must be trained on the data with SHA-256 .*, trained on 0",
        ),
    ],
)
def test_weights_say_which_data_trained_them(settings, message, tmp_path):
    path = tmp_path / "bare.safetensors"
    save_pretrained(path, UNet((8, 8, 8)), {} if settings is None else {"settings": settings})
    with pytest.raises(ValueError, match=message):
        evaluation.Denoiser(path)


def test_weights_have_the_classes_of_their_data(tmp_path, weights):
    """And so the label after them, "no class", which guidance needs."""
    info = load_pretrained(weights).info
    save_pretrained(tmp_path / "three.safetensors", UNet((8, 8, 8), 3), info)
    options = ["--weights", str(tmp_path / "three.safetensors"), "--guidance", "2"]
    for measure in ("fid", "export"):
        with pytest.raises(SystemExit, match="^error: --weights must have the 5 classes of the "):
            main(["evaluate", measure, *options, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_evaluations_are_called_with_keywords_and_name_their_own_arguments(
    weights, tmp_path, few_features
):
    for call in (evaluation.record_copies, evaluation.record_bound, evaluation.record_yardsticks):
        with pytest.raises(ValueError, match="^n must be an int in "):
            call(weights, n=0, out=tmp_path / "out")
        with pytest.raises(TypeError, match="^batch must be an int of at least 1, got float 2.0"):
            call(weights, n=4, batch=2.0, out=tmp_path / "out")
        with pytest.raises(TypeError, match="^seed must be an int in "):
            call(weights, n=4, batch=2, seed=None, out=tmp_path / "out")
    denoiser = evaluation.Denoiser(weights)
    with pytest.raises(TypeError, match="^steps must be an int in 1…1000, got str '20'"):
        denoiser.recipe(steps="20")
    recipe = denoiser.recipe(steps=2, spacing="quadratic", batch=2)
    options = {"pictures": tmp_path, "out": tmp_path / "out"}
    for n in (3, 5):
        with pytest.raises(ValueError, match="^n must be "):
            evaluation.record_distances(denoiser, [recipe], n=n, **options)
    with pytest.raises(ValueError, match="^recipe must be that of a sampler"):
        evaluation.matched_pictures(denoiser, denoiser.recipe("real"), n=4, pictures=tmp_path)
    [(path, new)] = evaluation.record_distances(denoiser, [recipe], n=4, **options)
    assert new and path.name == "net-quadratic-ddim-2-4.json"
    assert results.load(path.stem, path.parent)["recipe"]["spacing"] == "quadratic"


def test_a_record_of_a_folder_of_pictures_has_the_folder_s_name(tmp_path):
    assert results.row_record("train", 4, tmp_path / "my sprites") == "my sprites-train-4"


def test_recipes_that_json_changes_continue_their_own_pictures(tmp_path):
    recipe = {"batch": 2, "seed": 0, "shape": (3, 16, 16), 7: "seven"}
    whole, _ = evaluation.draw_pictures(uniform, torch.arange(5), recipe, n=4, folder=tmp_path)
    again, _ = evaluation.draw_pictures(uniform, torch.arange(5), recipe, n=4, folder=tmp_path)
    assert np.array_equal(whole, again)
    with pytest.raises(TypeError, match="recipe must be a dictionary with batch and seed, got "):
        evaluation.draw_pictures(uniform, torch.arange(5), {"batch": 2}, n=4, folder=tmp_path)


@pytest.mark.parametrize("options", [{}, {"eta": 1.0}, {"sampler": "ddpm"}, {"spacing": "karras"}])
def test_each_picture_has_its_own_noise_whatever_is_drawn_beside_it(options):
    schedule, seeds = NoiseSchedule.linear(), [3, 1, 4, 15, 9]
    eps_model = clipped(lambda x, t: 0.5 * x, schedule)
    together = evaluation.draw_each(eps_model, schedule, seeds, steps=3, **options)
    alone = torch.cat(
        [evaluation.draw_each(eps_model, schedule, [seed], steps=3, **options) for seed in seeds]
    )
    assert (
        torch.equal(together, alone)
        and together.shape == (5, 3, 16, 16)
        and together.dtype == torch.float32
    )
    assert len({picture.numpy().tobytes() for picture in together}) == 5


def test_pictures_of_their_own_noise_are_those_of_the_sampler():
    schedule = NoiseSchedule.linear()
    eps_model = clipped(lambda x, t: 0.5 * x, schedule)
    x_T = torch.stack([torch.randn(3, 16, 16, generator=seeded(seed)) for seed in (3, 1)])
    assert torch.equal(
        evaluation.draw_each(eps_model, schedule, [3, 1], steps=7),
        sample_ddim(eps_model, schedule, x_T, steps=7),
    )


def test_the_nearest_training_picture(tmp_path, weights):
    main(
        [
            "evaluate",
            "copies",
            "--weights",
            weights,
            "--steps",
            "1",
            "--n",
            "4",
            "--batch",
            "2",
            "--pictures",
            str(tmp_path),
            "--out",
            str(tmp_path),
        ]
    )
    record = results.load("copies-net", tmp_path)
    assert (record["shown"], len(record["samples"]), len(record["held_out"])) == (3576, 4, 894)
    train = sprites.split_by_group(sprites.load_sprites())[0].images
    distance, row = evaluation.nearest(train[5:8], train)
    assert row.tolist() == [5, 6, 7] and distance.abs().max() < 2e-3  # cdist rounds
    blue = train[:1].copy()
    blue[..., 2] = np.where(
        blue[..., 2] < 128, blue[..., 2] + 51, blue[..., 2] - 51
    )  # 0.4 in a third of the values
    assert evaluation.nearest(blue, train[:1])[0].item() == pytest.approx(0.4 / 3**0.5, abs=1e-4)
    pictures, rows = evaluation.closest_samples(record)
    assert np.allclose(
        evaluation.nearest(pictures, train[rows])[0],
        evaluation.nearest(pictures, train)[0],
        atol=1e-4,
    )
    assert np.allclose(sorted(record["samples"]), evaluation.nearest(pictures, train)[0], atol=1e-4)


def test_the_share_of_pixels_with_a_colour_of_the_others():
    others = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    pictures = np.array([[[1, 2, 3], [3, 2, 1], [4, 5, 6], [4, 5, 7]]], np.uint8)
    assert evaluation.on_palette(pictures, others) == 0.5
    assert evaluation.on_palette(others, pictures) == 1


def test_copies_of_other_samplers_have_a_record_of_their_own(tmp_path, weights):
    run = {"weights": weights, "n": 4, "batch": 2, "pictures": tmp_path, "out": tmp_path}
    with pytest.raises(ValueError, match="proposals and stop_at must be given together"):
        evaluation.record_copies(**run, proposals="clusters")
    path = evaluation.record_copies(**run, sampler="multistep", steps=1)
    assert path.name == "copies-net-multistep-1.json"
    path = evaluation.record_copies(**run, steps=1, proposals="clusters", stop_at=1)
    assert path.name == "copies-net-es-clusters-1-ddim-1.json"
    record = results.load(path.stem, tmp_path)
    assert record["recipe"]["proposals"] == "clusters" and len(record["samples"]) == 4


@pytest.mark.parametrize(
    "options",
    [
        {"sampler": "train"},
        {"sampler": "ddim", "steps": 5},
        {"sampler": "ddim", "proposals": "clusters", "stop_at": 0},
    ],
)
def test_a_recorded_row_is_found_again(options, tmp_path):
    denoiser = evaluation.Denoiser("sprites-generated")
    recipe = denoiser.recipe(**options)
    record = results.load_row(results.row_name(recipe), 2000)
    assert {**recipe, **({"compiled": True} if "steps" in recipe else {})} == record["recipe"]
    fake, _ = denoiser.pictures(recipe, 2000, tmp_path)
    share = evaluation.on_palette(fake, denoiser.train.images)
    assert share == pytest.approx(record["on_palette"], abs=1e-3)
    real = sprites.to_tensor(denoiser.real_pictures(2000)[:2000])
    features = denoiser.feature_sets()
    for name in ("classifier", "pca"):
        found = fid(real, sprites.to_tensor(fake), features=features[name])
        assert record["features"][name]["low"] < found < record["features"][name]["high"]
        assert found == pytest.approx(
            record["features"][name]["fid"], rel=0.01
        )  # compiled arithmetic rounds otherwise


def drawing(image):
    """A picture but for its colours and its mirroring."""
    codes = image.astype(int) @ (1 << 16, 1 << 8, 1)
    keys = []
    for side in (codes, codes[:, ::-1]):
        _, first, pattern = np.unique(side, return_index=True, return_inverse=True)
        keys.append(first.argsort().argsort()[pattern.ravel()].tobytes())
    return min(keys)


def test_fresh_pictures_repeat_a_few_of_the_training_and_more_of_its_drawings():
    """What the page of results says of them; the held-out pictures have none of either."""
    denoiser = evaluation.Denoiser("sprites-generated")
    pictures = {image.tobytes() for image in denoiser.train.images}
    drawings = {drawing(image) for image in denoiser.train.images}
    fresh, held_out = denoiser.real_pictures(5000), denoiser.held_out.images
    same = np.mean([image.tobytes() in pictures for image in fresh])
    redrawn = np.mean([drawing(image) in drawings for image in fresh])
    assert 0.003 < same < 0.005 and 0.11 < redrawn < 0.13
    assert not any(drawing(image) in drawings for image in held_out)


def test_every_row_says_what_it_was_made_of():
    for name in results.names(folder=results.FOLDER / "fid"):
        record = results.load(name, results.FOLDER / "fid")
        assert {
            "row",
            "n",
            "recipe",
            "weights_sha256",
            "data_sha256",
            "reference_sha256",
            "features",
            "provenance",
        } <= record.keys()
        network = (record["recipe"] or {}).get("weights", f"sprites-{name.partition('-')[0]}")
        assert record["weights_sha256"] == evaluation.sha256(evaluation.weights_file(network))
        for values in record["features"].values():
            assert values["fid"] >= 0 and (
                "spread" in values or values["low"] <= values["fid"] <= values["high"]
            )


@pytest.mark.parametrize(
    "name",
    [
        "vae-generated",
        "classifier-generated",
        "classifier-dawnlike",
        "distinct-100",
        "distinct-3576",
    ],
)
def test_released_networks_of_the_evaluation_are_those_of_their_records(name):
    record = results.load(f"train-{name}")
    assert evaluation.sha256(evaluation.weights_file(name)) == record["weights_sha256"]
    assert load_pretrained(name).info["settings"] == record["settings"]


def test_the_share_in_class_is_that_of_the_labels_that_were_asked_for():
    """The training pictures themselves, in the order of the labels of a recipe's batches, and in another."""
    denoiser = evaluation.Denoiser()
    recipe = denoiser.recipe("ddim", batch=50)
    rows = [torch.randint(3576, (50,), generator=seeded(i)) for i in range(4)]
    pictures = denoiser.train.images[torch.cat(rows)]
    assert denoiser.in_class(recipe, pictures) > 0.95
    assert denoiser.in_class(recipe, pictures[::-1].copy()) < 0.6
    assert denoiser.in_class(denoiser.recipe("train"), pictures) is None


@pytest.mark.parametrize("source", evaluation.CLASSIFIED)
def test_a_classifier_is_released_for_each_source_that_says_so(source):
    settings = load_pretrained(f"classifier-{source}").info["settings"]
    assert (settings["source"], settings["split"]) == (source, "group")
    record = results.load(f"train-classifier-{source}")
    assert record["history"][-1]["ema_held_out_accuracy"] > 0.75


def test_the_classifier_s_recorded_accuracy():
    _, held_out = sprites.split_by_group(sprites.load_sprites())
    x, labels = held_out.tensors()
    accuracy = (
        (load_pretrained("classifier-generated")(x).argmax(1) == labels).float().mean().item()
    )
    assert accuracy == pytest.approx(
        results.load("train-classifier-generated")["history"][-1]["ema_held_out_accuracy"],
        abs=0.003,
    )
    assert accuracy > 0.95


def test_copying_is_the_statistic_of_mann_and_whitney():
    assert evaluation.copying([0.0, 2.0], [1.0, 2.0, 3.0, 4.0]) == ((4 + 2.5) / 8, 0.5)
    assert evaluation.copying(torch.arange(100.0), torch.arange(100.0)) == (0.5, 0.05)
    record = results.load("copies-distinct-100")
    share, below = evaluation.copying(record["samples"], record["held_out"])
    assert share > 0.9 and below > 0.5
    with pytest.raises(
        ValueError, match=r"held_out must have shape \(N,\) with N >= 1, got \(0,\)"
    ):
        evaluation.copying([1.0], [])
    with pytest.raises(TypeError, match="record must be one of record_copies, got dict"):
        evaluation.closest_samples({"n": 4})
