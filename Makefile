# make demo       import a real model, plan it and check the plan, in an environment of its own
# make test       run the tests: every feature, a few random instances each (minutes)
# make test-all   run everything, with many random instances (PLACER_TEST_LEVEL=stress make test-all: far more)
# make lint       lint, format and type checks
# make docs       build the pages of docs/ into build/docs: no warning, no dead link; make docs-serve shows them
# make notebooks  run the notebooks of docs/tutorials and keep what they print with them
# make release  build sdist and wheel into dist/, and try each in a fresh environment
# make pins       renew the tested versions in .ci/constraints.txt (of OLD_PYTHON, 3.11, and NEW_PYTHON)
# PYTHON=...      choose the interpreter (Python 3.11 or newer)
# VERSIONS=...    of what is installed: pinned (the default), newest, or the lowest that pyproject.toml allows

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
TAG := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VERSIONS ?= pinned
VENV ?= .venv-$(patsubst pinned-%,%,$(VERSIONS)-$(TAG))
BIN := $(VENV)/bin
MODEL ?= light:resnet50
DEVICES ?= 4xt4
OLD_PYTHON ?= python3.11
NEW_PYTHON ?= python3.13
PORT ?= 8000

# PyTorch is the build for processors that is tested, on Python 3.11 and beside the pinned versions only; without
# it the tests that need it say so and are skipped.
TORCH ?= $(filter 3.11-pinned,$(TAG)-$(VERSIONS))
LOWEST := $(VENV)/lowest.txt
CONSTRAINTS := $(if $(filter pinned,$(VERSIONS)),.ci/constraints.txt,$(if $(filter lowest,$(VERSIONS)),$(LOWEST)))
# As a variable of the environment, the constraints hold for the environments of builds too.
INSTALL = $(if $(CONSTRAINTS),PIP_CONSTRAINT=$(CONSTRAINTS)) $(BIN)/python -m pip install --quiet \
	--disable-pip-version-check

.PHONY: demo test test-all lint docs docs-serve notebooks release pins clean

demo: $(VENV)/.installed
	@mkdir -p demo
	$(BIN)/placer import onnx $(MODEL) --devices $(DEVICES) --by module --out demo/instance.json
	$(BIN)/placer info demo/instance.json
	$(BIN)/placer solve demo/instance.json --out demo/result.json
	$(BIN)/placer check demo/instance.json demo/result.json
	$(BIN)/placer report demo/result.json --instance demo/instance.json --out demo/report.html
	@echo "open demo/report.html in a browser; it needs no network"

test: $(VENV)/.built
	$(BIN)/python -m pytest -n auto --durations=15 $(PYTEST_ARGS)

test-all: export PLACER_TEST_LEVEL ?= full
test-all: $(VENV)/.built
	$(BIN)/python -m pytest -n auto --durations=40 $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet $(SPHINX_ARGS) docs build/docs
	$(BIN)/python docs/links.py build/docs

docs-serve: docs
	@echo "http://localhost:$(PORT)"
	$(BIN)/python -m http.server --directory build/docs --bind localhost $(PORT)

notebooks: $(VENV)/.installed-docs $(VENV)/.built
	$(BIN)/python docs/notebooks.py

release:
	.ci/release $(PYTHON)

pins:
	rm -rf .venv-newest-*
	$(MAKE) .venv-newest-3.11/.installed-dev .venv-newest-3.11/.installed-docs VERSIONS=newest PYTHON=$(OLD_PYTHON) TORCH=yes
	$(MAKE) .venv-newest/.installed-dev .venv-newest/.installed-docs VERSIONS=newest VENV=.venv-newest PYTHON=$(NEW_PYTHON)
	$(OLD_PYTHON) .ci/pins.py .venv-newest-3.11/bin/python .venv-newest/bin/python > .ci/constraints.new
	mv .ci/constraints.new .ci/constraints.txt

$(BIN)/python:
	@test -n "$(TAG)" || { echo "placer needs Python 3.11 or newer; set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(LOWEST): $(BIN)/python pyproject.toml .ci/lowest.py
	$(BIN)/python .ci/lowest.py > $@

$(VENV)/.installed: $(BIN)/python pyproject.toml $(CONSTRAINTS)
	$(INSTALL) --editable '.[onnx]'
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python pyproject.toml $(CONSTRAINTS)
ifneq ($(TORCH),)
	$(INSTALL) torch==2.13.0
	$(INSTALL) --editable '.[torch-test]'
endif
	$(INSTALL) --editable '.[dev,dask,onnx,partition,plot,profile]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(VENV)/.installed
	$(INSTALL) --editable '.[docs]'
	@touch $@

# What is installed is this folder, with the kernels compiled in place: what was changed since is compiled again.
$(VENV)/.built: $(VENV)/.installed-dev setup.py $(wildcard placer/methods/*/kernels/*.p*)
	$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

clean:
	find placer -name '*.so' -delete
	rm -rf .venv* build demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
