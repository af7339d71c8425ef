PYTHON ?= python3

help:
	@echo "make book   build the book; prints the path of its first page"
	@echo "make test   run the tests, and every cell of the notebooks again"
	@echo ""
	@echo "Both install the pinned requirements into .venv the first time."
	@echo "Python 3.11 or newer is needed: make PYTHON=python3.12 book names another one."

book: .venv/installed
	.venv/bin/jupyter-book build -W --keep-going --all .
	@echo "$(CURDIR)/_build/html/index.html"

test: .venv/installed
	@.venv/bin/python -m pytest

.venv/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0])'
	@echo "Installing the pinned requirements into .venv: some minutes, 1.7 GB"
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

.PHONY: help book test
