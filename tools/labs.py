"""Run labs from top to bottom and store their outputs: ``python tools/labs.py [05 …]``, all of them if none is named.

A lab runs in a fresh kernel, in its own folder, on one thread. If a cell fails or prints to stderr, the stored file
stays as it was. Only outputs and execution counts change: no timestamps, and the same metadata in every lab.
"""

import argparse
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

ROOT = Path(__file__).parent.parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
COLOURS = re.compile(r"\x1b\[[\d;]*m")


def named(names, root=ROOT):
    """The paths of the labs whose file names begin with one of ``names``; all of them, in order, if there are none."""
    labs = [*sorted((root / "notebooks").glob("*.ipynb")), *sorted((root / "book").glob("*.ipynb"))]
    unknown = [name for name in names if not any(lab.name.startswith(name) for lab in labs)]
    if unknown:
        known = ", ".join(lab.stem for lab in labs)
        raise ValueError(f"no lab begins with {unknown[0]!r}; there are {known}")
    return [lab for lab in labs if not names or lab.name.startswith(tuple(names))]


def run(path):
    """Run one lab and store it; raises RuntimeError, and leaves the file, if a cell fails or prints to stderr."""
    lab = nbformat.read(path, as_version=4)
    for cell in lab.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        lab,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=40"],  # errors only: no word on encryption
        record_timing=False,
        coalesce_streams=True,
    )
    try:
        client.execute()
    except (CellExecutionError, DeadKernelError) as error:
        raise RuntimeError(COLOURS.sub("", str(error))) from None
    for cell in lab.cells:
        for output in cell.get("outputs", ()):
            if output.get("name") == "stderr":
                raise RuntimeError(f"cell {cell.id} printed to stderr:\n{output.text}")
    lab.metadata = METADATA
    nbformat.write(lab, path)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument(
        "names", nargs="*", metavar="LAB", help="the beginning of a lab's name, such as 05"
    )
    try:
        labs = named(parser.parse_args(arguments).names)
    except ValueError as error:
        parser.error(str(error))
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    failed = []
    for path in labs:
        start = time.perf_counter()
        try:
            run(path)
        except RuntimeError as error:
            failed.append(path.name)
            print(f"{path.name}: not stored. {error}", flush=True)
        else:
            print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)
    sys.exit(f"not stored: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
