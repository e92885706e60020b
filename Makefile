# Needs python (3.11 or later, with venv) and make. Everything else goes into $(VENV).
#   make demo       install, train a small GAN, leave its report in runs/
#   make test       lint, types, floors, doctests and the quick suite (what .ci/run runs)
#   make test-full  the same with every slow behaviour test
#   make lint       ruff check, ruff format --check, mypy
#   make docs       the documentation as a site in site/, which needs no network to be read

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
# The tested python first; any python3 otherwise (pip refuses one that is too old).
PYTHON ?= $(shell for p in python3.11 python3; do $$p -c 'import venv' 2>/dev/null && { echo $$p; break; }; done)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input

# What `make demo` trains: MNIST where it can be fetched, else the small digits that scikit-learn carries.
DEMO ?= train r3gan-conditional --steps 3200

# One thread a process: the tests are small, and two threads on two cores only wait for each other. One worker a core; the
# tests of a file stay together, since they share what the file's fixtures trained.
export OMP_NUM_THREADS ?= 1
WORKERS ?= $(shell nproc 2>/dev/null || echo 1)
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

RUN_STAMP := $(VENV)/.installed-run
TEST_STAMP := $(VENV)/.installed-test
DOCS_STAMP := $(VENV)/.installed-docs

.PHONY: help demo test test-full lint docs format clean

help:
	@sed -n '2,6s/^# *//p' Makefile

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no python3 with the venv module was found; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --constraint constraints.txt --editable .
	@touch $@

$(TEST_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --constraint constraints.txt --editable '.[test,dev,trackers]'
	@touch $@ $(RUN_STAMP)

$(DOCS_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --constraint constraints.txt --editable '.[docs]'
	@touch $@ $(RUN_STAMP)

demo: $(RUN_STAMP)
	@if $(BIN)/python -m equilibria.data.fetch mnist; then data=mnist; \
	else echo "MNIST cannot be had here: training on the 8 x 8 digits of scikit-learn instead"; data=digits; fi; \
	$(BIN)/equilibria $(DEMO) --data $$data

lint: $(TEST_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# pytest is the last thing to speak, so its closing line is the last line.
test: lint
	@$(PYTEST) -q -m "not slow or ci_slow" < /dev/null

test-full: lint
	@$(PYTEST) -q -m "slow or not slow" --timeout 3600 < /dev/null

# Figures are drawn by `equilibria reproduce --all --quick --out docs/theory/figures` and kept; this only lays them out.
# Not --quiet: then mkdocs does not count warnings, and --strict lets a missing figure pass.
docs: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean
	@echo "open site/index.html"

format: $(TEST_STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
