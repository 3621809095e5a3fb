# Everything runs from .venv, which is made from requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup demo test lint types unit docs ui serve stop bench clean lock

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## Create .venv from the locked requirements

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "forgetflow needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	@$(PYTHON) -m tools.install
	@touch $(STAMP)

demo: setup ## Build, forget someone, measure it, show the lineage
	@$(BIN)/python -m tools.demo

test: setup lint types unit ## Lint, types and the whole test suite

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

unit:
	$(BIN)/python -m pytest -n auto --dist loadfile

docs: setup ## Build the documentation into site/
	@$(BIN)/python -m tools.settings_page
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html is built; with search: $(BIN)/python -m http.server --bind 127.0.0.1 -d site"

ui: setup ## Open the MLflow and Prefect UIs on loopback
	@$(BIN)/python -m tools.ui

serve: setup ## Wait for sealed batches and process them
	@$(BIN)/python -m flows.serve

stop: ## Stop the project's Prefect server
	@test ! -x $(BIN)/python || $(BIN)/python -m tools.stop

bench: setup ## Measure speed on this machine
	$(BIN)/python benchmarks/pool.py
	$(BIN)/python benchmarks/deletion.py
	$(BIN)/python benchmarks/forest.py
	$(BIN)/python benchmarks/sisa.py reference

clean: stop ## Remove what demo and test made; never data of yours
	@$(BIN)/python -m tools.clean 2>/dev/null || true
	rm -rf .venv site .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

lock: ## Resolve pyproject.toml into requirements.lock, with the uv that setup brings
	@# CUDA packages stay out: torch's own requirements bring the right ones where they are needed.
	uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate --no-header \
	  pyproject.toml | grep -vE '^(nvidia-|cuda-|triton|setuptools)' > requirements.lock.new
	mv requirements.lock.new requirements.lock
