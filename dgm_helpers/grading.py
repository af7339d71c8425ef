"""A class's homework, graded: collected, run student by student, written as tables and as one page for each student.

The folder of the grades is an nbgrader course. nbgrader keeps the points, those given by hand too, and
runs each student's labs in a process of its own, where `sandbox` takes the place of its plain kernel.
"""

import ast
import copy
import csv
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import traceback
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from . import collecting, handout
from .collecting import ascii_digits, marked
from .feedback import feedback
from .homework import QUESTIONS

ASSIGNMENT = "hw3"
WORKERS = 4  # at most; one for each core
STUDENT_SECONDS = 2 * 3600
SMALL = 40  # nodes of a syntax tree, or words: shorter answers are alike by chance
SHORT = 5  # statements: functions with fewer are often alike, and are marked in the table
HEADINGS = {
    "number": ("number", "student_number", "student_id", "id"),
    "last_name": ("last_name", "surname", "family_name", "last"),
    "first_name": ("first_name", "given_name", "first"),
    "deadline": ("deadline",),
}
# names that no answer needs
WORDS = {
    "setattr",
    "delattr",
    "exec",
    "eval",
    "compile",
    "globals",
    "locals",
    "vars",
    "open",
    "get_ipython",
    "builtins",
    "os",
    "sys",
    "subprocess",
    "socket",
    "sqlite3",
    "ctypes",
    "gc",
    "inspect",
    "importlib",
    "shutil",
    "pathlib",
    "glob",
    "requests",
    "urllib",
    "multiprocessing",
    "threading",
    "signal",
    "checks",
}


@dataclass(frozen=True)
class Student:
    number: str
    last_name: str
    first_name: str
    deadline: datetime | None


def read_roster(path, deadline=None):
    """The students of a roster, a CSV file with the columns number, last_name, first_name and, if wanted, deadline.

    ``deadline`` holds for the students without their own. Raises ValueError naming the line that is wrong.
    """
    everyone, students = parse_deadline("deadline", deadline), {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"roster must be a CSV file in UTF-8, got {path}: {error}") from None
    have = {re.sub(r"\W+", "_", (name or "").strip().lower()): name for name in (rows or [{}])[0]}
    column = {
        key: next((have[name] for name in names if name in have), None)
        for key, names in HEADINGS.items()
    }
    if column["number"] is None:
        raise ValueError(f"roster must have a column number and a row for each student, got {path}")
    for line, row in enumerate(rows, 2):
        values = {key: (row.get(name) or "").strip() for key, name in column.items()}
        number = ascii_digits(values["number"])
        if not re.fullmatch("[A-Za-z0-9]+", number) or number in students:
            raise ValueError(
                f"roster must give each student another number of letters and digits, got {number!r} in line {line}"
            )
        own = parse_deadline(f"roster's deadline in line {line}", values["deadline"])
        students[number] = Student(
            number, values["last_name"], values["first_name"], own or everyone
        )
    return students


def parse_deadline(name, text):
    """A time like 2026-12-01T18:00 in this computer's time zone; a date alone means the end of that day."""
    text = ascii_digits(text or "").strip()
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} must be a time like 2026-12-01T18:00, got {text!r}") from None
    return (time + timedelta(days=len(text) <= 10)).astimezone()


def grade_class(submissions, roster, out, deadline=None):
    """Grade what lies in the folder ``submissions``, which is only read, into the folder ``out``.

    ``out`` is new, or a course of `handout`, or the folder of an earlier run: then students whose answers are graded
    are not run again, points given by hand stay, and the tables and pages are written anew.
    """
    if not Path(submissions).is_dir():
        raise ValueError(f"submissions must be a folder, got {submissions}")
    out, submissions = Path(out).resolve(), Path(submissions).resolve()
    if out == submissions or out in submissions.parents or submissions in out.parents:
        raise ValueError(f"out must lie apart from the submissions, got {out}")
    students = read_roster(roster, deadline)
    with open_course(out) as lock:
        from .sandbox import open_door

        if why := open_door():
            print(f"warning: labs run with your rights and network, they cannot be shut in: {why}")
        release = read_labs(out, "release")
        hand_ins, strange, other = collecting.find_hand_ins(submissions, students)
        notes = [("", line) for line in strange]
        add_students(out, students)
        for number, state in grade_all(out, students, hand_ins, other, release, lock):
            print(f"{number} {students[number].last_name}: {state}", flush=True)
        write_all(out, students, hand_ins, release, notes)


