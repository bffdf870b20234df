# Everything a newcomer, a developer or CI runs. Each target makes .venv by itself and reuses it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed-dev
# Two test processes: the suite is written for two cores; more do no harm.
JOBS ?= 2

.PHONY: demo test test-all lint bench coverage clean

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/kshot doctor --warm
	touch $@

demo: $(INSTALLED)  ## the main job, on captures of real attacks that ship with kshot; writes out/demo/report.html
	$(BIN)/kshot demo --output out/demo

test: $(INSTALLED)  ## the suite, but for what takes minutes
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m 'not long'

test-all: $(INSTALLED)  ## every test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

lint: $(INSTALLED)  ## style, types, architecture
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: $(INSTALLED)  ## line and branch coverage; kernels run as plain Python on tiny inputs
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -m kernel --cov --cov-report=
	$(BIN)/python -m pytest -m 'not slow and not kernel' --cov --cov-append --cov-report=term-missing:skip-covered

bench: $(INSTALLED)  ## speed and detection quality against the peers; see docs/benchmarks.md
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) dist build out
