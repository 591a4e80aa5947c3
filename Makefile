# The two commands of the README are `make demo` and `make test`; `make check` is the gate before a commit.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCKS := requirements/runtime.lock requirements/demo.lock requirements/dev.lock
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-input --quiet
UV_COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet

.PHONY: demo test check bench chaos lock clean

demo: $(VENV)/.demo
	@$(BIN)/bms-iot demo --directory .demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadgroup

check: $(VENV)/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bms-iot db lint

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

# Disturbs whole sites at random: make chaos, make chaos LEVEL=nightly. A printed seed (BMS_CHAOS_SEED) repeats a failure.
chaos: $(VENV)/.dev
	BMS_CHAOS_LEVEL=$(or $(LEVEL),change) $(BIN)/python -m pytest -s tests/acceptance/test_campaign.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or newer is missing. Install it with: sudo apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing. Install it with: sudo apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml requirements/demo.lock | $(BIN)/python
	@echo "Installing bms-iot with the demo's packages into $(VENV) ..." >&2
	@$(PIP_INSTALL) --require-hashes -r requirements/demo.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: pyproject.toml requirements/dev.lock | $(BIN)/python
	@echo "Installing bms-iot with the development packages into $(VENV) ..." >&2
	@$(PIP_INSTALL) --require-hashes -r requirements/dev.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.demo

# Pins every package with the hashes of its files; needs uv on the PATH. Run it when pyproject.toml's dependencies change.
lock:
	$(UV_COMPILE) -o requirements/runtime.lock
	$(UV_COMPILE) --extra demo --group build -o requirements/demo.lock
	$(UV_COMPILE) --all-extras --group build --group test --group check -o requirements/dev.lock

clean:
	rm -rf $(VENV) .demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
