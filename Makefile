# Everything runs in .venv: `make demo` and `make test` need Python 3.11 or later, make, and once a package index.

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
UV_VENV := .cache/uv

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test bench lint requirements clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/package ## see it work: a real server, a refusal, two starts, three at once
	$(BIN)/python examples/demo.py $(ARGS)

test: .venv/package ## run the tests; ARGS="-n 2 -k lock" reaches pytest
	$(BIN)/pytest -m "not docker" $(ARGS)

bench: .venv/package ## what a start costs, side by side; ARGS="--only floor --runs 30"
	$(BIN)/python bench/bench.py $(ARGS)

lint: .venv/package ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

requirements: $(UV_VENV)/bin/uv ## pin requirements/*.txt again; ARGS=--upgrade takes newer versions
	$(UV_VENV)/bin/uv pip compile $(COMPILE) -o requirements/runtime.txt pyproject.toml
	$(UV_VENV)/bin/uv pip compile $(COMPILE) -o requirements/dev.txt -c requirements/runtime.txt \
	  pyproject.toml requirements/dev.in

COMPILE = --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
  --no-emit-find-links $(ARGS)

clean: ## remove .venv, caches and builds
	rm -rf .venv .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made anew whenever the pins change; an interrupted install leaves no stamp and starts over.
.venv/requirements: requirements/dev.txt
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv --clear .venv
	$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

.venv/package: .venv/requirements pyproject.toml
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(UV_VENV)/bin/uv:
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv --clear $(UV_VENV)
	$(UV_VENV)/bin/python -m pip --quiet --disable-pip-version-check install uv

define CHECK_PYTHON
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
  echo '$(PYTHON) is not Python 3.11 or later: make PYTHON=/path/to/python3.13 ...' >&2; exit 1; }; \
$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
  echo '$(PYTHON) cannot make virtual environments: install its venv package' \
    '(Debian, Ubuntu: apt install python3-venv), or make PYTHON=/path/to/another ...' >&2; exit 1; }
endef
