"""Put the built book into one file, ``_build/book.zip``, that opens by a double click on ``book/index.html`` in it."""

import sys
import zipfile
from pathlib import Path

BUILD = Path(__file__).parent.parent / "_build"


def main():
    if not (BUILD / "html" / "index.html").exists():
        sys.exit("no archive is made: it needs the built book; make book builds it")
    with zipfile.ZipFile(BUILD / "book.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((BUILD / "html").rglob("*")):
            archive.write(path, Path("book") / path.relative_to(BUILD / "html"))
    if not (BUILD / "html" / "downloads" / "book.pdf").exists():
        print("without the PDF, which make pdf makes")
    print(BUILD / "book.zip")


if __name__ == "__main__":
    main()
