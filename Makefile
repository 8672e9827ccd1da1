# `make demo` and `make test` need Python 3.10 or newer and make, nothing else.

PYTHON ?= python3
VENV ?= .venv
UV ?= uv
BIN := $(VENV)/bin
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
# Where examples/patterns.py looks for it. Apart from the rest: semgrep pins an old release of OpenTelemetry.
SEMGREP := $(VENV)/semgrep
# Where tests/integration/test_any_provider.py looks for it. Apart from the rest: it loads itself into every process.
LOGFIRE := $(VENV)/logfire
# Compiled when the package is installed, where there is a C compiler.
TWINS := hatch_build.py $(wildcard otel_patterns/*/*.pyx)
DEMO := state/demo
DEMO_RUNS := $(BIN)/otel-patterns runs --journal $(DEMO)/events/pattern_events.jsonl
DEMO_RUN := $(BIN)/otel-patterns run --journal $(DEMO)/events/pattern_events.jsonl
RUN_ID := sed -n 's/.*"pattern_run_id": *"\([^"]*\)".*/\1/p' | head -n 1
# Installed for 3.10 and everything newer from one file; hosts of registries stay out of it.
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.10 --custom-compile-command 'make requirements'

export PYTHON VENV

.PHONY: demo test test-plain lint format bench bench-plain storm backends semgrep logfire coverage requirements clean help

help:  ## Show the targets.
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-runtime  ## Make a few runs with real tools and show them.
	@$(MAKE) --no-print-directory --silent semgrep >/dev/null || echo 'semgrep cannot be installed here: the demo does without.' >&2
	@$(BIN)/python examples/pattern_executor.py --state $(DEMO) $(if $(SLOW),--slow $(SLOW))
	@echo
	@$(DEMO_RUNS) --limit 10
	@echo
	@$(DEMO_RUN) "$$(for status in warning success; do $(DEMO_RUNS) --status $$status --limit 1 --json; done | $(RUN_ID))"

test: lint  ## Lint and run all tests.
	@$(MAKE) --no-print-directory --silent semgrep >/dev/null || echo 'semgrep cannot be installed here: its test is skipped.' >&2
	@$(MAKE) --no-print-directory --silent logfire >/dev/null || echo 'logfire cannot be installed here: its tests are skipped.' >&2
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-plain: $(VENV)/.installed-dev  ## Run the tests that need no server without what is compiled.
	OTEL_PATTERNS_PLAIN=1 $(BIN)/python -m pytest $(PYTEST_ARGS) tests/unit tests/property

lint: $(VENV)/.installed-dev  ## Check style, types and layers.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev  ## Format the code and repair what can be repaired.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.installed-dev  ## Run the benchmarks and print their table (a few minutes, on a quiet machine).
	@$(BIN)/python -m benchmarks

bench-plain: $(VENV)/.installed-dev  ## Run the benchmarks without what is compiled.
	@OTEL_PATTERNS_PLAIN=1 $(BIN)/python -m benchmarks

storm: $(VENV)/.installed-dev  ## Kill writers, cut the power and damage files in large numbers (a quarter of an hour).
	OTEL_PATTERNS_STORM=$(or $(STORM),10) $(BIN)/python -m pytest -q --timeout=3600 tests/faults tests/property/test_journal_model.py -k 'storm or mutated or power_cut or journal_model'

coverage: $(VENV)/.installed-dev  ## Run all tests and show what they do not reach.
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --show-missing --skip-covered

backends: $(VENV)/.installed-dev  ## Build Jaeger and the collector for the integration tests (needs Go).
	$(BIN)/python -m tests.backends.build

semgrep: $(SEMGREP)/.installed  ## Install semgrep for the examples.

logfire: $(LOGFIRE)/.installed  ## Install Logfire for its tests.

requirements:  ## Compile the pinned requirements from pyproject.toml (needs uv; FLAGS=--upgrade for newer ones).
	$(COMPILE) $(FLAGS) pyproject.toml --output-file requirements/runtime.txt
	$(COMPILE) $(FLAGS) pyproject.toml --resolution lowest-direct --output-file requirements/lowest.txt
	$(COMPILE) $(FLAGS) pyproject.toml --group dev --constraints requirements/runtime.txt --output-file requirements/dev.txt
	$(COMPILE) $(FLAGS) --group semgrep --output-file requirements/semgrep.txt
	$(COMPILE) $(FLAGS) pyproject.toml --group logfire --output-file requirements/logfire.txt

clean:  ## Remove environments, caches and what the demo wrote.
	rm -rf $(VENV) $(DEMO) .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage* dist otel_patterns/*/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Python 3.10 or newer is needed, and this is " + sys.version.split()[0] + ": make PYTHON=…")'
	$(PYTHON) -m venv $(VENV)

# The stamps make the second call quick.
$(VENV)/.installed-runtime: $(BIN)/python requirements/runtime.txt requirements/dev.txt pyproject.toml $(TWINS)
	$(BIN)/python $(PIP_INSTALL) --requirement requirements/runtime.txt --constraint requirements/dev.txt pytest
	$(BIN)/python $(PIP_INSTALL) --no-deps --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-runtime
	$(BIN)/python $(PIP_INSTALL) --requirement requirements/dev.txt
	@touch $@

$(SEMGREP)/.installed: requirements/semgrep.txt | $(BIN)/python
	$(PYTHON) -m venv $(SEMGREP)
	$(SEMGREP)/bin/python $(PIP_INSTALL) --only-binary semgrep --requirement requirements/semgrep.txt
	@touch $@

$(LOGFIRE)/.installed: requirements/logfire.txt | $(BIN)/python
	$(PYTHON) -m venv $(LOGFIRE)
	$(LOGFIRE)/bin/python $(PIP_INSTALL) --requirement requirements/logfire.txt
	@touch $@
