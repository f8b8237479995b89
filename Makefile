# make demo   import a real model, plan it and check the plan, in an environment of its own
# make test   run the tests, with all optional dependencies
# make test-slow   the tests that take minutes
# make lint   lint, format and type checks
# PYTHON=...  choose the interpreter (Python 3.11 or newer)

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
TAG := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VENV ?= .venv-$(TAG)
BIN := $(VENV)/bin
MODEL ?= light:resnet50
DEVICES ?= 4xt4

.PHONY: demo test test-slow lint clean

demo: $(VENV)/.installed
	@mkdir -p demo
	$(BIN)/placer import onnx $(MODEL) --devices $(DEVICES) --by module --out demo/instance.json
	$(BIN)/placer info demo/instance.json
	$(BIN)/placer solve demo/instance.json --out demo/result.json
	$(BIN)/placer check demo/instance.json demo/result.json
	$(BIN)/placer report demo/result.json --instance demo/instance.json --out demo/report.html
	@echo "open demo/report.html in a browser; it needs no network"

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
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[onnx]'
	@touch $@

# PyTorch comes first, as the build for processors that is tested, and on Python 3.11 only; without it the tests
# that need it say so and are skipped.
$(VENV)/.installed-dev: $(BIN)/python pyproject.toml
ifeq ($(TAG),3.11)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[torch-test]'
endif
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,dask,onnx,partition,plot,profile]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf .venv* build demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
