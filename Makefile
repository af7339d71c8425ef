PYTHON ?= python3
LAB ?=
EDITION ?=

help:
	@echo "make book     build the book; prints the path of its first page; EDITION=student leaves the solutions out"
	@echo "make test     run the tests, build the book, and run every cell of the notebooks again"
	@echo ""
	@echo "make lab      open the notebooks in JupyterLab"
	@echo "make site     the book in one zip, which opens by a double click on its index.html"
	@echo "make pdf      the book as one PDF; needs Chromium"
	@echo "make labs     run all notebooks from top to bottom and store their outputs; LAB=05 runs one, LAB=\"05 12\" two"
	@echo "make format   format all Python code, notebooks included"
	@echo "make bench    run the timings against other implementations"
	@echo "make soak     try malformed arguments on the package for a long time, other ones each time"
	@echo ""
	@echo "Each installs the pinned requirements into .venv the first time."
	@echo "REPOSITORY=owner/name make book adds links to that repository on GitHub, and to Colab and Binder."
	@echo "Python 3.11 or newer is needed: make PYTHON=python3.12 book names another one."

ifeq ($(EDITION),student)
book: .venv/installed
	.venv/bin/python tools/student_edition.py _build/student
	.venv/bin/jupyter-book build -W --keep-going --all _build/student
	@echo "$(CURDIR)/_build/student/_build/html/index.html"
else
# only what has changed is built again; after a warning everything is, so that the warning comes again
book: .venv/installed
	.venv/bin/jupyter-book build -W --keep-going . || { rm -rf _build/.doctrees; exit 1; }
	@echo "$(CURDIR)/_build/html/index.html"
endif

# a worker for each core, at most four, each on one thread; a file's tests stay together, since a notebook's cells need each other
test: .venv/installed
	@OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

site: book
	@.venv/bin/python tools/site.py

pdf: book
	@.venv/bin/python tools/pdf.py

lab: .venv/installed
	.venv/bin/jupyter lab notebooks

labs: .venv/installed
	@.venv/bin/python tools/labs.py $(LAB)

format: .venv/installed
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .

bench: .venv/installed
	@for file in benchmarks/*.py; do echo "== $$file"; .venv/bin/python $$file || exit 1; done

soak: .venv/installed
	@HYPOTHESIS_PROFILE=soak OMP_NUM_THREADS=1 .venv/bin/python -m pytest tests/test_bad_input.py

.venv/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0])'
	@echo "Installing the pinned requirements into .venv: some minutes, 1.7 GB"
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

.PHONY: help book test site pdf lab labs format bench soak
