"""The habits of the repository: one format, labs that one command stores, and papers for maintainers that are true."""

import importlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
import torch
import yaml

from dgm_helpers import arguments, diffusion, mixtures, samplers, schedules

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in (ROOT / ".github" / "workflows").glob("*.yml")
}

spec = importlib.util.spec_from_file_location("labs", ROOT / "tools" / "labs.py")
labs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(labs)


@pytest.mark.parametrize("command", ["check", "format --check"])
def test_ruff_finds_nothing(command):
    ruff = Path(sys.executable).parent / "ruff"
    run = subprocess.run(
        [ruff, *command.split(), "--quiet", ROOT], capture_output=True, text=True, encoding="utf-8"
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]


def lab(path, *sources):
    """Write a notebook with code cells and an exercise's metadata in the first; returns the path."""
    cells = [
        {
            "cell_type": "code",
            "id": f"c{i}",
            "metadata": {} if i else {"nbgrader": {"grade_id": "one", "points": 2}},
            "source": source,
            "outputs": [],
            "execution_count": 7,
        }
        for i, source in enumerate(sources)
    ]
    path.write_text(
        json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}),
        encoding="utf-8",
    )
    return path


def test_a_lab_is_run_in_its_folder_and_stored_the_same_each_time(tmp_path):
    (tmp_path / "beside.txt").touch()
    show = "import os\nprint(os.listdir())\nprint('é')"
    path = lab(tmp_path / "01_a.ipynb", show, "", "1 + 1")
    labs.run(path)
    stored = path.read_bytes()
    book = json.loads(stored.decode("utf-8"))
    first, empty, last = book["cells"]
    assert [cell["id"] for cell in book["cells"]] == ["c0", "c1", "c2"]
    assert first["metadata"] == {"nbgrader": {"grade_id": "one", "points": 2}}
    (printed,) = first["outputs"]
    assert "beside.txt" in printed["text"][0] and printed["text"][1] == "é\n"
    assert last["outputs"][0]["data"] == {"text/plain": ["2"]}
    assert [cell["execution_count"] for cell in book["cells"]] == [1, None, 2]
    assert empty["outputs"] == []
    committed = json.loads((ROOT / "notebooks" / "01_forward.ipynb").read_text(encoding="utf-8"))
    assert book["metadata"] == committed["metadata"]
    labs.run(path)
    assert path.read_bytes() == stored


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise ValueError('broken')", "ValueError: broken"),
        ("import sys; print('careful', file=sys.stderr)", "c1 printed to stderr:\ncareful"),
        ("import os; os._exit(1)", "died"),
    ],
)
def test_a_lab_that_fails_keeps_its_file(tmp_path, source, message):
    path = lab(tmp_path / "01_a.ipynb", "1 + 1", source)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match=message):
        labs.run(path)
    assert path.read_bytes() == before


def test_one_bad_lab_does_not_keep_the_others_from_being_stored(tmp_path, capsys, monkeypatch):
    bad, good = lab(tmp_path / "01_a.ipynb", "1 / 0"), lab(tmp_path / "02_b.ipynb", "1 + 1")
    monkeypatch.setattr(labs, "named", lambda names: [bad, good])
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):  # as they were, after the test
        monkeypatch.setenv(name, "")
    with pytest.raises(SystemExit, match="not stored: 01_a.ipynb"):
        labs.main([])
    out = capsys.readouterr().out
    assert "01_a.ipynb: not stored" in out and "ZeroDivisionError" in out and "\x1b" not in out
    assert re.search(r"^02_b.ipynb: \d+ s$", out, re.M)
    assert json.loads(good.read_text(encoding="utf-8"))["cells"][0]["execution_count"] == 1


def test_labs_are_named_by_their_beginnings(capsys):
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert labs.named([]) == [*notebooks, ROOT / "book" / "results.ipynb"]
    assert labs.named(["05", "results", "01"]) == [
        notebooks[0],
        notebooks[4],
        ROOT / "book" / "results.ipynb",
    ]
    with pytest.raises(SystemExit):
        labs.main(["5"])
    assert "no lab begins with '5'; there are 01_forward, " in capsys.readouterr().err


