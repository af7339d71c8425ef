"""A student's lab, run where it can do no harm: nbclient stays outside, its kernel is shut in.

On Linux the kernel gets namespaces of its own (``unshare``): it sees the system, the environment and the package,
read only, and an empty folder; no solutions, no grades, no other student, no network. Where that cannot be had,
`open_door` says why, and the limits of time, memory, processes and output hold alone. Not for `import dgm_helpers`.
"""

import ast
import functools
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbformat.v4 import new_code_cell, new_output
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade, is_solution

from . import homework
from .collecting import SKIP, is_picture

ROOT = Path(__file__).parent.parent
PACKAGE = ("dgm_helpers", "results")

CELL_SECONDS, GRACE_SECONDS, LAB_SECONDS = 300, 10, 1800
STUBBORN = ", and would not stop"
MEMORY_BYTES, PROCESSES, FILE_BYTES, OUTPUT_BYTES = 6 * 2**30, 64, 2**26, 4 * 2**20
ATTEMPTS = 4  # a cell that ends the kernel is left out, and the lab runs again

# arguments: the folder of the sandbox, what is shown read only, --, the command
JAIL = r"""
set -e
PATH=/usr/bin:/bin:/usr/sbin:/sbin
base=$1; shift
mkdir "$base/root"
mount -t tmpfs -o size=256m,mode=755 tmpfs "$base/root"
cd "$base/root"
show() {
    { [ -e "$1" ] || [ -L "$1" ]; } && [ ! -e ".$1" ] || return 0
    mkdir -p "$(dirname ".$1")"
    if [ -L "$1" ]; then cp -P "$1" ".$1"; return 0; fi
    if [ -d "$1" ]; then mkdir ".$1"; else : > ".$1"; fi
    mount --rbind "$1" ".$1"
    mount -o remount,bind,ro ".$1"
}
for path in /usr /bin /sbin /lib /lib64 /etc/ld.so.cache /etc/passwd /etc/localtime /etc/fonts; do show "$path"; done
while [ "$1" != -- ]; do show "$1"; shift; done; shift
mkdir -p proc tmp old dev/shm ".$base/work"
for name in null zero random urandom; do : > "dev/$name"; mount --bind "/dev/$name" "dev/$name"; done
mount --bind "$base/work" ".$base/work"
mount -t proc proc proc
pivot_root . old
cp -R "$base/work/lab/." tmp
umount -l /old
rmdir /old
cd /tmp
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""
NAMESPACES = ("--user", "--map-root-user", "--net", "--ipc", "--pid", "--mount")
UNSHARE = ["unshare", *NAMESPACES, "--fork", "--kill-child", "sh", "-c"]

# in the kernel's process, before the kernel
LIMITS = f"""
import resource
limits = dict(AS={MEMORY_BYTES}, FSIZE={FILE_BYTES}, CPU={LAB_SECONDS}, CORE=0, NPROC=%s)
for name, limit in limits.items():
    if limit is not None:
        hard = resource.getrlimit(getattr(resource, "RLIMIT_" + name))[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        try:
            resource.setrlimit(getattr(resource, "RLIMIT_" + name), (limit, limit))
        except (ValueError, OSError):
            pass  # macOS knows no limit of the address space
"""
KERNEL = """
import os
os.environ.pop("JPY_PARENT_PID", None)  # it has another number inside
from ipykernel.kernelapp import launch_new_instance
launch_new_instance()
"""

# a check that accepts answers which do nothing, or functions that return other numbers, was tampered with
CANARY = """
def _canary(names, source, space, emptied):
    kept = {name: space[name] for name in names if name in space}
    functions = {name: thing for name, thing in kept.items() if hasattr(thing, "__code__")}
    codes = {name: thing.__code__ for name, thing in functions.items() if not thing.__closure__}
    moved = []

    def nothing(*args, **options):
        return None

    def move(x):
        if isinstance(x, (tuple, list)):
            return type(x)(map(move, x))
        if isinstance(x, (int, float)) and not isinstance(x, bool) or hasattr(x, "dtype"):
            moved.append(x)
            return x * 1.5 + 1
        return x

    def other(function):
        return lambda *args, **options: move(function(*args, **options))

    try:
        for name in kept if emptied else functions:
            if emptied and name in codes:
                kept[name].__code__ = nothing.__code__
            else:
                space[name] = nothing if emptied else other(kept[name])
        exec(source, space)
    finally:
        for name, code in codes.items():
            kept[name].__code__ = code
        space.update(kept)
    assert emptied or moved

_canary(%r, %r, globals(), %r)
"""


def jailed(base, command):
    """A command as it runs in the sandbox with the folder ``base``."""
    shown = dict.fromkeys([sys.prefix, sys.base_prefix, *(str(ROOT / name) for name in PACKAGE)])
    return [*UNSHARE, JAIL, "sh", str(base), *shown, "--", *command]


@functools.cache
def open_door():
    """Why this system cannot shut a kernel in, in one line; empty if it can."""
    base = tempfile.mkdtemp(prefix="dgm-")
    try:
        (Path(base) / "work" / "lab").mkdir(parents=True)
        command = jailed(base, [sys.executable, "-c", ""])
        run = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
        return (run.stderr.strip().splitlines() or ["unshare failed"])[0] if run.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    finally:
        shutil.rmtree(base, ignore_errors=True)


class ShutInKernel(AsyncKernelManager):
    """A kernel of this Python in the sandbox ``base``, reached through sockets in its folder ``work``."""

    base = package = None

    def format_kernel_cmd(self, extra_arguments=None):
        limits = LIMITS % (None if open_door() else PROCESSES)
        command = [sys.executable, "-c", limits + KERNEL, "-f", self.connection_file]
        return command if open_door() else jailed(self.base, command)


@contextmanager
def shut_in(mark, number):
    """Make a sandbox: gives a kernel manager, and the arguments that start its kernel; ends all that is left over."""
    base = Path(tempfile.mkdtemp(prefix="dgm-"))
    work, package = base / "work", ROOT
    try:
        (work / "lab").mkdir(parents=True)
        if number.isdecimal():
            (work / "lab" / homework.NUMBER_FILE).write_text(number, encoding="utf-8")
        if open_door():
            package = base / "package"
            for name in PACKAGE:
                shutil.copytree(ROOT / name, package / name)
        env = {
            "PATH": os.defpath,
            "HOME": str(work),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(package),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "MPLCONFIGDIR": str(_fonts(work)),
            "DGM_LAB": mark,
        }
        manager = ShutInKernel(
            kernel_name="python3",
            transport="ipc",
            ip=str(work / "k"),
            connection_file=str(work / "kernel.json"),
        )
        quiet = subprocess.DEVNULL
        manager.base, manager.package = base, package
        yield manager, {"cwd": str(work / "lab"), "env": env, "stdout": quiet, "stderr": quiet}
    finally:
        _end(_marked(mark))
        shutil.rmtree(base, ignore_errors=True)


def _fonts(work):
    """matplotlib's list of fonts, which takes seconds to make."""
    import matplotlib

    folder = work / "matplotlib"
    folder.mkdir()
    for path in Path(matplotlib.get_cachedir()).glob("fontlist-*.json"):
        shutil.copy(path, folder)
    return folder


def _fingerprint(folder):
    """Says whether the package in a folder is still what it was."""
    digest = hashlib.sha256()
    for name in PACKAGE:
        for path in sorted((folder / name).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()


def _end(processes):
    for process in processes:
        with suppress(psutil.Error, OSError):
            process.kill()


def _marked(mark):
    """The processes that a lab left, wherever they hang: each bears its mark."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get("DGM_LAB") == mark:
                yield process


class Watch(threading.Thread):
    """Interrupts a cell that takes too long or writes too much, and ends a kernel that takes too much."""

    def __init__(self, pid, work, last):
        super().__init__(daemon=True)
        self.pid, self.work, self.last = pid, work, last
        self.done, self.said, self.cell, self.spent = threading.Event(), "", None, 0.0
        self.seen = set()

    def start_cell(self):
        self.said, self.cell = "", (time.monotonic(), self.spent)

    def interrupt(self, reason):
        if not self.said:
            self.said, self.cell = reason, (time.monotonic(), self.spent)
            self._send(signal.SIGINT)

    def run(self):
        while not self.done.wait(0.3):
            self._measure()
            if time.monotonic() > self.last:
                self._end(f"the lab ran for more than {LAB_SECONDS} seconds")
            if (cell := self.cell) is None:
                continue
            by_the_clock = time.monotonic() - cell[0]
            if self.said and by_the_clock > GRACE_SECONDS:
                self._end(f"{self.said.removesuffix(STUBBORN)}{STUBBORN}")
            elif self.spent - cell[1] > CELL_SECONDS or by_the_clock > 5 * CELL_SECONDS:
                self.interrupt(f"stopped after {CELL_SECONDS} seconds of computing")

    def _measure(self):
        with suppress(psutil.Error, OSError):
            kernel = psutil.Process(self.pid)
            processes = [kernel, *kernel.children(recursive=True)]
            self.seen.update(processes)
            self.spent = sum(sum(process.cpu_times()[:4]) for process in processes)
            if len(processes) > PROCESSES:
                self._end(f"started more than {PROCESSES} processes")
            if sum(process.memory_info().rss for process in processes) > MEMORY_BYTES:
                self._end(f"took more than {MEMORY_BYTES >> 30} GB of memory")
            if sum(p.stat().st_size for p in self.work.rglob("*") if p.is_file()) > 4 * FILE_BYTES:
                self._end("filled the disk")

    def _end(self, reason):
        self.said = reason
        self._send(signal.SIGKILL)

    def _send(self, number):
        with suppress(OSError):
            os.killpg(self.pid, number)


class Client(NotebookClient):
    """nbclient that keeps the last reply, and takes only so much output of a cell."""

    watch, reply, received = None, None, 0

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"].startswith("comm"):
            return None
        if msg["msg_type"] not in ("status", "execute_input"):
            self.received += len(str(msg["content"]))
            if self.received > OUTPUT_BYTES:
                self.watch.interrupt(f"wrote more than {OUTPUT_BYTES >> 20} MB of output")
                return None
        return super().process_message(msg, cell, cell_index)

    def run_cell(self, cell, index):
        """Run a cell; True if it ended without an error. Raises DeadKernelError if it took the kernel along."""
        self.watch.start_cell()
        self.reply, self.received = None, 0
        try:
            self.execute_cell(cell, index)
        except Exception as error:  # whatever a hostile kernel may send
            raise DeadKernelError(str(error)) from error
        finally:
            self.watch.cell = None
        return self.reply == "ok" and not self.watch.said


def failure(name, text):
    return new_output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"])


def clean(cell):
    """Keep of a cell's outputs what is text or a picture, and of an error its last line."""
    kept = []
    for output in cell.outputs:
        if output.output_type == "error":
            kept.append(failure(str(output.ename)[:80], str(output.evalue)[:2000]))
        elif output.output_type == "stream" and output.name == "stdout":
            kept.append(new_output("stream", name="stdout", text=output.text[:20_000]))
        elif output.output_type in ("display_data", "execute_result"):
            data = {
                kind: text
                for kind, text in output.data.items()
                if kind == "text/plain" or is_picture(kind, text)
            }
            kept.append(new_output(output.output_type, data=data))
    cell.outputs = kept


def impossible(cell):
    """What is wrong with the points that a check returned, or an empty text."""
    most = float(cell.metadata["nbgrader"]["points"])
    for output in cell.outputs:
        if output.output_type == "execute_result":
            with suppress(ValueError, TypeError):
                value = float(output.data["text/plain"])
                return "" if 0 <= value <= most else f"the check returned {value:g} of {most:g}"
    return ""


def bound_names(source):
    """The names that a cell defines."""
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        nodes = list(ast.walk(ast.parse(source)))
        defined = {n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
        stored = (ast.Name, ast.Store)
        return defined | {
            n.id for n in nodes if isinstance(n, stored[0]) and isinstance(n.ctx, stored[1])
        }
    return set()


def run_lab(lab, number=""):
    """Run a lab's cells but those tagged ``skip-execution``, in place; returns what a person should know, in lines.

    A check that did not run, or cannot be trusted, holds an error, so that nbgrader gives it nothing.
    """
    notes, ended, last = [], {}, time.monotonic() + LAB_SECONDS
    running = [
        (index, cell)
        for index, cell in enumerate(lab.cells)
        if cell.cell_type == "code" and SKIP not in cell.metadata.get("tags", ())
    ]
    checks = [cell for _, cell in running if is_grade(cell) and not is_solution(cell)]
    for cell in checks:
        cell.outputs = [failure("NotRun", "this check did not run")]
    for _ in range(ATTEMPTS if running else 0):
        index = _attempt(lab, number, running, ended, last, notes)
        if index is None or time.monotonic() > last:
            break
    for index, reason in ended.items():
        cell = lab.cells[index]
        cell.outputs = [failure("Ended", reason)]
        notes.append(f"{_name(cell, index)}: {reason}")
    return notes


def _name(cell, index):
    return cell.metadata.get("nbgrader", {}).get("grade_id", f"cell {index + 1}")


def _attempt(lab, number, running, ended, last, notes):
    """Run a lab but for the cells ``ended``; returns the index of a cell that ended the kernel, and adds it to them."""
    answers = set().union(*(bound_names(cell.source) for _, cell in running if is_solution(cell)))
    found = []
    with shut_in(uuid.uuid4().hex, number) as (manager, options):
        client = Client(
            lab, km=manager, timeout=None, allow_errors=True, shutdown_kernel="immediate"
        )
        client.on_cell_executed = lambda execute_reply, **_: setattr(
            client, "reply", execute_reply["content"]["status"]
        )
        copies = {manager.package, ROOT} if open_door() else ()  # inside they are read only
        before = [_fingerprint(folder) for folder in copies]
        with client.setup_kernel(cleanup_kc=True, **options):
            watch = Watch(manager.provisioner.pid, Path(options["cwd"]).parent, last)
            client.watch = watch
            watch.start()
            try:
                for index, cell in running:
                    if index not in ended:
                        found += _run_one(client, index, cell, answers)
            except DeadKernelError:
                ended[index] = watch.said or "ended the kernel"
                return index
            finally:
                watch.done.set()
                watch.join()
                _end(watch.seen)
        if before != [_fingerprint(folder) for folder in copies]:
            found.append("the package was changed while this lab ran: compare it with git")
    notes += found
    return None


def _run_one(client, index, cell, answers):
    """Run a cell and settle what it is worth; returns what a person should know."""
    fine = client.run_cell(cell, index)
    said = client.watch.said
    clean(cell)
    if said:
        cell.outputs = [failure("Stopped", said)]
    if not is_grade(cell) or is_solution(cell):
        return [f"{_name(cell, index)}: {said}"] if said else []
    grade_id = _name(cell, index)
    errors = [output for output in cell.outputs if output.output_type == "error"]
    if errors or not fine:
        cell.outputs = errors[:1] or [failure("Failed", "the check failed without a word")]
        if errors and errors[0].ename == "NameError" and _unfinished(client.nb, grade_id):
            cell.outputs = [failure("Unfinished", "this exercise is not solved yet")]
        return [f"{grade_id}: {said}"] if said else []
    wrong = impossible(cell) or _tampered(client, index, cell, answers)
    if wrong:
        cell.outputs = [failure("NeedsAPerson", wrong)]
        return [f"{grade_id}: {wrong}; 0 points until a person has looked"]
    return []


def _unfinished(lab, grade_id):
    """Whether the answer to a check ended as it was handed out, with a NotImplementedError."""
    return any(
        output.get("ename") == "NotImplementedError"
        for index, cell in enumerate(lab.cells)
        if _name(cell, index) == grade_id.removesuffix("-test")
        for output in cell.get("outputs", ())
    )


def _tampered(client, index, cell, answers):
    names = [
        node.id
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Name) and node.id in answers
    ]
    for emptied, what in ((True, "an answer that does nothing"), (False, "other numbers, too")):
        canary = new_code_cell(CANARY % (sorted(set(names)), cell.source, emptied))
        accepted = names and client.run_cell(canary, index)
        client.nb.cells[index] = cell
        if accepted:
            return f"the check accepts {what}, so it was changed"
    return ""


class RunShutIn(NbGraderPreprocessor):
    """Runs a lab in the sandbox, in the place of nbgrader's Execute."""

    def preprocess(self, nb, resources):
        nb.metadata["grading"] = {"notes": run_lab(nb, resources["nbgrader"]["student"])}
        return nb, resources
