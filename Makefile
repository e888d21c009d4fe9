# Everything here needs Python 3.11 (with venv) and make; the first target that runs builds .venv.
#   PYTHON=...     the interpreter to build .venv with
#   PIP_FLAGS=...  passed to pip, e.g. an extra index for a CPU-only build of torch
#   WORKERS=...    how many processes run the tests; each takes a core and up to 4 GiB
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP_FLAGS ?=
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_OUT := demo.birdnn

.DEFAULT_GOAL := help
.PHONY: help venv engines demo test thorough test-all faults lint docs wheel format properties clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: no python3.11 found; say PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	@touch $@

venv: $(STAMP) ## build .venv with the tested versions (again when pyproject.toml or constraints.txt change)

engines: $(STAMP) ## add what may be missing: Marabou, auto_LiRPA, Ray; their tests are skipped without them
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[crosscheck,ray]'
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt --no-deps auto_LiRPA

demo: $(STAMP) ## repair the embedded network against phi-8 and phi-2, prove the repair, say where the report is
	$(BIN)/birdnn repair --net birdnn/data/demo.onnx --prop properties/prop_8.vnnlib --prop properties/prop_2.vnnlib \
	  --suite properties/acasxu.toml --out $(DEMO_OUT) --report --samples 1000000
	@echo "Report: $(CURDIR)/$(DEMO_OUT)/report.html"

# threads that share a core with other work wait for each other
test thorough test-all: export OMP_NUM_THREADS ?= 1

test: $(STAMP) ## the tests, without those that take seconds or more each
	$(BIN)/python -m pytest -n $(WORKERS)

thorough: $(STAMP) ## those that take seconds each: whole commands, long searches, networks that are trained
	$(BIN)/python -m pytest -n $(WORKERS) -m "thorough and not slow and not faults"

faults: $(STAMP) ## kill -9, full disk, two at once, Ctrl-C, too little memory: real processes, minutes
	$(BIN)/python -m pytest -m faults tests/faults

test-all: $(STAMP) ## all tests, the slow ones included
	$(BIN)/python -m pytest -n $(WORKERS) -m ""

lint: $(STAMP) ## ruff, mypy, import contracts, size ratchet
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_sizes.py

docs: $(STAMP) ## build the documentation into build/docs; a warning is an error
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs build/docs

wheel: $(STAMP) ## build the wheel into dist/ and check that it is complete
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --no-deps $(PIP_FLAGS) --wheel-dir dist .
	$(BIN)/python -m tools.check_wheel dist/*.whl

format: $(STAMP) ## let ruff format and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

properties: $(STAMP) ## write prop_1 .. prop_10 again from the table of raw units
	$(BIN)/python -m tools.make_properties

clean: ## remove .venv, caches and the demo's output
	rm -rf $(VENV) $(DEMO_OUT) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
