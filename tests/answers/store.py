"""Stores what the wrong answers of this folder return, so that the checks can name these mistakes.

``python tests/answers/store.py`` writes ``dgm_helpers/_mistakes.py``. A file here holds the answers to the exercise of
its name. The docstring of an answer is what its check says of it: "passes"; or "unnamed", where it says only what came
and what was expected; or a part of the message, and where that begins with "..." the mistake is not stored.
"""

import importlib.util
import inspect
import json
import sys
from pathlib import Path

import torch

from dgm_helpers import GaussianMixture, checks

HERE = Path(__file__).parent
FILE = Path(checks.__file__).with_name("_mistakes.py")
MIXTURE = GaussianMixture.from_student_number(5)
HEAD = '''"""The usual mistakes: of each exercise, what to say, where in the check it shows, and five wrong numbers.

Written by tests/answers/store.py from the wrong answers in its folder; do not edit.
"""

import json

MISTAKES = json.loads(r"""
'''


class Found(BaseException):
    """A wrong value: the exercise, the place in its check, and five of the numbers."""


def answers():
    """By grade_id: a list of the answers, each a function with its docstring."""
    every = {}
    for path in sorted(HERE.glob("*.py")):
        if path.name == "store.py":
            continue
        spec = importlib.util.spec_from_file_location(f"answers_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found = inspect.getmembers(module, inspect.isfunction)
        functions = [
            f for key, f in found if f.__module__ == module.__name__ and not key.startswith("_")
        ]
        functions.sort(key=lambda f: f.__code__.co_firstlineno)
        every[path.stem.replace("_", "-")] = functions
    return every


def check(name, answer):
    """Run the check of an exercise on an answer."""
    arguments = [answer]
    if name == "langevin-thousand":  # whose answer is two walks and a function
        arguments = [*answer(MIXTURE), MIXTURE]
    getattr(checks, "check_" + name.replace("-", "_"))(*arguments)


def _record(name, mine, exact, where="", hint="", tol=1e-5):
    mine, exact = (torch.as_tensor(v, dtype=torch.float64).detach() for v in (mine, exact))
    if not checks._fits(mine, exact, tol):
        raise Found(name, where, [float(f"{v:.12g}") for v in checks._probe(mine).tolist()])


def mistakes():
    """By grade_id: the message, the place in the check and the numbers of each mistake that has some."""
    judge, every = checks._judge, {}
    checks._judge = _record
    try:
        for name, functions in answers().items():
            every[name] = []
            for answer in functions:
                if answer.__doc__ in ("passes", "unnamed") or answer.__doc__.startswith("..."):
                    continue
                if "did not end" in answer.__doc__:
                    continue
                try:
                    check(name, answer)
                except Found as found:
                    every[name].append([answer.__doc__, *found.args[1:]])
                except AssertionError:
                    pass  # a message of the check's own
    finally:
        checks._judge = judge
    return every


def main():
    rows = [
        f"{json.dumps(name)}: [\n" + ",\n".join(_lines(*row) for row in found) + "]"
        for name, found in mistakes().items()
    ]
    FILE.write_text(HEAD + "{" + ",\n".join(rows) + '}\n""")\n', encoding="utf-8")


def _lines(*row):
    return "[" + ",\n".join(json.dumps(value, ensure_ascii=False) for value in row) + "]"


if __name__ == "__main__":
    sys.exit(main())
