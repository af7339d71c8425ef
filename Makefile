PYTHON ?= python3
BIN := .venv/bin
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help book test

help:
	@echo "make book   build the book, print the path of its first page"
	@echo "make test   run the package's tests, then every notebook again under nbval"

book: .venv/ready
	$(BIN)/jupyter-book build -W --keep-going --all .
	@echo "$(CURDIR)/_build/html/index.html"

test: .venv/ready
	$(BIN)/python -m pytest --nbval --nbval-current-env tests notebooks

.venv/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or newer is needed, {sys.executable} is {v.major}.{v.minor}; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -q -r requirements.txt
	$(BIN)/pip install --disable-pip-version-check -q --no-build-isolation --no-deps -e .
	@touch $@
