# Everything runs in .venv: `make demo` and `make test` need Python 3.11 or later, make, and once a package index.

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
DOCKER ?= docker
# The libc of the first is that of node:*-slim, that of the second that of node:*-alpine.
PYTHON_SLIM ?= python:3.13-slim
PYTHON_ALPINE ?= python:3.13-alpine
OPERATOR_IMAGE ?= debian:trixie-slim
# What else a build needs here, such as --network=host --secret id=ca,src=/etc/ssl/certs/ca-certificates.crt
DOCKER_BUILD_ARGS ?=
export DOCKER DOCKER_BUILD_ARGS PYTHON_SLIM PYTHON_ALPINE
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
UV_VENV := .cache/uv
AUDIT_VENV := .cache/audit

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-all bench lint docs requirements audit clean
.PHONY: image image-slim image-alpine image-operator wheels test-docker bench-docker

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/package ## see it work: a real server, a refusal, two starts, three at once
	$(BIN)/python examples/demo.py $(ARGS)

test: .venv/package ## run the fast ring of the tests, or all that ARGS names: ARGS="-k lock"
	$(PYTEST) --fast $(ARGS)

test-all: .venv/package ## run all tests but those of the containers; ARGS reaches pytest
	$(PYTEST) $(ARGS)

# Tests that wait, for a server or for a second, leave a core to others: two workers for each keep it busy.
PYTEST = $(BIN)/pytest -m "not docker" -n $$((2 * $$(getconf _NPROCESSORS_ONLN))) --dist worksteal

bench: .venv/package ## what a start costs, side by side; ARGS="--only floor --runs 30"
	$(BIN)/python bench/bench.py $(ARGS)

lint: .venv/package ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/package ## write what docs/reference says about the code
	$(BIN)/python docs/generate.py

image: image-slim image-alpine image-operator ## the payloads for both libcs, and the operator's image

image-slim: ; $(BUILD_IMAGE) --target payload --build-arg PYTHON_IMAGE=$(PYTHON_SLIM) -t gaqno/entrypoint:1-slim .
image-alpine: ; $(BUILD_IMAGE) --target payload --build-arg PYTHON_IMAGE=$(PYTHON_ALPINE) -t gaqno/entrypoint:1-alpine .
image-operator:
	$(BUILD_IMAGE) --target operator --build-arg PYTHON_IMAGE=$(PYTHON_SLIM) \
	  --build-arg OPERATOR_IMAGE=$(OPERATOR_IMAGE) -t gaqno/entrypoint:1-operator .

wheels: ## fetch what both payloads are made of into wheels/; they are then built without a network
	$(BUILD_IMAGE) --target wheels --build-arg PYTHON_IMAGE=$(PYTHON_SLIM) --output wheels .
	$(BUILD_IMAGE) --target wheels --build-arg PYTHON_IMAGE=$(PYTHON_ALPINE) --output wheels .

BUILD_IMAGE = DOCKER_BUILDKIT=1 $(DOCKER) build $(DOCKER_BUILD_ARGS) \
  --build-arg VERSION=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' entrypoint/__init__.py) \
  --build-arg REVISION=$$(git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || echo unknown)

test-docker: .venv/package image ## build the images and run the tests that need a container engine
	$(BIN)/pytest -m docker tests/docker tests/attacks $(ARGS)

bench-docker: .venv/package image ## what a start costs inside a container
	$(BIN)/python bench/bench.py --docker $(ARGS)

requirements: $(UV_VENV)/bin/uv ## pin requirements/*.txt again; ARGS=--upgrade takes newer versions
	$(UV_VENV)/bin/uv pip compile $(COMPILE) -o requirements/runtime.txt pyproject.toml
	$(UV_VENV)/bin/uv pip compile $(COMPILE) -o requirements/dev.txt -c requirements/runtime.txt \
	  pyproject.toml requirements/dev.in
	$(UV_VENV)/bin/uv pip compile $(COMPILE) -o requirements/image.txt requirements/image.in

COMPILE = --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
  --no-emit-find-links $(ARGS)

# `make test` compares with the list that the repository ships; this asks the network, and fails on what it cannot answer.
audit: $(AUDIT_VENV)/bin/pip-audit ## ask the network for known vulnerabilities of the pinned packages
	$(AUDIT_VENV)/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
	  -r requirements/runtime.txt -r requirements/image.txt -r requirements/dev.txt $(ARGS)

clean: ## remove .venv, caches and builds
	rm -rf .venv .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist wheels
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

$(AUDIT_VENV)/bin/pip-audit:
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv --clear $(AUDIT_VENV)
	$(AUDIT_VENV)/bin/python -m pip --quiet --disable-pip-version-check install pip-audit

define CHECK_PYTHON
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
  echo '$(PYTHON) is not Python 3.11 or later: make PYTHON=/path/to/python3.13 ...' >&2; exit 1; }; \
$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
  echo '$(PYTHON) cannot make virtual environments: install its venv package' \
    '(Debian, Ubuntu: apt install python3-venv), or make PYTHON=/path/to/another ...' >&2; exit 1; }
endef
