"""Runs a check and the answer that it tries: within limits, without the package's own solution, in one line if wrong.

What a trial does works on Linux, macOS and Windows, without a second process: the check runs in a thread, and the
caller waits for it at most ``SECONDS``. Only the limit on memory needs Linux.
"""

import builtins
import contextvars
import ctypes
import functools
import io
import linecache
import sys
import threading
import time
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch

SECONDS = 60  # for a whole check, whose own work takes a few
GIBIBYTES = 4  # more than there was before; where the system has no such limit, there is none
CHARACTERS = 10_000  # of what an answer prints
INPUT = "your function waits for input: the arguments hold all that it needs"
THREAD = "your function leaves a thread running: wait for its end (join)"
EXIT = "your function calls exit or quit: return instead"


class WrongAnswer(AssertionError):
    """What is wrong with an answer. A notebook shows it as one line, without the source of the check."""

    def _render_traceback_(self):
        return [f"\x1b[31mAssertionError\x1b[39m: {self}"]


class Unfinished(NotImplementedError):
    """The exercise is as it was handed out."""

    def _render_traceback_(self):
        return [f"\x1b[31mNotImplementedError\x1b[39m: {self}"]


class Stopped(SystemExit):
    """Ends a thread whose time is over, without a word; no ``except Exception`` of an answer stops it."""


class Taken(BaseException):
    """An answer has called the function of the package that the exercise asks for."""


def exercise(*taken):
    """Make a trial of a check: ``taken`` are the package's functions that its answers may not call."""
    taken = [(f, f.__code__) for f in map(_plain, taken)]

    def decorate(check):
        @functools.wraps(check)
        def trial(*answers):
            _run(lambda: check(*(_without(taken, answer) for answer in answers)), taken)

        return trial

    return decorate


def _plain(function):
    """The function inside a method or a decorated function, whatever name it goes by."""
    while inner := getattr(function, "__wrapped__", None) or getattr(function, "__func__", None):
        function = inner
    return function


def _is_taken(*arguments, **keywords):
    import sys  # this code runs with the names of another module

    from dgm_helpers._trial import Taken

    raise Taken(sys._getframe().f_code.co_qualname)


def _without(taken, answer):
    """The answer, if it is a function as one that runs while the functions ``taken`` refuse every call.

    Their code is replaced, so that every alias and every function that calls them meets the refusal.
    """
    if not callable(answer):
        return answer

    def shut(*arguments, **keywords):
        try:
            for function, code in taken:
                function.__code__ = _is_taken.__code__.replace(co_qualname=code.co_qualname)
            return answer(*arguments, **keywords)
        finally:
            _give_back(taken)

    shut.__wrapped__ = answer
    return shut


def _give_back(taken):
    for function, code in taken:
        function.__code__ = code


def refusal(fn, error, more=""):
    """What to say of an error that the answer ``fn`` raised, with the line of it."""
    if isinstance(error, Taken):
        return (
            f"your function calls the package's {error}: this is the one you are to write yourself"
        )
    if isinstance(error, MemoryError) or "alloc" in str(error):
        more += f"; a check allows {GIBIBYTES} GiB more than there was before"
    code = getattr(_plain(fn), "__code__", None)
    place, at = "", error.__traceback__
    while at is not None:
        if code and at.tb_frame.f_code.co_filename == code.co_filename:
            line = linecache.getline(code.co_filename, at.tb_lineno).strip()
            place = f" (in the line: {line})" if line else ""
        at = at.tb_next
    said = " ".join(str(error).split())[:300]  # one line
    return f"your function raised {type(error).__name__}: {said}{more}{place}"


def _run(work, taken):
    """Do ``work`` in a thread, and print what it returns; raise in one line if it fails or does not end."""
    outcome, gradients = {}, torch.is_grad_enabled()

    def target():
        with torch.set_grad_enabled(gradients):
            try:
                outcome["said"] = work()
            except BaseException as error:
                error.__traceback__ = error.__context__ = error.__cause__ = None
                outcome["error"] = error

    before = set(threading.enumerate())
    thread = threading.Thread(target=contextvars.copy_context().run, args=(target,), daemon=True)
    try:
        with _quiet() as printed, _bounded_memory(), _alone():
            thread.start()
            try:
                _wait(thread, SECONDS)
                over = thread.is_alive()
            finally:
                _stop(thread)
    finally:
        _give_back(taken)
        sys.stdout.write(printed.getvalue())
    lost = [t for t in threading.enumerate() if t not in before and t is not thread]
    lost = [t for t in lost if type(t).__module__ in ("threading", "__main__")]  # not tqdm's
    for other in lost:
        other.join(0.5)
    lost = [t for t in lost if t.is_alive()]
    for other in lost:
        _stop(other)
    if over:
        end = ", and it cannot be stopped: restart the kernel" if thread.is_alive() else ""
        loop = "is there an endless loop?"
        raise WrongAnswer(f"your function did not end within {SECONDS} seconds{end}: {loop}")
    if "error" in outcome:
        raise outcome["error"]
    if lost:
        raise WrongAnswer(THREAD)
    print(outcome["said"])


def _wait(thread, seconds):
    end = time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < end:
        thread.join(0.1)  # short: on Windows a wait cannot be interrupted


def _stop(thread, seconds=2):
    """Raise Stopped in a thread until it ends; one that waits outside of Python goes on."""
    end = time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < end:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(Stopped)
        )
        thread.join(0.01)


class _Printed(io.StringIO):
    """Keeps the first characters of what is printed."""

    def write(self, text):
        room = CHARACTERS - self.tell()
        if room > 0:
            more = "\n(more was printed)\n" if len(text) > room else ""
            super().write(text[:room] + more)
        return len(text)


@contextmanager
def _quiet():
    """Collect what is printed; of warnings and of stderr, for which nbgrader gives no points, the first line."""
    printed, errors = _Printed(), _Printed()
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            with redirect_stdout(printed), redirect_stderr(errors):
                yield printed
    finally:
        notes = [f"{w.category.__name__}: {w.message}" for w in said]
        notes += errors.getvalue().replace("\r", "\n").split("\n")
        notes = [note.strip() for note in notes if note.strip()]
        for note in list(dict.fromkeys(notes))[:1]:
            line = f"your function warns: {note.splitlines()[0][:200]}\n"
            io.StringIO.write(printed, line)  # even where there is no room for more


@contextmanager
def _alone():
    """Let nobody be asked for input, and nobody end the kernel."""

    def refuse(message):
        def stop(*_, **__):
            raise WrongAnswer(message)

        return stop

    doors = [(builtins, "input", INPUT), (sys, "breakpointhook", INPUT)]
    doors += [(builtins, name, EXIT) for name in ("exit", "quit") if hasattr(builtins, name)]
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    old = [(place, name, getattr(place, name)) for place, name, _ in doors]
    own = {
        name: shell.user_ns[name] for name in ("exit", "quit") if shell and name in shell.user_ns
    }
    try:
        for place, name, message in doors:
            setattr(place, name, refuse(message))
        if own:
            shell.user_ns.update(dict.fromkeys(own, refuse(EXIT)))
        yield
    finally:
        for place, name, value in old:
            setattr(place, name, value)
        if own:
            shell.user_ns.update(own)


@contextmanager
def _bounded_memory():
    """Where the system can (Linux), let the process have only so much memory more than it has."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    except (ImportError, OSError):
        yield
        return
    old, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + GIBIBYTES * 2**30
    ends = [end for end in (old, most) if end != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([limit, *ends]), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (old, most))
