"""The ledger: records that are whole or not there, their names, and the verdicts on recorded rows."""

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from dgm_helpers import results
from dgm_helpers.results import closer, compare_distances, compare_rows, load_row

ROOT = Path(__file__).parent.parent


def test_record_and_load(tmp_path):
    path = results.record(
        "run", {"loss": 0.1, "name": "Ḟréchet"}, made_with=results.provenance(), folder=tmp_path
    )
    loaded = results.load("run", tmp_path)
    assert path == tmp_path / "run.json" and (loaded["loss"], loaded["name"]) == (0.1, "Ḟréchet")
    assert {"date", "code", "python", "torch", "numpy", "device", "threads"} == loaded[
        "provenance"
    ].keys()
    with pytest.raises(
        ValueError, match=r"name must be a record in .*, one of \['run'\], got 'other'"
    ):
        results.load("other", tmp_path)


@pytest.mark.parametrize(
    "values, error",
    [
        ({"loss": math.nan}, ValueError),
        ({"loss": [1.0, -math.inf]}, ValueError),
        ({"loss": np.float32(1)}, TypeError),
        ({"loss": {1, 2}}, TypeError),
        ({(1, 2): 0}, TypeError),
        ([1, 2], TypeError),
        (None, TypeError),
    ],
)
def test_what_json_cannot_hold_leaves_the_old_record_as_it_was(values, error, tmp_path):
    path = results.record("run", {"loss": 0.1}, made_with={}, folder=tmp_path)
    before = path.read_bytes()
    with pytest.raises(error, match="^values must be a dictionary"):
        results.record("run", values, made_with={}, folder=tmp_path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_a_record_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot write .*run.json: "):
        results.record("run", {}, made_with={}, folder=tmp_path / "file")
    with pytest.raises(OSError, match="cannot write to the folder .*file"):
        results.writable(tmp_path / "file")
    (tmp_path / "taken.json").mkdir()
    with pytest.raises(OSError, match="cannot write .*taken.json: it is a folder"):
        results.record("taken", {}, made_with={}, folder=tmp_path)

    def killed(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        results.record("run", {}, made_with={}, folder=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken.json"]


@pytest.mark.parametrize(
    "name", ["", ".hidden", "..", "a/b", "../up", "/etc/passwd", "a\\b", "C:x", "nul\0"]
)
def test_the_name_of_a_record_is_no_path(name, tmp_path):
    for call in (
        lambda: results.load(name, tmp_path),
        lambda: results.record(name, {}, made_with={}, folder=tmp_path),
    ):
        with pytest.raises(
            ValueError, match="name must be the name of a file, without folders and suffix, got "
        ):
            call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [None, 3, Path("run"), b"run", ["run"]])
def test_the_name_of_a_record_is_a_str(name, tmp_path):
    for call in (
        lambda: results.load(name, tmp_path),
        lambda: results.record(name, {}, made_with={}, folder=tmp_path),
    ):
        with pytest.raises(TypeError, match="name must be a str, got "):
            call()
    with pytest.raises(TypeError, match="folder must be a path, got "):
        results.load("run", 3)


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe", b"[1, 2"])
def test_a_damaged_record_is_named(content, tmp_path):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ValueError, match="run.json is not a whole JSON file"):
        results.load("run", tmp_path)


def test_records_are_utf_8_whatever_the_platform_prefers(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Path,
        "read_text",
        lambda path, encoding=None, errors=None: path.read_bytes().decode(
            encoding or "cp1252", errors or "strict"
        ),
    )
    (tmp_path / "run.json").write_text('{"name": "Ḟréchet"}', encoding="utf-8")
    assert results.load("run", tmp_path) == {"name": "Ḟréchet"}


def test_every_record_of_the_repository_says_where_it_comes_from():
    for folder in (results.FOLDER, results.FOLDER / "fid"):
        names = results.names(folder=folder)
        assert names
        for name in names:
            assert {"date", "code", "device"} <= results.load(name, folder)["provenance"].keys()


def installed(tmp_path, code):
    """The output of a program that finds the package as if installed: without the rest of the clone."""
    shutil.copytree(
        ROOT / "dgm_helpers",
        tmp_path / "site" / "dgm_helpers",
        ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"),
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, encoding="utf-8"
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_without_a_clone_the_errors_say_where_the_records_and_the_labs_are(tmp_path):
    code = """
from dgm_helpers import handout, results
assert results.FOLDER.parent.name == "site"
for call in (
    lambda: results.load("train-sprites-generated"),
    lambda: results.names(),
    lambda: results.load_row("ddim-20", 2000),
    lambda: results.load_rows(2000),
    lambda: results.record("run", {}, made_with={}),
    lambda: results.writable(results.FOLDER / "fid"),
    handout.load_labs,
):
    try:
        call()
    except OSError as error:
        assert "clone of" in str(error), error
    else:
        raise SystemExit("no error")
assert not results.FOLDER.exists()
made_with = results.provenance()
print(made_with["code"])
results.record("run", {}, made_with=made_with, folder="here")
"""
    assert "dgm_helpers" in installed(tmp_path, code) and (tmp_path / "here" / "run.json").exists()


def test_the_provenance_does_not_need_git_and_never_names_another_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert results.provenance()["code"]
    monkeypatch.undo()
    for arguments in (
        ["init", "--quiet"],
        [
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b.c",
            "commit",
            "--allow-empty",
            "--quiet",
            "-m",
            "other",
        ],
    ):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "site-packages").mkdir()
    monkeypatch.setattr(results, "FOLDER", tmp_path / "site-packages" / "results")
    assert results.provenance()["code"].startswith(("dgm_helpers ", "unknown"))


RECIPE = {"sampler": "ddim", "steps": 20, "proposals": None, "stop_at": None, "eps_scale": None}


@pytest.mark.parametrize(
    "recipe, name",
    [
        (None, "real"),
        ({"sampler": "train"}, "train"),
        (RECIPE, "ddim-20"),
        ({**RECIPE, "spacing": "quadratic"}, "quadratic-ddim-20"),
        ({**RECIPE, "eps_scale": 1.005}, "scaled-1.005-ddim-20"),
        ({**RECIPE, "guidance": 2.0, "sampler": "multistep"}, "guided-2-multistep-20"),
        ({**RECIPE, "proposals": "pca", "stop_at": 0, "steps": 0}, "es-pca-0"),
        ({**RECIPE, "proposals": "clusters", "stop_at": 200}, "es-clusters-200-ddim-20"),
        (
            {
                **RECIPE,
                "proposals": "some/vae-generated.safetensors",
                "stop_at": 200,
                "sampler": "ddpm",
            },
            "es-vae-200-ddpm-20",
        ),
    ],
)
def test_the_name_of_a_row_comes_from_its_recipe(recipe, name):
    assert results.row_name(recipe) == name


def test_the_recorded_rows_have_the_names_of_their_recipes():
    folder = results.FOLDER / "fid"
    for name in results.names(folder=folder):
        record = results.load(name, folder)
        assert record["row"] == results.row_name(record["recipe"])
        source = name.removesuffix(f"-{record['row']}-{record['n']}")
        weights = (record["recipe"] or {}).get("weights", source)
        assert source == weights.removeprefix("sprites-")
        assert name == results.row_record(record["row"], record["n"], source)
        assert load_row(record["row"], record["n"], source) == record
    assert results.row_record("ddim-20", 2000, "/data/my sprites") == "my sprites-ddim-20-2000"


def test_rows_of_one_size_come_together_the_floor_first():
    rows = results.load_rows(10_000)
    assert list(rows)[:3] == ["real", "ddim-5", "ddim-10"] and all(
        row["n"] == 10_000 for row in rows.values()
    )
    assert len(rows) == len(results.names("generated-*-10000", results.FOLDER / "fid"))
    for n in (0, 2000.0, "2000", True):
        with pytest.raises((TypeError, ValueError), match="n must be an int of at least 2"):
            results.load_rows(n)
    with pytest.raises(
        ValueError, match="name must be a record in .* got 'generated-ddim-21-2000'"
    ):
        load_row("ddim-21", 2000)


def test_tables_are_markdown():
    assert (
        results.table(["a", "b"], [[1, "x"], [2, "y"]])
        == "| a | b |\n| --- | --- |\n| 1 | x |\n| 2 | y |"
    )
    lines = results.row_table(
        {"DDIM": load_row("ddim-20", 2000), "floor": load_row("real", 2000)}
    ).split("\n")
    assert (
        lines[0]
        == "|  | evaluations | ms | sprite classifier | EfficientNet-Lite0 | 64 components |"
    )
    assert lines[2] == "| DDIM | 20 | 39 | 2.21 (1.45–2.96) | 142 (126–159) | 6.69 (5.91–7.46) |"
    assert lines[3] == "| floor |  |  | 0.623 ± 0.16 | 65.4 ± 1.6 | 3.03 ± 0.17 |"


def test_an_estimate_is_read_from_a_row():
    row = load_row("ddim-20", 2000)
    assert results.estimate(row, "pca") == tuple(
        row["features"]["pca"][part] for part in ("fid", "low", "high")
    )
    with pytest.raises(
        ValueError, match="kind must be one of 'classifier', 'imagenet', 'pca', got str 'inception'"
    ):
        results.estimate(row, "inception")
    with pytest.raises(
        TypeError, match="row must be a row, as load_row returns it, got str 'ddim-20'"
    ):
        results.estimate("ddim-20", "pca")


A, B = ("DDIM", (1.0, 0.9, 1.1)), ("DDPM", (2.0, 1.8, 2.2))
WIDE = ("DDPM", (2.0, 1.1, 2.9))


@pytest.mark.parametrize(
    "first, second, floor, name, said",
    [
        (
            A,
            B,
            0.5,
            "DDIM",
            "DDIM is closer at n = 1000: DDIM 1 (0.9 to 1.1), DDPM 2 (1.8 to 2.2), noise floor 0.5",
        ),
        (B, A, 0.5, "DDIM", "DDIM is closer at n = 1000: DDPM 2"),
        (
            A,
            B,
            1.0,
            None,
            "not distinguishable at n = 1000, the difference is not above the noise floor: DDIM 1",
        ),
        (A, A, 0.0, None, "not distinguishable at n = 1000"),
        (A, WIDE, 0.5, None, "not distinguishable at n = 1000, the intervals overlap: DDIM 1"),
        (WIDE, A, 0.5, None, "not distinguishable at n = 1000, the intervals overlap: DDPM 2"),
    ],
)
def test_a_comparison_claims_no_more_than_floor_and_intervals_allow(
    first, second, floor, name, said
):
    assert closer(*first, *second, floor=floor) == name
    sentence = compare_distances(*first, *second, floor=floor, n=1000)
    assert sentence.startswith(said)
    assert "closer" not in sentence or "not distinguishable" not in sentence


def test_one_of_many_comparisons_needs_a_larger_difference():
    """Two equal intervals of half-width 1.96: standard errors of 1 each, and of √2 together."""
    for comparisons, z in ((1, 2 * 1.96 / 2**0.5), (9, 2.773), (100, 3.481), (400, 3.836)):
        for difference, said in ((z * 2**0.5 - 0.01, None), (z * 2**0.5 + 0.01, "DDIM")):
            estimates = [(d, d - 1.96, d + 1.96) for d in (5, 5 + difference)]
            one, other = ("DDIM", estimates[0]), ("DDPM", estimates[1])
            for pair in ((*one, *other), (*other, *one)):
                assert closer(*pair, floor=0.1, comparisons=comparisons) == said
    near, far = ("DDIM", (5.0, 4.0, 5.1)), ("DDPM", (6.0, 5.9, 7.0))
    assert (
        closer(*near, *far, floor=0.1, comparisons=10**6) == "DDIM"
    )  # the sides that face each other count
    with pytest.raises(ValueError, match="comparisons must be an int of at least 1, got 0"):
        closer(*near, *far, floor=0.1, comparisons=0)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: closer(*A, *B, floor=-1.0),
            ValueError,
            "floor must be a finite number of at least 0, got -1",
        ),
        (lambda: closer(*A, *B, floor=math.nan), ValueError, "floor must be a finite number"),
        (lambda: closer(*A, *B, floor="0.1"), TypeError, "floor must be a finite number"),
        (
            lambda: closer(*A, "DDPM", (2.0, 2.1, 2.2), floor=0.1),
            ValueError,
            "estimate2 must be finite .* low <= distance",
        ),
        (
            lambda: closer(*A, "DDPM", (math.nan,) * 3, floor=0.1),
            ValueError,
            "estimate2 must be finite",
        ),
        (lambda: closer(*A, "DDPM", (2.0, 1.0), floor=0.1), ValueError, "estimate2 must be finite"),
        (
            lambda: closer(*A, "DDPM", 2.0, floor=0.1),
            TypeError,
            "estimate2 must be finite .*, got float 2.0",
        ),
        (
            lambda: closer("DDIM", ("1", "0", "2"), *B, floor=0.1),
            TypeError,
            "estimate1 must be finite",
        ),
        (lambda: closer(A[1], *B, B[1], floor=0.1), TypeError, "name1 must be a str, got tuple"),
        (
            lambda: compare_distances(*A, *B, floor=0.1, n=1),
            ValueError,
            "n must be an int of at least 2, got 1",
        ),
        (
            lambda: compare_distances(*A, *B, floor=0.1, n="9"),
            TypeError,
            "n must be an int of at least 2",
        ),
        (
            lambda: compare_rows(None, {}, {}),
            TypeError,
            "one must be a row, as load_row returns it, got None",
        ),
        (lambda: compare_rows(row("a", 1, 2), "ddim-20", {}), TypeError, "other must be a row"),
        (lambda: compare_rows({"features": {}}, {}, {}), TypeError, "one must be a row"),
        (lambda: results.row_table(["ddim-20"]), TypeError, "rows must be a dictionary from title"),
        (lambda: results.row_table({"a": "ddim-20"}), TypeError, "row must be a row, as load_row"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def row(name, *distances, n=10, reference="a"):
    features = {
        kind: {"fid": d, "low": d - 1, "high": d + 1}
        for kind, d in zip(("classifier", "pca"), distances, strict=False)
    }
    return {"row": name, "n": n, "reference_sha256": reference, "features": features}


def test_two_rows_are_ordered_only_where_every_feature_set_orders_them():
    floor, near, far = row("real", 0.5, 0.5), row("near", 5, 20), row("far", 9, 30)
    expected = {"classifier": "near", "pca": "near", "all": "near"}
    assert compare_rows(near, far, floor) == compare_rows(far, near, floor) == expected
    assert compare_rows(near, row("mixed", 9, 10), floor) == {
        "classifier": "near",
        "pca": "mixed",
        "all": None,
    }
    assert compare_rows(near, row("overlap", 6, 30), floor) == {
        "classifier": None,
        "pca": "near",
        "all": None,
    }
    assert compare_rows(near, far, row("real", 5, 5)) == {
        "classifier": None,
        "pca": "near",
        "all": None,
    }
    assert compare_rows(near, near, floor) == {"classifier": None, "pca": None, "all": None}
    with pytest.raises(ValueError, match=r"must agree in n, got \[10, 20\]"):
        compare_rows(near, row("far", 9, 30, n=20), floor)
    with pytest.raises(ValueError, match=r"must agree in reference_sha256, got \['a', 'b'\]"):
        compare_rows(near, far, row("real", 5, 5, reference="b"))
    with pytest.raises(ValueError, match="must have the same feature sets"):
        compare_rows(near, row("far", 9), floor)
    recorded = ("quadratic-ddim-5", "ddpm-1000")
    expected = dict.fromkeys((*results.KINDS, "all"), "ddpm-1000")
    assert results.verdict(*recorded, 2000) == expected
    assert results.verdict(*recorded, 2000, 400) == {**expected, "classifier": None, "all": None}
    assert compare_rows(*(load_row(name, 2000) for name in (*recorded, "real"))) == expected


def test_on_dawnlike_no_distance_tells_two_samplers_apart_but_the_classifier_sees_ddpm_ahead():
    rows = results.load_rows(200, "dawnlike")
    samplers = [row for name, row in rows.items() if name not in ("real", "train")]
    assert len(samplers) >= 6
    for i, one in enumerate(samplers):
        for other in samplers[:i]:
            assert set(compare_rows(one, other, rows["real"]).values()) == {None}
    shares = {
        sampler: [row["in_class"] for row in samplers if row["recipe"]["sampler"] == sampler]
        for sampler in ("ddpm", "ddim")
    }
    assert len(shares["ddpm"]) == 3 and len(shares["ddim"]) == 4
    one, other = min(shares["ddpm"]), max(shares["ddim"])
    assert one - other > 2 * math.sqrt((one * (1 - one) + other * (1 - other)) / 200)


def test_the_cheapest_row_that_is_as_good():
    """Of four rows the third is behind in the second set only, and the first, by luck, in none but the first."""
    floor, target = row("real", 0.1, 0.1), row("target", 5, 5)

    def steps(n, *distances):
        return {**row(f"steps-{n}", *distances), "recipe": {"steps": n}}

    rows = [steps(10, 9, 5), steps(40, 5, 5), steps(20, 5, 9), steps(80, 5.5, 5.5)]
    found = results.fewest_evaluations(rows, target, floor)
    assert {kind: best["row"] for kind, best in found.items()} == {
        "classifier": "steps-20",
        "pca": "steps-40",
    }
    assert results.fewest_evaluations([steps(80, 9, 5)], target, floor)["classifier"] is None
    guided = {**rows[0], "recipe": {"steps": 10, "guidance": 2.0}}
    assert [results.evaluations(r) for r in (rows[1], guided, floor)] == [40, 20, 0]
    for wrong in ([], target, ["steps-10"]):
        with pytest.raises(TypeError, match="rows must be a"):
            results.fewest_evaluations(wrong, target, floor)


NETWORKS = (
    "sprites",
    "correction",
    "faded",
    "fourier",
    "plain",
)  # of the generated set, from the best on


@pytest.mark.parametrize("row", ["ddim-50", "ddpm-100"])
def test_the_better_a_network_knows_the_colours_the_more_pixels_have_one(row):
    rows = [load_row(row, 2000, f"{name}-generated") for name in NETWORKS[1:]]
    shares = [found["on_palette"] for found in (load_row(row, 2000), *rows)]
    assert shares[0] > 0.9 and shares[-1] < 0.05 and shares == sorted(shares, reverse=True)
    floor, head = load_row("real", 2000), load_row(row, 2000)
    for found in rows:  # and the distances tell none apart
        assert set(compare_rows(head, {**found, "row": "other"}, floor).values()) == {None}


def test_by_kid_the_networks_that_know_the_palette_are_ahead_of_the_waves():
    least = NormalDist().inv_cdf(1 - 0.05 / 2 / 1000)  # one of a thousand comparisons
    rows = {name: load_row("ddim-50", 2000, f"{name}-generated") for name in NETWORKS[1:]}
    rows["sprites"] = load_row("ddim-50", 2000)
    found = {name: row["features"]["imagenet"] for name, row in rows.items()}
    waves = found["fourier"]
    for name in ("sprites", "correction", "faded"):
        other = found[name]
        joint = math.hypot(waves["kid_standard_error"], other["kid_standard_error"])
        assert waves["kid"] - other["kid"] > least * joint


def test_the_head_is_ahead_of_other_ways_to_the_colours():
    """What chapter 4 says of the networks with waves and with a correction, faded or not."""
    last = [
        results.load(f"train-{name}-generated")["history"][-1]["ema_held_out_loss"]
        for name in NETWORKS
    ]
    bits = [results.load(f"elbo-{name}-generated")["small"]["bits_per_value"] for name in NETWORKS]
    assert last == sorted(last) and bits == sorted(bits)
    records = {name: results.load(f"yardsticks-{name}-generated") for name in NETWORKS}
    losses = {name: record["predictors"]["network"]["loss"] for name, record in records.items()}
    losses["table"] = records["plain"]["predictors"]["palette"]["loss"]
    at = {
        t: {name: loss[i] for name, loss in losses.items()}
        for i, t in enumerate(records["plain"]["t"])
    }
    assert 0.55 < at[1]["fourier"] / at[1]["plain"] < 0.65
    for t, loss in at.items():
        if t <= 10:
            assert loss["fourier"] > 5 * loss["table"]
        if t >= 10:
            assert loss["correction"] < min(loss["table"], loss["fourier"])
        else:
            assert abs(loss["correction"] / loss["table"] - 1) < 0.4
        assert loss["faded"] > loss["correction"]
        if t >= 60:
            assert abs(loss["faded"] / loss["fourier"] - 1) < 0.03
        if t >= 200:
            assert abs(loss["correction"] / loss["sprites"] - 1) < 0.05
        else:
            assert loss["sprites"] < 0.85 * loss["correction"]
