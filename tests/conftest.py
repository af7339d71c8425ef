"""How hard hypothesis tries: `ci` is short and the same each time, `soak` (`make soak`) is long and new each time.
The book is built once for all tests.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent
ALWAYS = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("ci", max_examples=20, derandomize=True, **ALWAYS)
settings.register_profile("soak", max_examples=2000, print_blob=True, **ALWAYS)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def html(tmp_path_factory, testrun_uid):
    """Build the book from scratch as ``make book`` does, and where it does; return its folder.

    Of several workers the first one builds, and the others wait for it.
    """
    folder = ROOT / "_build" / "html"
    done = tmp_path_factory.getbasetemp().parent / f"book-{testrun_uid}"
    with FileLock(f"{done}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # pages that are no longer in the contents
            program = Path(sys.executable).parent / "jupyter-book"
            command = [program, "build", "-W", "--keep-going", "--all", str(ROOT)]
            run = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
            done.write_text(run.stdout[-3000:] + run.stderr[-3000:] if run.returncode else "")
    assert not done.read_text(), done.read_text()
    return folder
