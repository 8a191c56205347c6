# What belongs here: the few commands a person types. What they do is in pipeline_assets/cli.py.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 3000
AZURITE_PORT ?= 10000
# One more than there are processors, of which CI has two: a third of the time tests wait for what they have started.
WORKERS ?= 3

# dg wants to know its environment, and warns of previews in packages that we don't use.
DG_DEV := PATH="$(CURDIR)/$(BIN):$$PATH" VIRTUAL_ENV="$(CURDIR)/$(VENV)" PYTHONWARNINGS="ignore:Class" \
  $(BIN)/dg dev --no-check-yaml

.DEFAULT_GOAL := help
.PHONY: help run full status maintain report ui fast test test-fast test-long test-all fuzz bench lint docs lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

run: $(VENV)/installed ## Process what is new; LOGS=/path copies your own logs in first
	@$(BIN)/pipeline-assets run $(if $(LOGS),--logs "$$LOGS",--samples)

full: $(VENV)/installed ## Process everything again
	@$(BIN)/pipeline-assets full

status: $(VENV)/installed ## Show what has landed, what is behind, what disagrees
	@$(BIN)/pipeline-assets status

maintain: $(VENV)/installed ## Put the storage in order; DRY_RUN=1 only says what would be done
	@$(BIN)/pipeline-assets maintain $(if $(DRY_RUN),--dry-run)

report: $(VENV)/installed ## Make a day's report and print where it is; DAY=2024-01-15, else the newest day that is over
	@$(BIN)/pipeline-assets report $(if $(DAY),"$(DAY)")

ui: $(VENV)/installed ## Open the Dagster UI with sensor and schedules on, at http://127.0.0.1:3000
	@made="$$($(BIN)/pipeline-assets init)" || exit $$?; echo "$$made"; \
	  echo "the UI comes up at http://127.0.0.1:$(PORT); Ctrl-C ends it"; \
	  DAGSTER_HOME="$$(echo "$$made" | sed -n 's/^DAGSTER_HOME=//p')" $(DG_DEV) --host 127.0.0.1 --port $(PORT) --log-level warning

fast: $(VENV)/installed-fast ## Install the accelerator for large logs, and compile it

.PHONY: azurite
azurite: $(VENV)/installed-dev ## Start an Azure storage account of your own on this machine, for trying
	@$(BIN)/python -m pipeline_assets_tests.azurite .azurite $(AZURITE_PORT)

test: $(VENV)/installed-dev ## Run the tests
	@$(BIN)/python -m pytest -n $(WORKERS) -m "not long"

test-fast: $(VENV)/installed-dev ## Run the tests that start no other process
	@$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not long"

test-long: $(VENV)/installed-dev ## Run the tests that take minutes: long histories, kills at every step, Azure from outside
	@$(BIN)/python -m pytest -n $(WORKERS) -m long

test-all: test test-long ## Run all tests

fuzz: $(VENV)/installed-dev ## Damage millions of log lines and lose none (LINES=2000000 SEED=...)
	@$(BIN)/python -m pipeline_assets_tests.kernel.fuzz $(or $(LINES),2000000) $(SEED)

bench: $(VENV)/installed-bench ## Measure beside other engines and write docs/benchmarks.md (SMALL=1 takes a minute; SIZE=4000 MB; SECTION="By Spark", LARGE=1)
	@$(BIN)/python -m pipeline_assets_benchmarks $(if $(SMALL),--small,--write docs/benchmarks.md) $(if $(SIZE),--mb $(SIZE)) $(if $(LARGE),--large) $(if $(SECTION),--section "$(SECTION)")

lint: $(VENV)/installed-dev ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs: $(VENV)/installed ## Write the references of settings and tables anew
	@$(BIN)/python -m pipeline_assets.reference

lock: ## Resolve the dependencies anew (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate -q -o requirements.lock
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-annotate -q -c requirements.lock -o requirements-dev.lock
	uv pip compile --group accelerator --universal --python-version 3.11 --generate-hashes --no-annotate -q -c requirements.lock -c requirements-dev.lock -o requirements-fast.lock
	uv pip compile --group bench --universal --python-version 3.11 --generate-hashes --no-annotate -q -c requirements.lock -c requirements-dev.lock -o requirements-bench.lock

clean: ## Remove what the tools made; your data and history stay
	rm -rf $(VENV) deploy/azurite/node_modules build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find pipeline_assets pipeline_assets_benchmarks pipeline_assets_tests -name __pycache__ -type d -prune -exec rm -rf {} +

export LOGS

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	  || { echo "Python 3.11 to 3.13 is needed, and $(PYTHON) is not; try: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# The lock is complete, so pip need not resolve anything (and can't: a hashed lock and extras confuse it).
$(VENV)/installed: $(VENV)/python requirements.lock pyproject.toml
	@echo "installing the locked dependencies into $(VENV) (about a minute, once)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.lock
	@echo "installing what tests and lint need"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/installed-fast: $(VENV)/installed requirements-fast.lock
	@echo "installing the accelerator"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-fast.lock
	@$(BIN)/python -m pipeline_assets.kernel.accelerator
	@touch $@

$(VENV)/installed-bench: $(VENV)/installed-fast requirements-bench.lock
	@echo "installing the engines to compare with"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-bench.lock
	@touch $@
