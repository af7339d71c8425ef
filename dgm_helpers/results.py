"""The ledger of recorded runs: JSON files in ``results/``, each with where its numbers come from."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent.parent / "results"


def provenance():
    """What a run was made with: date, code version, library versions, processor and threads."""
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=FOLDER.parent, capture_output=True, text=True)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": git.stdout.strip() or "unknown",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": f"cpu ({_processor()})",
        "threads": torch.get_num_threads(),
    }


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())


def record(name, values, *, made_with, folder=FOLDER):
    """Write the dictionary ``values`` and ``made_with`` (from :func:`provenance`) to ``folder/name.json``; returns the path.

    The file is written under a temporary name and moved. Raises ValueError for NaN or infinity, TypeError for what JSON
    cannot hold, OSError if the folder cannot be written.
    """
    text = json.dumps({**values, "provenance": made_with}, indent=1, allow_nan=False)
    path = Path(folder) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".json.part")
    temporary.write_text(text + "\n")
    os.replace(temporary, path)
    return path


def load(name, folder=FOLDER):
    """Read the record ``name``; raises ValueError with the known names if there is none."""
    path = Path(folder) / f"{name}.json"
    if not path.exists():
        raise ValueError(f"no record {name!r} in {folder}; there are {sorted(p.stem for p in Path(folder).glob('*.json'))}")
    return json.loads(path.read_text())
