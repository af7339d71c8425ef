"""The ledger of recorded runs: JSON files, each with where its numbers come from, and what the book says about them.

A *row* is the record of one sampler's distances to real pictures, in several feature sets; "real" is the row of
the noise floor. The book's records lie in ``results/`` of a clone of its repository, not in the installed
package.

Wrong kinds and values raise TypeError or ValueError naming the argument.
"""

import json
import math
import os
import platform
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import NormalDist

import numpy as np
import torch

from .arguments import described, require_int, require_json, require_number

FOLDER = Path(__file__).parent.parent / "results"
KINDS = {
    "classifier": "sprite classifier",
    "imagenet": "EfficientNet-Lite0",
    "pca": "64 components",
}  # of features, with titles


def provenance():
    """What a run was made with: date, code version, library versions, processor and threads."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": _code_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": f"cpu ({_processor()})",
        "threads": torch.get_num_threads(),
    }


def _code_version():
    """The commit, where the package is part of a clone and git is at hand, else the version of the package."""
    if (FOLDER.parent / ".git").exists():
        try:
            command = ["git", "describe", "--always", "--dirty"]
            git = subprocess.run(
                command, cwd=FOLDER.parent, capture_output=True, encoding="utf-8", errors="replace"
            )
            if git.returncode == 0 and git.stdout.strip():
                return git.stdout.strip()
        except OSError:
            pass
    try:
        return f"dgm_helpers {version('dgm_helpers')}"
    except PackageNotFoundError:
        return "unknown"


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names and names[0] else platform.machine()


def record(name, values, *, made_with, folder=FOLDER):
    """Write the dictionary ``values`` and its :func:`provenance` to ``folder/name.json``; returns the path.

    The file is written whole or not at all. OSError if the folder cannot be written.
    """
    path = _path(name, folder)
    values = {**require_json("values", values), "provenance": require_json("made_with", made_with)}
    with whole_file(path) as file:
        file.write(f"{json.dumps(values, indent=1)}\n".encode())
    return path


def kept(name, made_of, compute, *, folder):
    """What ``compute()`` returns, JSON-able, kept in ``folder/name.json``: a killed evaluation continues with it.

    Computed anew where the file is missing or was made of anything but the dictionary ``made_of``.
    """
    path = _path(name, folder)
    before = load(name, folder) if path.exists() else {}
    if before.get("made_of") == made_of:
        return before["found"]
    found = compute()
    with whole_file(path) as file:
        file.write(json.dumps({"made_of": made_of, "found": found}).encode())
    return found


def load(name, folder=FOLDER):
    """Read the record ``name`` of a folder; ValueError, with the known names, if there is none."""
    path = _path(name, folder)
    if not path.exists():
        raise ValueError(
            f"name must be a record in {folder}, one of {names('*', folder)}, got {name!r}"
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a whole JSON file: {error}") from error


def names(pattern="*", folder=FOLDER):
    """The names of the records in a folder that fit a pattern such as ``"elbo-*"``, sorted."""
    if not isinstance(pattern, str):
        raise TypeError(f"pattern must be a str, got {described(pattern)}")
    if "**" in pattern or any(character in pattern for character in "/\\:\0"):
        raise ValueError(f"pattern must be that of a file's name, without folders, got {pattern!r}")
    return sorted(path.stem for path in _folder(folder).glob(f"{pattern}.json"))


def _path(name, folder):
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, got {described(name)}")
    if not name or name.startswith(".") or any(character in name for character in "/\\:\0"):
        raise ValueError(
            f"name must be the name of a file, without folders and suffix, got {name!r}"
        )
    return _folder(folder) / f"{name}.json"


def _folder(folder):
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"folder must be a path, got {described(folder)}")
    folder = Path(folder)
    if FOLDER in (folder, *folder.parents) and not FOLDER.is_dir():
        raise OSError(
            f"there is no folder {FOLDER}: the book's records lie in a clone of its repository, beside the package"
        )
    return folder


def writable(folder):
    """The folder, made if it is missing; OSError if no file can be written there. To be asked before the work."""
    folder = _folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(f"cannot write to the folder {folder}: {error.strerror or error}") from error
    return folder


@contextmanager
def whole_file(path):
    """A binary file to write to, under a temporary name: moved to ``path`` if all goes well, and removed if not."""
    temporary = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise OSError(f"cannot write {path}: {error.strerror or error}") from error
        raise


def row_name(recipe):
    """The name of a row, from the recipe of its pictures; None stands for the noise floor.

    Recipes are those of :meth:`dgm_helpers.evaluation.Denoiser.recipe`.
    Such as "ddim-20", "train", "es-vae-200-ddpm-50" (early stopping at t = 200), "scaled-1.005-ddim-20"
    (epsilon scaling) or "guided-2-quadratic-ddim-20".
    """
    if recipe is None:
        return "real"
    if recipe["sampler"] == "train":
        return "train"
    parts = []
    if recipe["proposals"] is not None:
        parts.append(f"es-{Path(recipe['proposals']).stem.split('-')[0]}-{recipe['stop_at']}")
    if recipe["eps_scale"] is not None:
        parts.append(f"scaled-{recipe['eps_scale']}")
    if "guidance" in recipe:
        parts.append(f"guided-{recipe['guidance']:g}")
    if "spacing" in recipe:
        parts.append(recipe["spacing"])
    if recipe["steps"]:
        parts += [recipe["sampler"], str(recipe["steps"])]
    return "-".join(parts)


def row_record(row, n, source="generated"):
    """The name of the record of a row, at n pictures of a network or a source (a name, or the path of a folder)."""
    if not isinstance(row, str):
        raise TypeError(f"row must be a str, got {described(row)}")
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"source must be a name or a path, got {described(source)}")
    return f"{Path(source).name}-{row}-{n}"


def load_row(row, n, source="generated"):
    """The record of a row, such as "ddim-20" or "real", at n pictures a side.

    Rows of the released network of a set have the name of the set as their ``source``, "generated" or "dawnlike"; those
    of other networks that of the network, such as "plain-generated".
    """
    return load(row_record(row, require_int("n", n, 2), source), FOLDER / "fid")


def load_rows(n, source="generated"):
    """All rows of a ``source`` at n pictures a side, a dictionary from row to record; the noise floor is first."""

    def order(record):
        recipe = record["recipe"] or {}
        return bool(recipe), *(
            str(recipe.get(key) or "").zfill(4)
            for key in (
                "proposals",
                "eps_scale",
                "guidance",
                "spacing",
                "sampler",
                "stop_at",
                "steps",
            )
        )

    folder = FOLDER / "fid"
    records = [
        load(name, folder)
        for name in names(row_record("*", require_int("n", n, 2), source), folder)
    ]
    return {record["row"]: record for record in sorted(records, key=order)}


def estimate(row, kind):
    """``(distance, low, high)`` of a row in one feature set; for the noise floor, a standard deviation each way."""
    values = _features("row", row)
    if not isinstance(kind, str) or kind not in values:
        raise ValueError(
            f"kind must be one of {', '.join(map(repr, values))}, got {described(kind)}"
        )
    values = values[kind]
    if "spread" in values:
        return values["fid"], values["fid"] - values["spread"], values["fid"] + values["spread"]
    return values["fid"], values["low"], values["high"]


def _features(name, row):
    known = isinstance(row, dict) and {"row", "n", "reference_sha256", "features"} <= row.keys()
    if not known or not isinstance(row["features"], dict):
        raise TypeError(f"{name} must be a row, as load_row returns it, got {described(row)}")
    return row["features"]


def table(head, rows):
    """A table in Markdown; ``head`` and each of the ``rows`` are lists of equally many cells."""
    if not isinstance(head, (list, tuple)):
        raise TypeError(f"head must be a list of cells, got {described(head)}")
    if not isinstance(rows, (list, tuple)) or not all(
        isinstance(line, (list, tuple)) for line in rows
    ):
        raise TypeError(f"rows must be a list of lists of cells, got {described(rows)}")
    if any(len(line) != len(head) for line in rows):
        got = sorted({len(line) for line in rows})
        raise ValueError(f"rows must have {len(head)} cells each, like head, got {got}")
    return "\n".join(
        f"| {' | '.join(map(str, line))} |" for line in (head, ["---"] * len(head), *rows)
    )


def row_table(rows):
    """A table of rows, in Markdown: network evaluations and milliseconds of a picture, and each feature set's distance.

    ``rows`` is a dictionary from a title to a record, from :func:`load_row`.
    """
    if not isinstance(rows, dict):
        raise TypeError(f"rows must be a dictionary from title to record, got {described(rows)}")
    lines = []
    for title, row in rows.items():
        cells = []
        for kind in KINDS:
            distance, low, high = estimate(row, kind)
            floor = "spread" in row["features"][kind]
            cells.append(
                f"{distance:.3g} ± {high - distance:.2g}"
                if floor
                else f"{distance:.3g} ({low:.3g}–{high:.3g})"
            )
        seconds = row.get("seconds_per_picture", 0)
        calls = evaluations(row) if "steps" in (row.get("recipe") or {}) else ""
        lines.append([title, calls, f"{1000 * seconds:.0f}" if seconds else "", *cells])
    return table(["", "evaluations", "ms", *KINDS.values()], lines)


def closer(name1, estimate1, name2, estimate2, *, floor, comparisons=1):
    """The name of the set that is closer to the real pictures, or None where that cannot be said.

    It can where the two distances differ by more than the noise floor and their intervals do not overlap. For one
    of many ``comparisons`` the difference must also exceed z joint standard errors, with the z that a normal
    variable exceeds in size with a probability of 5% over their number (the correction of Bonferroni): so the
    chance that any of them names a set wrongly stays at 5%. A standard error is the part of the interval that
    faces the other set, over 1.96. For up to nine comparisons of equally wide intervals that changes nothing.

    Parameters
    ----------
    name1, name2 : str
    estimate1, estimate2 : (distance, low, high)
        As :func:`dgm_helpers.fid.fid_interval` returns them, for the same real pictures at the same number of
        pictures a side.
    floor : float
        The mean that :func:`dgm_helpers.fid.noise_floor` returns for the same features and number of pictures;
        at least 0.
    comparisons : int
        How many comparisons this one is chosen from, at least 1.

    Returns
    -------
    ``name1``, ``name2`` or None
    """
    (d1, low1, high1), (d2, low2, high2), floor = _estimates(
        name1, estimate1, name2, estimate2, floor
    )
    z = NormalDist().inv_cdf(1 - 0.025 / require_int("comparisons", comparisons, 1))
    facing = (high1 - d1, d2 - low2) if d1 < d2 else (d1 - low1, high2 - d2)
    least = max(floor, z / 1.96 * math.hypot(*facing))
    overlap = low1 <= high2 and low2 <= high1
    if overlap or abs(d1 - d2) <= least:
        return None
    return name1 if d1 < d2 else name2


def _estimates(name1, estimate1, name2, estimate2, floor):
    for argument, value in (("name1", name1), ("name2", name2)):
        if not isinstance(value, str):
            raise TypeError(f"{argument} must be a str, got {described(value)}")
    found = []
    for argument, value in (("estimate1", estimate1), ("estimate2", estimate2)):
        wanted = f"{argument} must be finite (distance, low, high) with low <= distance <= high, got {described(value)}"
        try:
            distance, low, high = (require_number(argument, part) for part in value)
        except TypeError:
            raise TypeError(wanted) from None
        except ValueError:
            raise ValueError(wanted) from None
        if not low <= distance <= high:
            raise ValueError(wanted)
        found.append((distance, low, high))
    return *found, require_number("floor", floor, least=0)


def compare_distances(name1, estimate1, name2, estimate2, *, floor, n):
    """One sentence on two distances to the same pictures: which is :func:`closer`, or "not distinguishable at n = …".

    ``n`` is the number of pictures a side, at least 2, the same for both distances and the floor; the rest as
    in :func:`closer`.
    """
    name = closer(name1, estimate1, name2, estimate2, floor=floor)
    n = require_int("n", n, 2)
    one, other, floor = _estimates(name1, estimate1, name2, estimate2, floor)
    texts = ["{:.4g} ({:.4g} to {:.4g})".format(*found) for found in (one, other)]
    said = f"{name1} {texts[0]}, {name2} {texts[1]}, noise floor {floor:.4g}"
    if name is not None:
        return f"{name} is closer at n = {n}: {said}"
    reason = (
        "the difference is not above the noise floor"
        if abs(one[0] - other[0]) <= floor
        else "the intervals overlap"
    )
    return f"not distinguishable at n = {n}, {reason}: {said}"


def compare_rows(one, other, floor, comparisons=1):
    """The name of the row that is :func:`closer` to the real pictures, in each feature set and in all of them.

    Parameters
    ----------
    one, other : dict
        Rows of samples, from :func:`load_row`.
    floor : dict
        The row "real", the noise floor.
    comparisons : int
        As in :func:`closer`; each feature set of each pair of rows counts as one.

    Returns
    -------
    dict
        For each feature set the name of the closer row, or None; for "all" the row that every set names, or None.

    Raises
    ------
    ValueError
        If the rows have different numbers of pictures, real pictures or feature sets.
    """
    rows = {"one": one, "other": other, "floor": floor}
    sets = {tuple(_features(name, row)) for name, row in rows.items()}
    for key in ("n", "reference_sha256"):
        if len(values := {row[key] for row in rows.values()}) > 1:
            raise ValueError(f"one, other and floor must agree in {key}, got {sorted(values)}")
    if len(sets) > 1:
        raise ValueError(
            f"one, other and floor must have the same feature sets, got {sorted(sets)}"
        )
    said = {
        kind: closer(
            one["row"],
            estimate(one, kind),
            other["row"],
            estimate(other, kind),
            floor=floor["features"][kind]["fid"],
            comparisons=comparisons,
        )
        for kind in floor["features"]
    }
    found = set(said.values())
    return {**said, "all": found.pop() if len(found) == 1 else None}


def verdict(one, other, n, comparisons=1):
    """:func:`compare_rows` of two recorded rows of the generated set, given by name, at n pictures a side."""
    return compare_rows(*(load_row(row, n) for row in (one, other, "real")), comparisons)


def evaluations(row):
    """The network evaluations that a picture of a recorded row cost; 0 for proposals and for real pictures."""
    _features("row", row)
    recipe = row.get("recipe") or {}
    return recipe.get("steps", 0) * (1 + ("guidance" in recipe))


def fewest_evaluations(rows, target, floor, comparisons=1):
    """For each feature set the cheapest of the ``rows`` that ``target`` is not ahead of.

    That is the one with the fewest network evaluations from which on, with as many or more, the target is nowhere
    :func:`closer` to the real pictures.

    Parameters
    ----------
    rows : list of dict
        Rows of one sampler with different numbers of evaluations, from :func:`load_row`.
    target, floor : dict
        The row to be compared with, and the row "real".
    comparisons : int
        As in :func:`closer`.

    Returns
    -------
    dict
        For each feature set one of the rows, or None if the one with the most evaluations is behind.

    Raises
    ------
    ValueError
        As :func:`compare_rows`.
    """
    if not isinstance(rows, (list, tuple)) or not rows:
        raise TypeError(f"rows must be a list of rows, got {described(rows)}")
    for row in rows:
        _features("rows", row)
    found = dict.fromkeys(_features("floor", floor))
    behind = set()
    for row in sorted(rows, key=evaluations, reverse=True):
        said = compare_rows(row, target, floor, comparisons)
        behind |= {kind for kind in found if said[kind] == target["row"]}
        found |= {kind: row for kind in found if kind not in behind}
    return found
