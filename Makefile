# One command each. `make` alone lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help up test check check-format check-lint check-types check-imports bench fmt docs lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Tests run on two workers more than a small machine has cores, for many of them wait. `make test ARGS="-k upload"` narrows them.
WORKERS ?= 4
ARGS ?=

help: ## List what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 16

up: $(VENV)/run.stamp ## Run Moorage on this machine, until Ctrl-C
	@exec $(BIN)/moorage up

test: $(VENV)/dev.stamp ## Run every test, in random order
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(ARGS)

# `make -k check` goes on after what fails.
check: check-format check-lint check-types check-imports ## Check format, lint, types and import contracts

check-format: $(VENV)/dev.stamp
	$(BIN)/ruff format --check --quiet .

check-lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .

check-types: $(VENV)/dev.stamp
	$(BIN)/mypy

check-imports: $(VENV)/dev.stamp
	$(BIN)/lint-imports

bench: $(VENV)/dev.stamp ## Run peers and ourselves side by side, and print ratios
	$(BIN)/python -m bench $(ARGS)

fmt: $(VENV)/dev.stamp ## Format the code, and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/dev.stamp ## Write the reference pages that come from the code
	$(BIN)/python docs/generate.py

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--exclude-newer "7 days" --custom-compile-command "make lock"

lock: $(VENV)/dev.stamp ## Lock the dependencies anew, none younger than a week (ARGS=--upgrade for newer ones)
	$(COMPILE) --group build pyproject.toml -o requirements/run.lock $(ARGS)
	$(COMPILE) --group dev -c requirements/run.lock pyproject.toml -o requirements/dev.lock $(ARGS)
	for name in go harbor-cli openapi-generator schemathesis; do \
		$(COMPILE) requirements/$$name.in -o requirements/$$name.lock $(ARGS) || exit; done

clean: ## Remove the environment and every cache; data/ stays
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment is whole when its stamp is younger than its lock. One that another tool made may lack pip: it is completed,
# and one whose Python is gone is made anew.
$(VENV)/made.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Moorage needs Python 3.11 or newer: make PYTHON=python3.11")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || $(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/run.stamp: $(VENV)/made.stamp requirements/run.lock pyproject.toml
	@echo "Installing what Moorage needs, once …"
	@$(PIP) install --only-binary :all: --require-hashes -r requirements/run.lock
	@$(PIP) install --no-index --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements/dev.lock
	@echo "Installing what its tests and checks need, once …"
	@$(PIP) install --only-binary :all: --require-hashes -r requirements/dev.lock
	@touch $@