@contextmanager
def open_course(out):
    """Make the course ``out`` if it is not there, and keep it from a second run."""
    if not (out / "gradebook.db").exists():
        making = out / ".making"
        if out.is_dir() and any(path.name not in (".making", ".lock") for path in out.iterdir()):
            raise ValueError(f"out must be new, or a course that handout or grade made, got {out}")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        handout.write_course(handout.load_labs(), making)
        for path in sorted(making.iterdir(), key=lambda path: path.name == "gradebook.db"):
            path.rename(out / path.name)
        making.rmdir()
    if "RunShutIn" not in (out / "nbgrader_config.py").read_text(encoding="utf-8"):
        raise ValueError(f"out must be a course of this version of the package, got {out}")
    try:
        import fcntl
    except ImportError:
        raise OSError("grade needs Linux or macOS") from None
    with open(out / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OSError(f"{out} is being graded by another run; wait until it is done") from None
        yield lock


def read_labs(out, *where):
    """The labs in a folder of the course: a dictionary from name to notebook, each cell's text one string."""
    labs = {}
    for path in sorted(out.joinpath(*where, ASSIGNMENT).glob("*.ipynb")):
        labs[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        for cell in labs[path.stem]["cells"]:
            cell["source"] = "".join(cell["source"])
    return labs


@contextmanager
def gradebook(out):
    from nbgrader.api import Gradebook
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with Gradebook(f"sqlite:///{out / 'gradebook.db'}?timeout=60") as book:
            yield book
    except SQLAlchemyError as error:
        raise OSError(f"{out / 'gradebook.db'} cannot be used: {error}") from None


def add_students(out, students):
    with gradebook(out) as book:
        for one in students.values():
            book.update_or_create_student(
                one.number, last_name=one.last_name, first_name=one.first_name
            )


def grade_all(out, students, hand_ins, other, release, lock):
    """Grade the students, some at a time; gives each one's number and how it went."""
    running = set()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pool = ThreadPoolExecutor(min(WORKERS, cores))
    try:
        tasks = {
            pool.submit(
                grade_one, out, n, hand_ins.get(n, []), other.get(n, []), release, running, lock
            ): n
            for n in students
        }
        for task in as_completed(tasks):
            yield tasks[task], task.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(running):
            end_tree(process.pid)
        pool.shutdown()


def grade_one(out, number, hand_ins, other, release, running, lock):
    """Grade a student; whatever goes wrong is said, and stays with this student."""
    try:
        state = read_state(out, number)
        labs, notes, reports, used = read_answers(hand_ins, release)
        reports += filter(collecting.is_report, other)
        if not hand_ins:
            if state.get("key"):
                return "graded before; the hand-in is no longer there"
            notes = [f"no labs; there is {', '.join(other[:5])}"] if other else ["no hand-in"]
        elif not reports:
            notes.append("no report: what was handed in holds no PDF")
        report = "; ".join(reports)
        key = hashlib.sha256(json.dumps(labs, sort_keys=True).encode(errors="replace")).hexdigest()
        if state.get("key") == key and state.get("done"):
            write_state(out, number, {**state, "collected": notes, "used": used, "report": report})
            return "graded before"
        state = {"key": key, "collected": notes, "used": used, "report": report}
        write_state(out, number, state)
        if not labs:
            return "; ".join(notes)
        write_submission(out, number, labs, used)
        failed = run_nbgrader(out, number, running, lock)
        ran = [failed] if failed else []
        for name, lab in read_labs(out, "autograded", number).items():
            ran += [
                f"{name}, {note}" for note in lab["metadata"].get("grading", {}).get("notes", ())
            ]
        ran += [note for lab in sorted(labs) for note in suspicious(lab, labs[lab])]
        write_state(out, number, {**state, "ran": ran, "done": not failed})
        return failed or f"{len(labs)} labs graded, {len(notes) + len(ran)} notes"
    except Exception as error:  # one student never stops the class
        log = out / "logs" / f"{number}.log"
        log.parent.mkdir(exist_ok=True)
        with open(log, "a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
        failed = f"could not be graded: {type(error).__name__}, see {log}"
        write_state(out, number, {"collected": [failed]})
        return failed


def read_state(out, number):
    path = out / "state" / f"{number}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_state(out, number, state):
    path = out / "state" / f"{number}.json"
    path.parent.mkdir(exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(state, indent=1), encoding="utf-8")
    new.replace(path)


def read_answers(hand_ins, release):
    """The newest hand-in with labs in it: rebuilt labs, lines about the rest, PDFs, and its [name, time]."""
    notes, reports = [], []
    for i, hand_in in enumerate(hand_ins):
        notebooks, found, said = collecting.read_notebooks(hand_in)
        reports += found
        cells, more = collecting.sort_labs(notebooks, release)
        notes += [f"{hand_in.name}: {line}" for line in said + more]
        if cells:
            labs = {lab: collecting.rebuild(release[lab], cells[lab]) for lab in cells}
            missing = sorted(release.keys() - labs.keys())
            notes += [f"without {', '.join(missing)}"] if missing else []
            for older in hand_ins[i + 1 :]:
                reports = reports or collecting.read_notebooks(older)[1]
            if i:
                notes.append(f"{hand_ins[0].name} holds no lab; {hand_in.name} was graded instead")
            return labs, notes, reports, [hand_in.name, hand_in.time]
        notes.append(f"{hand_in.name}: holds no lab")
    return {}, notes, reports, None


def write_submission(out, number, labs, used):
    folder = out / "submitted" / number / ASSIGNMENT
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, lab in labs.items():
        text = json.dumps(lab, indent=1).encode(errors="replace")
        (folder / f"{name}.ipynb").write_bytes(text)
    time = datetime.fromtimestamp(used[1], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    (folder / "timestamp.txt").write_text(time, encoding="utf-8")


def run_nbgrader(out, number, running, lock):
    """Let nbgrader grade a student in a process of its own, which holds the lock too; returns what went wrong."""
    path = str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", os.defpath)
    command = [
        sys.executable,
        "-m",
        "nbgrader",
        "autograde",
        ASSIGNMENT,
        f"--student={number}",
        "--force",
    ]
    log = out / "logs" / f"{number}.log"
    log.parent.mkdir(exist_ok=True)
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            cwd=out,
            env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            pass_fds=(lock.fileno(),),  # a killed run leaves the folder locked until this ends
        )
        running.add(process)
        try:
            code = process.wait(STUDENT_SECONDS)
        except subprocess.TimeoutExpired:
            end_tree(process.pid)
            return f"not graded: took more than {STUDENT_SECONDS} seconds"
        finally:
            running.discard(process)
    return f"not graded: nbgrader stopped, see {log}" if code else ""


def end_tree(pid):
    import psutil

    try:
        process = psutil.Process(pid)
        for one in [*process.children(recursive=True), process]:
            one.kill()
    except psutil.Error:
        pass


def suspicious(name, lab):
    """Lines about code that no answer needs, for a person to read."""
    own = [
        cell
        for cell in lab["cells"]
        if cell["cell_type"] == "code"
        and (cell["metadata"].get("added") or cell["metadata"].get("nbgrader", {}).get("solution"))
    ]
    modules = set().union(
        *(collecting.names(c["source"]).imported for c in lab["cells"] if c["cell_type"] == "code")
    )
    for cell in own:
        found = collecting.names(cell["source"])
        try:
            nodes = list(ast.walk(ast.parse(cell["source"])))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        words = {getattr(node, "id", getattr(node, "attr", "")) for node in nodes}
        words |= {
            alias.name.split(".")[0]
            for node in nodes
            for alias in getattr(node, "names", ())
            if hasattr(alias, "name")
        }
        words = {word for word in words if word in WORDS or word.startswith("__")}
        words |= {
            f"a change of {word}" for word in found.changed & modules if _assigns(nodes, word)
        }
        if words:
            where = cell["metadata"].get("nbgrader", {}).get("grade_id", "an added cell")
            yield f"{name}, {where}: uses {', '.join(sorted(words))}; read it"


def _assigns(nodes, name):
    targets = [t for node in nodes for t in getattr(node, "targets", ())]
    return any(
        isinstance(target, ast.Attribute)
        and name in {getattr(n, "id", "") for n in ast.walk(target)}
        for target in targets
    )


def days_late(student, used):
    """Begun days after the deadline."""
    if student.deadline is None or not used:
        return 0
    return max(0, math.ceil((used[1] - student.deadline.timestamp()) / 86400))


def questions(release):
    """The columns of the table: a dictionary from question to its graded cells, (grade_id, points)."""
    columns = defaultdict(list, {question: [] for question in QUESTIONS})
    owner = {grade_id: question for question, (_, cells) in QUESTIONS.items() for grade_id in cells}
    for lab in release.values():
        for grade_id, cell in marked(lab).items():
            points = cell["metadata"]["nbgrader"].get("points") or 0
            if cell["metadata"]["nbgrader"]["grade"] and points:
                columns[owner.get(grade_id, grade_id)].append((grade_id, points))
    return {question: cells for question, cells in columns.items() if cells}


def read_grades(out, students):
    """Of each student, by ``grade_id``: score, whether a person must still give it, and the comment."""
    from nbgrader.api import MissingEntry

    scores = {}
    with gradebook(out) as book:
        for number in students:
            try:
                labs = book.find_submission(ASSIGNMENT, number).notebooks
            except MissingEntry:
                labs = []
            comments = {c.name: c.comment for lab in labs for c in lab.comments if c.comment}
            scores[number] = {
                g.name: {
                    "score": g.score,
                    "open": g.manual_score is None and g.auto_score is None,
                    "again": g.manual_score is not None and g.needs_manual_grade,
                    "comment": comments.get(g.name, ""),
                }
                for lab in labs
                for g in lab.grades
            }
            for name, comment in comments.items():
                scores[number].setdefault(name, {"comment": comment})
    return scores


def write_all(out, students, hand_ins, release, notes):
    """Write grades.csv, needs-a-person.csv, similar.csv and a page for each student."""
    columns, scores, rows = questions(release), read_grades(out, students), []
    (out / "feedback").mkdir(exist_ok=True)
    for number, student in students.items():
        state, given = read_state(out, number), scores[number]
        used = state.get("used")
        row = {"number": number, "last_name": student.last_name, "first_name": student.first_name}
        for question, cells in columns.items():
            row[question] = f"{sum(given.get(name, {}).get('score', 0) for name, _ in cells):g}"
        row["total"] = f"{sum(float(row[question]) for question in columns):g}"
        opened = [name for name, grade in given.items() if grade.get("open")]
        again = [name for name, grade in given.items() if grade.get("again")]
        flags = [*state.get("collected", ()), *state.get("ran", ())]
        if again:
            flags.append(f"graded by hand, then run again, look once more: {', '.join(again)}")
        row["to_grade_by_hand"] = len(opened)
        row["report"] = state.get("report", "")
        row["handed_in"] = collecting.local_time(used[1]) if used else ""
        row["days_late"] = days_late(student, used)
        row["flags"] = len(flags)
        rows.append(row)
        notes += [(number, flag) for flag in flags]
        page = feedback(student, row, columns, given, state, read_labs(out, "autograded", number))
        (out / "feedback" / f"{number}.html").write_text(page, encoding="utf-8", errors="replace")
    write_table(out / "grades.csv", rows)
    people = [
        {
            "number": n,
            "last_name": students[n].last_name if n else "",
            "what": " ".join(what.split()),
        }
        for n, what in notes
    ]
    write_table(out / "needs-a-person.csv", people, ("number", "last_name", "what"))
    alike = similar(out, students, release)
    write_table(out / "similar.csv", alike, ("answer", "equal_to", "short", "students"))
    total = sum(points for cells in columns.values() for _, points in cells)
    print(
        f"wrote {out / 'grades.csv'}: {len(rows)} students, {len(columns)} columns, {total:g} points"
    )
    print(f"wrote needs-a-person.csv ({len(people)} lines), similar.csv ({len(alike)}), feedback/")


def write_table(path, rows, columns=None):
    """Write a CSV file that a spreadsheet opens as text, whole or not at all."""
    new = path.with_suffix(".new")
    with open(new, "w", encoding="utf-8-sig", newline="", errors="replace") as file:
        writer = csv.DictWriter(file, columns or list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {k: f"'{v}" if re.match(r"[=+@\t-]", str(v)) else v for k, v in row.items()}
            )
    new.replace(path)


def normal_form(function):
    """The number of statements of a function, and its tree without its name, its words, and the names of what it binds.

    None if it is small.
    """
    tree = copy.deepcopy(function)
    if ast.get_docstring(tree) is not None:
        tree.body = tree.body[1:] or [ast.Pass()]
    bound, tree.name = {}, ""
    nodes = list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.arg):
            node.annotation = None
            bound.setdefault(node.arg, f"v{len(bound)}")
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.setdefault(node.id, f"v{len(bound)}")
    for node in nodes:
        if isinstance(node, ast.arg):
            node.arg = bound[node.arg]
        elif isinstance(node, ast.Name):
            node.id = bound.get(node.id, node.id)
    statements = sum(isinstance(node, ast.stmt) for node in nodes) - 1  # but for the def
    return (statements, ast.dump(tree)) if len(nodes) >= SMALL else None


def forms(source):
    try:
        tree = ast.parse(source)
        found = ((n.name, normal_form(n)) for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))
        return [(name, form) for name, form in found if form]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def similar(out, students, release):
    """Groups of answers that are equal up to their names, to each other or to the package's or the book's own."""
    own = {}
    for path in sorted((handout.ROOT / "dgm_helpers").glob("*.py")):
        own |= {
            form: f"{path.stem}.{name}" for name, form in forms(path.read_text(encoding="utf-8"))
        }
    for lab in read_labs(out, "source").values():
        for cell in marked(lab).values():
            own |= {form: "the book's solution" for _, form in forms(cell["source"])}
    given = {
        form for lab in release.values() for c in lab["cells"] for _, form in forms(c["source"])
    }
    groups = defaultdict(set)
    for number in students:
        for lab in read_labs(out, "submitted", number).values():
            for grade_id, cell in marked(lab).items():
                if not cell["metadata"]["nbgrader"]["solution"]:
                    continue
                if cell["cell_type"] == "code":
                    keys = [form for _, form in forms(cell["source"])]
                else:
                    words = re.findall(r"\w+", cell["source"].lower())
                    keys = [(len(words), " ".join(words))] if len(words) >= SMALL else []
                for key in set(keys) - given:
                    groups[grade_id, key].add(number)
    return [
        {
            "answer": name,
            "equal_to": own.get(key, "each other"),
            "short": "yes" if key[0] < SHORT else "",
            "students": " ".join(sorted(group)),
        }
        for (name, key), group in sorted(groups.items())
        if len(group) > 1 or key in own
    ]
