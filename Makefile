# make run | test | test-slow | check | bench: each sets up first what it needs.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(if $(shell $(name) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo yes),$(name))))
VENV := .venv
BIN := $(VENV)/bin

# Two torch threads beside any busy process spin and crawl unless this is set before torch loads.
export OMP_WAIT_POLICY := passive

.PHONY: help setup run test test-slow check bench clean

help:
	@echo "make run        set up, then run the whole pipeline on the embedded collection"
	@echo "make test       set up, then the quick tests"
	@echo "make test-slow  the tests that take minutes"
	@echo "make check      format, lint, types, import rules, generated docs"
	@echo "make bench      speed and memory, as ratios against a named reference"

setup: $(VENV)/.ready

# For `make run`: what the pipeline and its page need. `setup` adds what develops and tests them.
$(VENV)/.ready-to-run: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: Python 3.11, 3.12 or 3.13 is needed; install one, or name it: make setup PYTHON=/path/to/python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools wheel --constraint constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,ui]'
	# Without their dependencies and without an isolated build: basicsr's would fetch a second torch.
	# basicsr cannot be built on 3.13, where spandrel's networks take its place.
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 13))' || \
	    $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation basicsr==1.4.2 realesrgan==0.3.0
	touch $@

$(VENV)/.ready: $(VENV)/.ready-to-run
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

run: $(VENV)/.ready-to-run
	$(BIN)/python pipeline.py run

# Most of a quick test is a process that starts, in one thread; two at a time take half as long.
test: setup
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile

test-slow: setup
	$(BIN)/python -m pytest -m slow --numprocesses 2 --dist loadfile

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --level error
	$(BIN)/lint-imports --no-logo
	$(BIN)/python docs/generate.py --check

bench: setup
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist *.egg-info
