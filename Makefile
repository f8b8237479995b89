# make demo   plan an instance of data/ in an environment of its own
# make test   run the tests, with all optional dependencies
# make test-slow   the tests that take minutes
# make lint   lint, format and type checks
# PYTHON=...  choose the interpreter (Python 3.11 or newer)

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
TAG := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VENV ?= .venv-$(TAG)
BIN := $(VENV)/bin
INSTANCE ?= data/gpt_training.json

.PHONY: demo test test-slow lint clean

demo: $(VENV)/.installed
	$(BIN)/placer info $(INSTANCE)
	@mkdir -p demo
	$(BIN)/placer solve $(INSTANCE) --out demo/result.json
	$(BIN)/placer check $(INSTANCE) demo/result.json

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(BIN)/python:
	@test -n "$(TAG)" || { echo "placer needs Python 3.11 or newer; set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,partition,dask]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf .venv* build demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
