# The README's commands. Everything lives in .venv; a second run installs nothing.
PYTHON ?= python3
PORT ?= 8000
UPSTREAM_PORT ?= 9101
WORKERS ?= 4
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo web test coverage test-load soak cases bench format clean

help: ## Show this list.
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/'

.venv/installed: pyproject.toml
	@echo "Installing into .venv (once, about half a minute) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; try make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

WEB := playground/web

# A page that cannot be built is no reason not to start: the plain one is there without it.
$(WEB)/dist/index.html: $(WEB)/package-lock.json $(WEB)/vite.config.ts $(WEB)/tsconfig.json $(WEB)/index.html $(shell find $(WEB)/src -type f)
	@if command -v npm >/dev/null; then \
	  echo "Building the playground (once, about a minute) ..."; \
	  (cd $(WEB) && npm ci --no-audit --no-fund --fetch-retries=1 --fetch-timeout=30000 && npm run build) >$(WEB)/build.log 2>&1 \
	    || echo "The playground could not be built ($(WEB)/build.log says why); the plain page is served instead."; \
	else echo "npm is not installed: the plain page is served instead of the playground."; fi

demo: .venv/installed $(WEB)/dist/index.html ## Start the gateway on the embedded demo: http://127.0.0.1:8000
	@exec $(BIN)/stepgraph demo --port $(PORT) --upstream-port $(UPSTREAM_PORT)

web: $(WEB)/dist/index.html ## Build the playground, where npm is installed.

# The tests wait more than they compute: more workers than cores. All tests of a file run in one worker, as they share servers.
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: .venv/installed ## Format check, lint, types, tests (in parallel: WORKERS=4); some 6 minutes on 2 cores.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/pytest $(PARALLEL) --durations=20 $(ARGS)

# The least share of lines and branches that the fast tests run, of what runs in their own processes. Measured code is slower: times have room.
COVERED := 96

coverage: .venv/installed ## The tests of "make test" again, with branch coverage; fails where less is covered than before.
	@STEPGRAPH_TIMING_SLACK=$${STEPGRAPH_TIMING_SLACK:-3} $(BIN)/pytest $(PARALLEL) --cov --cov-branch \
	  --cov-report=term --cov-fail-under=$(COVERED) $(ARGS)

# Exact times need a quiet machine, which that of the fast tests need not be.
test-load: .venv/installed ## Tests under load: a minute or more each, with exact times; under 12 minutes.
	@STEPGRAPH_TIMING_SLACK=$${STEPGRAPH_TIMING_SLACK:-0.1} $(BIN)/pytest -m load $(ARGS)

soak: .venv/installed ## 120,000 requests with faults mixed in: nothing may grow; some minutes.
	@$(BIN)/pytest -m soak

cases: .venv/installed ## The table of the reliability cases alone; ARGS="-m ''" with those of test-load and soak.
	@$(BIN)/pytest --cases $(ARGS)

.venv/bench-installed: .venv/installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	@touch $@

bench: .venv/bench-installed ## Measure the gateway beside its rivals; ARGS="--quick" for a first look.
	@$(BIN)/python -m tests.bench $(ARGS)

format: .venv/installed ## Format the code and mend what the linter can.
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

clean: ## Remove what was installed and cached.
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis $(WEB)/dist $(WEB)/node_modules
