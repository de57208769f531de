# Coatcheck from a checkout. A fresh machine needs Python 3.11 to 3.13, git and make; `make help` lists the rest.

PYTHON ?= python3
UV ?= uv
JOBS ?= 2
ARGS ?=
DEV_DIR ?= var

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip --disable-pip-version-check --no-input install -qq
RUNS := $(VENV)/.installed-run
TESTS := $(VENV)/.installed-dev
RECIPES_VENV := .venv-recipes
RECIPES := $(RECIPES_VENV)/.installed
COMPILE := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

# Without what Python has compiled, each of the processes that tests start would compile the program anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test lint types layers check bench claims claim recipes docs lock clean
.DEFAULT_GOAL := help

help: ## List these targets
	@echo "Coatcheck: make TARGET"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1@\2/p' Makefile | awk -F@ '{printf "%-9s %s\n", $$1, $$2}'

run: $(RUNS) ## Set up a development cell in var/ if there is none, then serve it
	@$(BIN)/coatcheck init --dev $(DEV_DIR) && exec $(BIN)/coatcheck serve --config $(DEV_DIR)/coatcheck.toml

# In the order of the folders: the long scenarios are begun before the many short units, so that at the end no
# worker waits for the other.
test: $(TESTS) ## Run the tests (ARGS="-k secret" narrows, COATCHECK_FULL=1 runs the full-size sweeps)
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(TESTS) ## Check style and formatting
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet . && echo "lint: clean"

types: $(TESTS) ## Check types, strictly
	@$(BIN)/mypy && $(BIN)/mypy docs

layers: $(TESTS) ## Check that imports point down
	@$(BIN)/lint-imports

check: lint types layers test ## All four of the above

bench: $(TESTS) ## Run the benchmarks (BENCH_SIZE=small for a quick look)
	@BENCH_SIZE=$(BENCH_SIZE) $(BIN)/python -m bench $(ARGS)

claims: $(TESTS) ## List the claims that the documents make
	@$(BIN)/python docs/claims.py list

claim: $(TESTS) ## Check one claim by running what shows it: make claim ID=P12
	@$(BIN)/python docs/claims.py run $(ID) $(if $(PASSED),--passed $(PASSED))

# With the frameworks, which nothing else needs, in an environment of their own.
recipes: $(RECIPES) ## Run the recipes for agent frameworks, with scripted models
	@$(RECIPES_VENV)/bin/python docs/claims.py run recipes

docs: $(TESTS) ## Check that the generated reference pages are current
	@if [ -f docs/build.py ]; then $(BIN)/python docs/build.py --check; \
	else echo "docs: no page is generated yet"; fi

# The locks agree on every version that they share; a rule in tests/rules fails when they do not.
lock: ## Pin the dependencies again, with hashes (UPGRADE=1 takes newer versions)
	@command -v $(UV) >/dev/null || { \
	  echo "make lock needs uv: install it with 'python3 -m pip install uv', or say UV=/path/to/uv." >&2; exit 1; }
	@$(UV) $(COMPILE) $(if $(UPGRADE),--upgrade) pyproject.toml --extra postgres --group dev -o requirements-dev.lock
	@$(UV) $(COMPILE) $(if $(UPGRADE),--upgrade) pyproject.toml -o requirements.lock
	@$(UV) $(COMPILE) $(if $(UPGRADE),--upgrade) pyproject.toml --group recipes -c requirements-dev.lock \
	  -o requirements-recipes.lock
	@printf 'hatchling\neditables\n' | \
	  $(UV) $(COMPILE) $(if $(UPGRADE),--upgrade) - -c requirements-dev.lock -o requirements-build.lock
	@echo "lock: requirements.lock and those of the build, dev and the recipes are written"

clean: ## Remove the environment, builds and caches; var/ and keys/ hold data and stay
	@rm -rf $(VENV) $(RECIPES_VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One environment for running and for developing: the second only adds to the first.
$(BIN)/python:
	@for candidate in $(PYTHON) python3.13 python3.12 python3.11; do \
	  if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	    echo "Making $(VENV) with $$("$$candidate" --version)."; \
	    "$$candidate" -m venv --clear $(VENV) && exit 0; \
	    rm -rf $(VENV); \
	    echo "$$candidate cannot make a virtual environment; on Debian, install python3-venv." >&2; exit 1; \
	  fi; \
	done; \
	echo "Coatcheck needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing)." >&2; \
	echo "Say which one to use: make PYTHON=/path/to/python3.12" >&2; exit 1

$(RUNS): requirements.lock requirements-build.lock pyproject.toml | $(BIN)/python
	@echo "Installing what Coatcheck needs into $(VENV); this takes a moment."
	@$(INSTALL) --require-hashes -r requirements.lock -r requirements-build.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(TESTS): requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo "Installing what Coatcheck and its tests need into $(VENV); this takes a moment."
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@ $(RUNS)

$(RECIPES): requirements-recipes.lock | $(BIN)/python
	@echo "Installing what the recipes need into $(RECIPES_VENV); this takes a moment."
	@$(BIN)/python -m venv --clear $(RECIPES_VENV)
	@$(RECIPES_VENV)/bin/python -m pip --disable-pip-version-check --no-input install -qq --require-hashes \
	  -r requirements-recipes.lock
	@touch $@
