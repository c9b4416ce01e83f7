# Two commands: `make demo` and `make test`. Each prints what it does. Without make, see README.md: the lines are the same.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
DEMO_ARGS ?=

.PHONY: help demo demo-fast test generate browser check setup setup-dev format docs clean
.DEFAULT_GOAL := help

help: ## Say what there is.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: setup ## Fine-tune and search: semantic code search over Python's own library (set up first; 6 minutes at most after that).
	@echo "==> dipole demo $(DEMO_ARGS)"
	@$(BIN)/dipole demo $(DEMO_ARGS)

demo-fast: setup ## The same in 90 seconds at most, with less data.
	@echo "==> dipole demo --fast $(DEMO_ARGS)"
	@$(BIN)/dipole demo --fast $(DEMO_ARGS)

test: setup-dev browser ## Run the tests, doctests included.
	@echo "==> pytest -n 2"
	@$(BIN)/python -m pytest -q -n 2 --dist loadgroup

check: setup-dev ## Format, lint, types, layers, generated files.
	@echo "==> ruff format --check"
	@$(BIN)/ruff format --check --quiet src tests bench docs || { echo "run: make format"; exit 1; }
	@echo "==> ruff check"
	@$(BIN)/ruff check --quiet src tests bench docs
	@echo "==> mypy --strict"
	@$(BIN)/mypy
	@echo "==> layers and generated files"
	@$(BIN)/python -m pytest -q tests/test_layers.py
	@$(BIN)/python docs/generate.py --check

generate: setup-dev ## Write the generated tables and lists again.
	@$(BIN)/python docs/generate.py

# Pages are tested in Chromium. Where there is none and Debian's packages can be installed, it is; elsewhere those tests say why they skip.
browser:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "==> apt-get install chromium chromium-driver" && \
	  { apt-get update -qq && apt-get install -y -qq chromium chromium-driver; } >/dev/null 2>&1; } || \
	  echo "no chromium and chromedriver here: the tests of pages will be skipped"

format: setup-dev ## Format the code and sort the imports.
	@$(BIN)/ruff check --quiet --fix-only --select I src tests bench docs
	@$(BIN)/ruff format src tests bench docs

docs: setup-dev ## Build the pages into docs/_build.
	@echo "==> sphinx-build docs docs/_build"
	@$(PIP) -e ".[docs]"
	@$(BIN)/python -m sphinx -q -W -b html docs docs/_build

setup: $(VENV)/.ready ## What the demo needs, into .venv.
setup-dev: $(VENV)/.ready-dev ## What the tests need, too.

# torch first and alone, so that the constraint file and nothing else chooses its build.
$(VENV)/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("dipole needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; run: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || { echo "==> $(PYTHON) -m venv $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "==> pip install torch -c constraints.txt"
	@$(PIP) torch
	@touch $@

$(VENV)/.ready: $(VENV)/.torch pyproject.toml
	@echo '==> pip install -e ".[all]" -c constraints.txt'
	@$(PIP) -e ".[all]"
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.torch pyproject.toml
	@echo '==> pip install -e ".[dev,all]" -c constraints.txt'
	@$(PIP) -e ".[dev,all]"
	@touch $@ $(VENV)/.ready

clean: ## Remove the environment, caches and built pages.
	@rm -rf $(VENV) docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis
