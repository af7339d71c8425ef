"""The command line: what it writes, and that bad input is one line that leaves nothing behind."""

import hashlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from dgm_helpers import evaluation, recipes, results
from dgm_helpers.__main__ import main, named
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


def pictures(folder):
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]).astype(
        int
    )


def test_data_writes_a_folder_that_loads_as_the_same_set(tmp_path, capsys):
    main(["data", "--out", str(tmp_path / "png")])
    printed = capsys.readouterr().out
    assert (
        "4470 pictures (400 human, 1620 non-human, 300 food, 1750 spell, 400 side-facing)"
        in printed
    )
    written, drawn = load_sprites(tmp_path / "png"), load_sprites()
    assert sorted(written.images.reshape(4470, -1).tolist()) == sorted(
        drawn.images.reshape(4470, -1).tolist()
    )
    assert sorted(written.classes) == sorted(drawn.classes)
    names = np.array(written.classes)[written.labels]
    assert {name: int((names == name).sum()) for name in drawn.classes} == dict(
        zip(drawn.classes, np.bincount(drawn.labels).tolist(), strict=True)
    )


def test_sample_writes_the_same_pictures_for_the_same_seed(tmp_path, weights):
    options = [
        "--weights",
        weights,
        "--steps",
        "3",
        "--n",
        "7",
        "--batch",
        "5",
        "--seed",
        "1",
        "--sheet",
        str(tmp_path / "new" / "sheet.PNG"),
    ]
    for folder in ("a", "b"):
        main(["sample", *options, "--out", str(tmp_path / folder)])
    names = [f"{i:05d}.png" for i in range(7)]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    assert all(
        (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        for name in names
    )
    assert Image.open(tmp_path / "a" / names[0]).size == (16, 16)
    assert Image.open(tmp_path / "new" / "sheet.PNG").size == (3 * (20 * 18 + 2), 3 * 20)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["sheet.PNG"]
    main(
        [
            "sample",
            *options[:-2],
            "--sheet",
            str(tmp_path / "c" / "sheet.png"),
            "--out",
            str(tmp_path / "c"),
        ]
    )
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [*names, "sheet.png"]


@pytest.mark.parametrize(
    "options",
    [[], ["--eta", "1"], ["--sampler", "ddpm"], ["--spacing", "karras", "--eta", "0.5"]],
)
def test_pictures_are_the_same_whatever_the_batch(options, tmp_path):
    for batch in ("1", "3", "4"):
        main(
            [
                "sample",
                "--n",
                "4",
                "--steps",
                "2",
                "--batch",
                batch,
                *options,
                "--out",
                str(tmp_path / batch),
            ]
        )
    one, three, four = (pictures(tmp_path / batch) for batch in ("1", "3", "4"))
    assert np.abs(one - four).max() <= 1 and np.abs(three - four).max() <= 1
    assert min(np.abs(four[i] - four[j]).max() for i in range(4) for j in range(i)) > 8


def test_another_seed_gives_other_pictures(tmp_path, weights):
    for seed in ("0", "1", "4294967295"):
        main(
            [
                "sample",
                "--weights",
                weights,
                "--n",
                "2",
                "--steps",
                "1",
                "--seed",
                seed,
                "--out",
                str(tmp_path / seed),
            ]
        )
    zero, one, last = (pictures(tmp_path / seed) for seed in ("0", "1", "4294967295"))
    assert all((a != b).any() for a, b in ((zero, one), (zero, last), (one, last)))


SAMPLE = ["sample", "--out", "x"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["data", "--source", "nowhere"], "--source must be .*'nowhere'"),
        (["data", "--source", "nowhere", "--out", "x"], "--source must be .*'nowhere'"),
        (
            [*SAMPLE, "--weights", "nowhere"],
            "--weights must be a released network or .*, got .*'nowhere'",
        ),
        (
            [*SAMPLE, "--weights", "vae-generated"],
            "--weights must hold a UNet, got vae-generated, which holds a VAE",
        ),
        (
            [*SAMPLE, "--weights", "classifier-generated"],
            "--weights must hold a UNet, .* holds a SpriteClassifier",
        ),
        ([*SAMPLE, "--weights", "no.safetensors"], ".*no.safetensors"),
        ([*SAMPLE, "--n", "0"], "--n must be an int in 1…100000, got 0"),
        ([*SAMPLE, "--n", "100001"], "--n must be an int in 1…100000, got 100001"),
        ([*SAMPLE, "--batch", "0"], "--batch must be an int of at least 1, got 0"),
        ([*SAMPLE, "--batch", "-3"], "--batch must be an int of at least 1, got -3"),
        ([*SAMPLE, "--steps", "0"], "--steps must be an int in 1…1000, got 0"),
        ([*SAMPLE, "--steps", "1001"], "--steps must be an int in 1…1000, got 1001"),
        ([*SAMPLE, "--sampler", "ddpm", "--steps", "0"], "--steps must be an int in 1…1000, got 0"),
        (
            [*SAMPLE, "--eta", "1.5"],
            "--eta must be a finite number of at least 0 and of at most 1, got 1.5",
        ),
        ([*SAMPLE, "--eta", "nan"], "--eta must be a finite number"),
        (
            [*SAMPLE, "--sampler", "ddpm", "--eta", "0"],
            "--eta must not be given with the sampler ddpm, got 0.0",
        ),
        ([*SAMPLE, "--seed", "-1"], "--seed must be an int in 0…4294967295, got -1"),
        (
            [*SAMPLE, "--seed", "100000000000000000000000"],
            "--seed must be an int in 0…4294967295, got 1000",
        ),
        ([*SAMPLE, "--sheet", "sheet"], "--sheet must be the path of a .png file, got sheet"),
        (
            [*SAMPLE, "--sheet", "sheet.jpg"],
            "--sheet must be the path of a .png file, got sheet.jpg",
        ),
        ([*SAMPLE, "--sheet", "."], "--sheet must be the path of a file"),
        ([*SAMPLE, "--sheet", "/proc/sheet.png"], ".*cannot write /proc/sheet.png"),
        (["sample", "--out", "/proc/new"], "cannot write to the folder /proc/new"),
        ([*SAMPLE, "--sheet", "x"], "--sheet must be the path of a .png file"),
        (["sample"], "the following arguments are required: --out"),
        ([*SAMPLE, "--n", "two"], "argument --n: invalid int value: 'two'"),
        ([*SAMPLE, "--sampler", "euler"], "argument --sampler: invalid choice: 'euler'"),
        (["draw"], "argument command: invalid choice: 'draw'"),
        (["evaluate"], "the following arguments are required: measure"),
        (["evaluate", "bound", "--n", "1"], "--n must be an int in 2…1000000, got 1"),
        (["evaluate", "bound", "--batch", "0"], "--batch must be an int of at least 1, got 0"),
        (["evaluate", "bound", "--seed", "-1"], "--seed must be an int in 0…4294967295, got -1"),
        (
            ["evaluate", "bound", "--n", "895", "--out", "x"],
            "--n must be at most 894, the number of held-out pictures, got 895",
        ),
        (
            ["evaluate", "copies", "--n", "3", "--batch", "0"],
            "--batch must be an int of at least 1, got 0",
        ),
        (
            ["evaluate", "copies", "--n", "0", "--batch", "1"],
            "--n must be an int in 1…1000000, got 0",
        ),
        (["evaluate", "copies", "--n", "150"], "--n must be a multiple of batch = 100, got 150"),
        (
            ["evaluate", "copies", "--steps", "0", "--out", "x"],
            "--steps must be an int in 1…1000, got 0",
        ),
        (["evaluate", "copies", "--threads", "0"], "--threads must be an int in 1…1024, got 0"),
        (["train", "--epochs", "0"], "--epochs must be an int of at least 1, got 0"),
        (["train", "--threads", "0"], "--threads must be an int in 1…1024, got 0"),
        (["train", "--distinct", "0"], "--distinct must be an int of at least 1, got 0"),
        (["train", "--batch-size", "0"], "--batch-size must be an int of at least 1, got 0"),
        (["train", "--ema-decay", "1"], "--ema-decay must be a finite number .* below 1, got 1.0"),
        (["train", "--lr", "0"], "--lr must be a finite number above 0, got 0.0"),
        (["train", "--seed", "-1"], "--seed must be an int in .*, got -1"),
        (["train", "--name", "a/b"], "--name must be"),
    ],
)
def test_errors_are_one_line_and_leave_no_files(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"^error: {message}") as ended:
        main(arguments)
    assert "\n" not in ended.value.code and "it/s" not in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_folder_must_be_new_or_empty_and_stays_as_it_was(tmp_path, weights, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "sheet.png").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for command in (
        ["sample", "--weights", weights, "--steps", "1", "--n", "1"],
        ["data"],
        ["handout"],
    ):
        for out, message in (
            (".", "--out must be a new or empty folder, got "),
            ("file", "cannot write to the folder file: File exists"),
        ):
            with pytest.raises(SystemExit, match=f"^error: {message}"):
                main([*command, "--out", out])
    sample = ["sample", "--weights", weights, "--steps", "1", "--n", "1"]
    with pytest.raises(
        SystemExit, match="^error: --sheet must be the path of a file, got the folder"
    ):
        main([*sample, "--out", "new", "--sheet", "sheet.png"])

    def broken(*arguments, **options):
        raise ValueError("x became NaN")

    monkeypatch.setattr(evaluation, "draw_each", broken)
    for out in ("new", "empty"):
        with pytest.raises(SystemExit, match="^error: x became NaN"):
            main([*sample, "--out", out, "--sheet", "other.png"])
    assert sorted(tmp_path.rglob("*")) == before
    monkeypatch.undo()
    main([*sample, "--out", str(tmp_path / "empty")])
    assert [path.name for path in (tmp_path / "empty").iterdir()] == ["00000.png"]


def test_a_failure_to_write_the_sheet_or_a_picture_leaves_nothing(tmp_path, weights, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(SystemExit, match="^error: .*No space left on device"):
        main(
            [
                "sample",
                "--weights",
                weights,
                "--steps",
                "1",
                "--n",
                "2",
                "--out",
                str(tmp_path / "o"),
                "--sheet",
                str(tmp_path / "s.png"),
            ]
        )
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_ctrl_c_is_one_line_and_leaves_nothing(tmp_path):
    command = [
        sys.executable,
        "-m",
        "dgm_helpers",
        "sample",
        "--sampler",
        "ddpm",
        "--n",
        "100",
        "--batch",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    run = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # what a shell starts in the background, and all that this starts, ignores Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (tmp_path / "out").exists():
        assert run.poll() is None
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    said = run.communicate(timeout=120)[1]
    assert run.returncode == 130 and "Traceback" not in said
    assert said.splitlines()[-1] == "interrupted" and list(tmp_path.iterdir()) == []


def test_without_arguments_the_help_is_printed(capsys):
    main([])
    printed = capsys.readouterr().out
    assert all(command in printed for command in ("train", "data", "sample", "evaluate", "handout"))


def test_messages_name_the_arguments_as_they_are_typed():
    names = {"stop_at", "n", "seed"}
    assert (
        named("stop_at and n must be given together", names)
        == "--stop-at and --n must be given together"
    )
    assert (
        named("/data/seed/n.png must be 16x16 pixels", names)
        == "/data/seed/n.png must be 16x16 pixels"
    )
    assert named("the loss became nan at step n", names) == "the loss became nan at step n"


def test_train_passes_every_argument_on(monkeypatch, capsys):
    given = {}
    monkeypatch.setattr(
        recipes, "train_sprites", lambda **options: given.update(options) or ("weights", "record")
    )
    main(["train", "--network", "vae", "--ema-decay", "0.5", "--distinct", "7", "--threads", "1"])
    assert (given["network"], given["ema_decay"], given["distinct"], given["threads"]) == (
        "vae",
        0.5,
        7,
        1,
    )
    assert (given["source"], given["epochs"], given["channels"], given["out"]) == (
        "generated",
        500,
        (24, 48, 72),
        "runs",
    )
    assert capsys.readouterr().out == "wrote weights and record\n"


def test_evaluate_records_the_bound_on_held_out_pictures(tmp_path, capsys, monkeypatch):
    short = NoiseSchedule.linear(20, 0.005, 0.5)  # 1,000 steps would take a minute
    monkeypatch.setattr(NoiseSchedule, "linear", classmethod(lambda cls: short))
    data, net = load_sprites(), UNet((8, 8, 8))
    settings = {"source": "generated", "split": "group", "data_sha256": data.sha256}
    save_pretrained(tmp_path / "net.safetensors", net, {"settings": settings})
    arguments = [
        "evaluate",
        "bound",
        "--weights",
        str(tmp_path / "net.safetensors"),
        "--n",
        "2",
        "--seed",
        "3",
        "--out",
        str(tmp_path),
    ]
    main(arguments)
    first = results.load("elbo-net", tmp_path)
    main(arguments)
    second = results.load("elbo-net", tmp_path)
    for variance in ("small", "large"):
        assert first[variance] == second[variance] and len(first[variance]["terms"]) == 21
        assert sum(first[variance]["terms"]) == pytest.approx(first[variance]["bits_per_value"])
        assert sum(first[variance]["pictures"]) == pytest.approx(
            2 * first[variance]["bits_per_value"]
        )
    assert first["small"]["terms"][-1] == first["large"]["terms"][-1] > 0  # the prior's term
    assert "bits per value" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name, epochs",
    [
        ("sprites-dawnlike", 500),
        ("sprites-generated", 500),
        ("plain-generated", 500),
        ("fourier-generated", 500),
        ("correction-generated", 500),
        ("faded-generated", 500),
        ("weighting-simple", 40),
        ("weighting-elbo", 40),
    ],
)
def test_released_weights_are_those_of_their_records(name, epochs):
    record, model = results.load(f"train-{name}"), load_pretrained(name)
    weights = results.FOLDER.parent / "dgm_helpers" / "weights" / f"{name}.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == record["weights_sha256"]
    assert model.info["settings"] == record["settings"] and model.info["steps"] == record["steps"]
    assert results.load(f"elbo-{name}")["weights_sha256"] == record["weights_sha256"]
    assert len(record["history"]) == epochs and model.info["credit"] == record["credit"]


def test_every_row_has_its_command(monkeypatch):
    """What ``tools/records.py`` prints for a record of distances asks for the recipe that stands in it."""
    monkeypatch.syspath_prepend(str(results.FOLDER.parent / "tools"))
    import records  # noqa: PLC0415

    denoiser, asked = evaluation.Denoiser(), []
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    monkeypatch.setattr(evaluation, "Denoiser", lambda *_, **__: denoiser)
    monkeypatch.setattr(evaluation, "record_distances", lambda *a, **k: asked.append((a, k)) or [])
    rows = [path for path in records.records() if path.parent.name == "fid"]
    assert len(rows) == len(list((results.FOLDER / "fid").glob("*.json")))
    for path in rows:
        record = results.load(path.stem, path.parent)
        main(records.arguments(path))
        (_, [recipe]), options = asked.pop()
        assert options["n"] == record["n"] and results.row_name(recipe) == record["row"]
        if path.stem.startswith("generated") and "weights" in (recipe or {}):
            assert recipe == {**record["recipe"], "compiled": denoiser.compiled}, path.stem
    others = {records.arguments(path)[1] for path in records.records()}
    assert others == {"bound", "copies", "export", "fid", "yardsticks"}


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
    assert (
        plot_samples(images, columns=5, title="five", row_labels=["row"]).axes[0].get_title()
        == "five"
    )
    axes = plot_loss(
        [{"epoch": 1, "a": 1.0}, {"epoch": 2, "a": 0.5}], keys=["a"], labels=["loss"]
    ).axes[0]
    assert axes.lines[0].get_ydata().tolist() == [1.0, 0.5]
