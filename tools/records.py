"""``python tools/records.py`` prints the command that makes each record of what a network is worth anew, one a line.

After a new network all of them are run, two at a time on two cores, into a new folder:
``python tools/records.py --out anew | xargs -P 2 -d '\\n' -I {} sh -c '{}'``. A row that is there already is skipped,
and a killed run continues.
"""

import argparse
import json
import shlex
from pathlib import Path

RESULTS = Path(__file__).parent.parent / "results"
OPTIONS = ("sampler", "spacing", "steps", "proposals", "stop_at", "eps_scale", "guidance")


def arguments(path):
    """The arguments of ``python -m dgm_helpers`` that make the record at ``path``."""
    record = json.loads(path.read_text(encoding="utf-8"))
    measure = "fid" if path.parent.name == "fid" else path.stem.split("-")[0]
    measure = {"elbo": "bound"}.get(measure, measure)
    source = path.stem.removeprefix("export-").split("-")[0]
    recipe = record.get("recipe") or {}
    weights = record.get("weights") or recipe.get("weights") or f"sprites-{source}"
    words = ["evaluate", measure, "--weights", weights, "--n", str(record["n"]), "--threads", "1"]
    if measure in ("fid", "copies", "export"):
        words += ["--compile", "--pictures", "runs/pictures"]
    for option in OPTIONS:
        value = recipe.get(option)
        if value is not None and not (option == "steps" and value == 0):
            words += [f"--{option.replace('_', '-')}", f"{value}"]
    if measure == "fid" and not recipe:
        words += ["--sampler", "real"]
    return words


def records():
    """The records of bounds, yardsticks, copies, exports and distances; those with the fewest pictures first."""
    paths = [
        path
        for kind in ("elbo-*", "yardsticks-*", "copies-*", "export-*", "fid/*")
        for path in sorted(RESULTS.glob(f"{kind}.json"))
    ]
    return sorted(paths, key=lambda path: json.loads(path.read_text(encoding="utf-8"))["n"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=str(RESULTS), help="folder of the records")
    parser.add_argument("--cache", help="folder for downloads, as for the other commands")
    options = parser.parse_args()
    for path in records():
        words = ["python", "-m", "dgm_helpers", *arguments(path)]
        out = Path(options.out) / path.parent.relative_to(RESULTS)
        if words[4] == "export":  # it wants a folder of its own, for the pictures
            out = Path("runs", path.stem)
        words += ["--out", out.as_posix()]
        if options.cache and "dawnlike" in path.stem:
            words += ["--cache", options.cache]
        print(shlex.join(words))


if __name__ == "__main__":
    main()