def test_help_names_every_target_of_the_makefile():
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.M)
    targets = set(re.findall(r"^(\w+):", MAKEFILE, re.M))
    assert targets == set(phony.split())
    assert set(re.findall(r'"make (\w+)', MAKEFILE)) == targets - {"help"}
    text = CONTRIBUTING + (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`make (?:PYTHON=\S+ )?(\w+)", text)) <= targets


def test_every_job_has_a_time_limit_and_few_rights():
    assert WORKFLOWS.keys() == {"ci", "weekly"}
    for workflow in WORKFLOWS.values():
        assert workflow["permissions"] == {"contents": "read"}
        jobs = {name for name, job in workflow["jobs"].items() if "permissions" in job}
        assert jobs <= {"publish"}
        assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())


def test_a_change_is_tested_once_on_two_pythons_and_only_the_main_branch_is_published():
    ci = WORKFLOWS["ci"]
    assert ci[True] == {"push": {"branches": ["main"]}, "pull_request": None}  # YAML reads "on"
    test, publish = ci["jobs"]["test"], ci["jobs"]["publish"]
    assert test["strategy"]["matrix"] == {"python": ["3.11", "3.13"]}
    first, *others = [step for step in test["steps"] if "run" in step]
    assert first == {"run": "make test"}  # which builds the book where the pages are taken from
    assert all("github.event_name == 'push'" in step["if"] for step in others)
    assert publish["needs"] == "test" and publish["if"] == "github.event_name == 'push'"


def test_the_weekly_run_takes_the_newest_versions(tmp_path):
    (edit,) = (
        step["run"]
        for step in WORKFLOWS["weekly"]["jobs"]["unpinned"]["steps"]
        if "sed" in step.get("run", "")
    )
    (tmp_path / "requirements.txt").write_text(
        "torch==2.13.0\njupyter-book==1.0.4.post1\nruff==0.17.6\n", encoding="utf-8"
    )
    if shutil.which("sed") is None:
        pytest.skip("sed is not installed")
    subprocess.run(edit, shell=True, cwd=tmp_path, check=True)
    lines = (tmp_path / "requirements.txt").read_text(encoding="utf-8").split()
    assert lines == ["torch", "jupyter-book<2", "ruff==0.17.6"]


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.search(r"^## (\S+)", CHANGELOG, re.M)[1]
    assert project["version"] == newest == str(citation["version"])


def test_contributing_names_files_that_exist():
    names = re.findall(r"`([\w/.]+\.(?:md|toml|cff|yml|py|json))`", CONTRIBUTING)
    assert len(names) > 10
    assert not [name for name in names if "NN" not in name and not (ROOT / name).exists()]


def test_the_sampler_of_contributing_passes_its_test():
    step, test = (
        textwrap.dedent(block) for block in re.findall(r"```python\n(.*?)```", CONTRIBUTING, re.S)
    )
    names = {"torch": torch}
    for module in (arguments, diffusion, mixtures, samplers, schedules):
        names |= vars(module)
    exec(step + test, names)
    names["test_the_flow_carries_noise_to_the_gaussian"]()
    names["flow_step"] = samplers.ddpm_step
    with pytest.raises((AssertionError, TypeError)):
        names["test_the_flow_carries_noise_to_the_gaussian"]()


def test_names_stand_where_the_newest_part_of_the_changelog_says():
    newest = next(part for part in CHANGELOG.split("\n## ") if "\n|---|---|\n" in part)
    rows = re.findall(r"^\| (`.*) \| (`.*) \|$", newest, re.M)
    assert len(rows) > 20
    for old, new in rows:
        moved = [names(old) - names(new), names(new)]
        for there, codes in enumerate(moved):
            for module, name in codes:
                module = importlib.import_module(f"dgm_helpers.{module}")
                home = getattr(getattr(module, name, None), "__module__", None)
                assert (home == module.__name__) == there, f"{module.__name__}.{name}"


def names(cell):
    """The pairs (module, function) of one cell of the changelog's table."""
    pairs = re.findall(r"`(\w+)\.(\w+)[^`]*`", cell)
    return {(module, name) for module, name in pairs if module != "torch"}
