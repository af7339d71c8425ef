"""From a folder of downloads to the answers of each student. Nothing is unpacked: only notebooks are read, into memory.

A hand-in is a zip file, or a folder with notebooks; it belongs to the student whose number stands in its name. A
notebook is a lab if it holds its cells, whatever its name. What cannot be read is named, and costs only itself.
"""

import ast
import copy
import functools
import hashlib
import io
import json
import lzma
import os
import re
import stat
import struct
import symtable
import unicodedata
import zipfile
import zlib
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

ARCHIVES = {".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz"}
MEMBERS, TOTAL_BYTES, NOTEBOOK_BYTES, RATIO, NESTED = 20_000, 2**29, 2**26, 200, 2
CELLS, CELL_TEXT = 2000, 100_000
TAG = re.compile(
    r"<(?=[A-Za-z/!?])"
)  # with a blank after it a browser, Formgrader's too, shows it as text
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,  # a password, too deep a JSON
    NotImplementedError,
    ValueError,
    MemoryError,
)
START = "00_start_here"  # the page with the questions, no lab
SKIP = "skip-execution"  # the tag of a cell that does not run


@dataclass
class HandIn:
    """What one student handed in at one time: a zip file, or the notebooks of a folder."""

    name: str
    time: float
    paths: list = field(default_factory=list)


def ascii_digits(text):
    """The text with Persian, Arabic and other digits as 0 to 9."""
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)


def find_hand_ins(folder, numbers):
    """The hand-ins below a folder: a dictionary from student number to a list, the newest first.

    Returns also lines about files that a person must look at, and a dictionary from number to the names of other files.
    """
    folder, found, strange, other = Path(folder), defaultdict(dict), [], defaultdict(list)
    for path in sorted(_files(folder)):
        name = path.relative_to(folder)
        kind = path.suffix.lower()
        try:
            zipped = kind == ".zip" or not kind and zipfile.is_zipfile(path)
            owner = _owner(name.parts, numbers)
            if not owner and zipped:
                owner = _owner(_names_within(path), numbers)
            if path.is_symlink():
                strange.append(f"{name}: a link; it was not followed")
            elif kind in ARCHIVES:
                strange.append(
                    f"{name}: cannot be opened here; unpack it into a folder {path.stem}"
                )
            elif not (zipped or kind == ".ipynb"):
                if owner:
                    other[owner].append(str(name))
            elif not owner:
                strange.append(f"{name}: no number of the roster, or several, in its name")
            else:
                key = name if zipped else Path(name.parts[0])
                time = path.stat().st_mtime
                hand_in = found[owner].setdefault(key, HandIn(str(key), time))
                hand_in.time = max(hand_in.time, time)
                hand_in.paths.append(path)
        except UNREADABLE as error:
            strange.append(f"{name}: {error}")
    newest_first = {
        number: sorted(hand_ins.values(), key=lambda one: (-one.time, one.name))
        for number, hand_ins in found.items()
    }
    return newest_first, strange, other


def _files(folder):
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _hidden(name)]
        yield from (Path(where) / name for name in files if not _hidden(name))


def _hidden(name):
    return any(
        p == "__MACOSX" or p.startswith(".") and p != ".." for p in PurePosixPath(name).parts
    )


def _owner(parts, numbers):
    """The one number of the roster in a name: the last part of a path that holds one decides."""
    for part in reversed(parts):
        words = re.findall(r"[A-Za-z0-9]+", text := ascii_digits(part)) + re.findall(r"\d+", text)
        held = {word for word in words if word in numbers}
        if held:
            return held.pop() if len(held) == 1 else None
    return None


def _names_within(path):
    with suppress(*UNREADABLE), zipfile.ZipFile(path) as archive:
        return [" ".join(archive.namelist()[:MEMBERS])]
    return []


class Budget:
    """What may be read of one hand-in."""

    def __init__(self):
        self.members, self.bytes = MEMBERS, TOTAL_BYTES

    def count(self, members):
        self.members -= members
        if self.members < 0:
            raise ValueError(f"holds more than {MEMBERS} files")

    def read(self, archive, member):
        size, packed = member.file_size, max(member.compress_size, 1)
        most = min(
            self.bytes, TOTAL_BYTES if member.filename.lower().endswith(".zip") else NOTEBOOK_BYTES
        )
        if size > most or size > 2**20 and size > RATIO * packed:
            raise ValueError(f"{packed} bytes that unpack to {size}: too much")
        with archive.open(member) as file:
            content = file.read(most + 1)
        self.bytes -= len(content)
        if len(content) > most:
            raise ValueError("unpacks to more than it says")
        return content


def read_notebooks(hand_in):
    """The notebooks of a hand-in: a list of names and bytes, the names of its PDFs, and what could not be read."""
    notebooks, reports, notes, budget = [], [], [], Budget()
    for path in hand_in.paths:
        try:
            if path.suffix.lower() != ".ipynb":
                _read_zip(path, "", budget, notebooks, reports, notes, 0)
            elif path.stat().st_size > NOTEBOOK_BYTES:
                raise ValueError(f"larger than {NOTEBOOK_BYTES >> 20} MB")
            else:
                notebooks.append((path.name, path.read_bytes()))
        except UNREADABLE as error:
            notes.append(f"{path.name} cannot be read: {error}")
    return notebooks, reports, notes


def is_report(name):
    """Whether a name is that of a student's PDF, not of one that came with a Python environment."""
    path = PurePosixPath(name)
    return path.suffix.lower() == ".pdf" and "site-packages" not in path.parts


def _read_zip(file, prefix, budget, notebooks, reports, notes, depth):
    with zipfile.ZipFile(file) as archive:
        budget.count(len(archive.infolist()))
        for member in archive.infolist():
            name, kind = prefix + member.filename, PurePosixPath(member.filename).suffix.lower()
            if member.is_dir() or _hidden(member.filename):
                continue
            parts = re.split(r"[/\\]", member.filename)
            if ".." in parts or parts[0] == "" or re.match("[A-Za-z]:", parts[0]):
                notes.append(f"{name}: a path that leads out of the zip")
            try:
                if stat.S_ISLNK(member.external_attr >> 16):
                    notes.append(f"{name}: a link; it was not followed")
                elif kind == ".ipynb":
                    notebooks.append((name, budget.read(archive, member)))
                elif is_report(name) and member.file_size:
                    reports.append(name)
                elif kind == ".zip" and depth == NESTED:
                    notes.append(f"{name}: a zip within a zip, too deep")
                elif kind == ".zip":
                    inner = io.BytesIO(budget.read(archive, member))
                    _read_zip(inner, f"{name}/", budget, notebooks, reports, notes, depth + 1)
                elif kind in ARCHIVES:
                    notes.append(f"{name}: cannot be opened here")
            except UNREADABLE as error:
                notes.append(f"{name} cannot be read: {error}")


def parse(content):
    """The cells of a notebook: (grade_id or None, cell id, is it code, source, attachments) of each.

    Raises ValueError in one line if it is none. Outputs, points and all other metadata are forgotten.
    """
    if not content.strip():
        raise ValueError("empty")
    try:
        text = content.decode(
            "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        )
        lab = json.loads(text)
        cells = [_parse_cell(cell) for cell in lab["cells"]]
    except (KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("not a notebook") from None
    except ValueError as error:
        raise ValueError(f"not a notebook: {error}") from None
    if len(cells) > CELLS or any(len(cell[3]) > CELL_TEXT for cell in cells):
        raise ValueError(f"more than {CELLS} cells, or {CELL_TEXT} letters in one")
    return cells


def _parse_cell(cell):
    source = cell.get("source", "")
    source = source if isinstance(source, str) else "".join(map(str, source))
    mark = cell.get("metadata", {}).get("nbgrader", {})
    grade_id = mark.get("grade_id") if isinstance(mark, dict) else None
    pictures = {
        str(name): {kind: text for kind, text in data.items() if is_picture(kind, text)}
        for name, data in (cell.get("attachments") or {}).items()
    }
    code = cell.get("cell_type") == "code"
    return str(grade_id) if grade_id else None, str(cell.get("id")), code, source, pictures


def is_picture(kind, text):
    """Whether a picture of a notebook is one: it becomes a part of the pages that show it."""
    known = kind in ("image/png", "image/jpeg", "image/gif") and isinstance(text, str)
    return known and re.fullmatch(r"[A-Za-z0-9+/=\s]*", text) is not None


def sort_labs(notebooks, release):
    """The labs among notebooks, by what they hold: a dictionary from lab to cells, and lines about the rest."""
    owner = {grade_id: lab for lab, cells in release.items() for grade_id in marked(cells)}
    labs, notes = {}, []
    for name, content in notebooks:
        try:
            cells = parse(content)
        except ValueError as error:
            notes.append(f"{name} cannot be read: {error}")
            continue
        held = [owner[cell[0]] for cell in cells if cell[0] in owner]
        if not held:
            if not PurePosixPath(name).name.startswith(START):
                notes.append(f"{name}: none of the labs")
            continue
        lab = max(dict.fromkeys(held), key=held.count)
        answers = answered(cells, release[lab])
        if lab in labs:
            notes.append(
                f"{lab} is there twice; the one with more answers counts, the last of equals"
            )
            if len(answers) < len(answered(labs[lab], release[lab])):
                continue
        labs[lab] = cells
    return labs, notes


def marked(lab):
    """The cells of a released lab that nbgrader knows, by their ``grade_id``."""
    marks = ((cell["metadata"].get("nbgrader", {}).get("grade_id"), cell) for cell in lab["cells"])
    return {grade_id: cell for grade_id, cell in marks if grade_id}


def answered(cells, released):
    """The answers in a student's cells: a dictionary from ``grade_id`` to the last cell that is not as handed out."""
    given = marked(released)
    return {
        cell[0]: cell
        for cell in cells
        if cell[0] in given
        and given[cell[0]]["metadata"]["nbgrader"]["solution"]
        and cell[3].strip() != given[cell[0]]["source"].strip()
    }


def rebuild(released, cells):
    """The released lab with a student's answers, and the added cells that define what these use.

    Cells that no graded check needs are tagged, so that they do not run.
    """
    answers, ids = answered(cells, released), {cell.get("id") for cell in released["cells"]}
    given = {cell["source"] for cell in released["cells"]}
    added, waiting = {}, []
    for grade_id, cell_id, code, source, _ in cells:
        if grade_id in marked(released):
            added.setdefault(grade_id, []).extend(waiting)
            waiting = []
        elif code and source.strip() and source not in given:
            waiting.append((cell_id in ids, source))
    lab = copy.deepcopy(released)
    lab["cells"] = []
    for cell in copy.deepcopy(released["cells"]):
        grade_id = cell["metadata"].get("nbgrader", {}).get("grade_id")
        for changed, source in added.pop(grade_id, ()):
            lab["cells"].append(_added(source, len(lab["cells"]), changed))
        if grade_id in answers:
            *_, source, pictures = answers[grade_id]
            cell["source"] = source
            if cell["cell_type"] == "markdown":
                cell["source"] = TAG.sub("< ", source)
                cell["attachments"] = pictures
        lab["cells"].append(cell)
    leave_out(lab)
    lab["cells"] = [c for c in lab["cells"] if not (c["metadata"].get("added") and _skipped(c))]
    return lab


def _added(source, n, changed):
    name = hashlib.sha256(f"{n} {source}".encode(errors="replace")).hexdigest()[:8]
    metadata = {"added": True, "changed": changed}
    return {
        "cell_type": "code",
        "id": name,
        "metadata": metadata,
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def _skipped(cell):
    return SKIP in cell["metadata"].get("tags", ())


def leave_out(lab):
    """Tag the code cells of a lab that its graded cells do not need, backwards from these."""
    code = [cell for cell in lab["cells"] if cell["cell_type"] == "code"]
    known = [names(cell["source"]) for cell in code]
    marks = [cell["metadata"].get("nbgrader", {}) for cell in code]
    imported = set().union(*(found.imported for found in known))
    handed_out = [not m and not c["metadata"].get("added") for m, c in zip(marks, code)]
    own = set().union(*(found.bound for found, ours in zip(known, handed_out) if ours))
    kept = {i for i, mark in enumerate(marks) if mark.get("grade") and mark.get("points", 0) > 0}
    last, before = max(kept, default=-1), None
    kept |= {
        i for i in range(last) if marks[i].get("solution") and known[i] == Names()
    }  # SyntaxError
    needed = set().union(*(known[i].used for i in kept))
    while before != kept:
        before = set(kept)
        for i in range(last):
            makes = known[i].bound | known[i].changed - imported
            if code[i]["metadata"].get("added"):
                makes = known[i].bound - own
            if (
                i not in kept
                and "further" not in code[i]["metadata"].get("tags", ())
                and makes & needed
            ):
                kept.add(i)
                needed |= known[i].used
    for i, cell in enumerate(code):
        if i not in kept:
            cell["metadata"]["tags"] = [*cell["metadata"].get("tags", ()), SKIP]


@dataclass(frozen=True)
class Names:
    """What a cell binds, imports, uses from outside its functions, and changes by a method or an assignment."""

    bound: frozenset = frozenset()
    imported: frozenset = frozenset()
    used: frozenset = frozenset()
    changed: frozenset = frozenset()


@functools.lru_cache(4096)
def names(source):
    """The names of a cell; none if Python cannot read it."""
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        text = TransformerManager().transform_cell(source)
        table, tree = symtable.symtable(text, "cell", "exec"), ast.parse(text)
    except Exception:  # SyntaxError, or whatever breaks Python's or IPython's reader
        return Names()
    top = table.get_symbols()
    bound = {s.get_name() for s in top if s.is_assigned() or s.is_imported()}
    used = {s.get_name() for s in top if s.is_referenced()}
    tables = list(table.get_children())
    for inner in tables:
        tables += inner.get_children()
        used |= {s.get_name() for s in inner.get_symbols() if s.is_global() and s.is_referenced()}
        bound |= {s.get_name() for s in inner.get_symbols() if s.is_declared_global()}
    loops = [node.target for node in ast.walk(tree) if isinstance(node, ast.For)]
    used -= {n.id for target in loops for n in ast.walk(target) if isinstance(n, ast.Name)}
    imported = {s.get_name() for s in top if s.is_imported()}
    return Names(*map(frozenset, (bound, imported, used, set(_changed(tree)))))


def _changed(tree):
    for node in ast.walk(tree):
        targets = []
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            targets = [node.value.func]
        elif isinstance(node, (ast.Assign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            inside = isinstance(target, (ast.Attribute, ast.Subscript))
            while isinstance(target, (ast.Attribute, ast.Subscript, ast.Call)):
                target = target.func if isinstance(target, ast.Call) else target.value
            if inside and isinstance(target, ast.Name):
                yield target.id


def local_time(seconds):
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
