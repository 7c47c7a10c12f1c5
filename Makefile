# One target a thing a person does. Each makes .venv if it is missing and installs what it needs.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types imports docs docs-serve wheel bench ci clean

help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Extract typed objects from real documents with the embedded model
	@$(BIN)/gemma-structured demo $(ARGS)

test: $(READY) ## Run the tests (ARGS='tests/parsing -k partial' for some of them)
	$(BIN)/pytest --ignore=tests/docs $(ARGS)

lint: $(READY) ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY) ## Write the format that `make lint` checks
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

types: $(READY) ## Check the types with mypy and pyright, both strict
	$(BIN)/mypy
	$(BIN)/pyright

imports: $(READY) ## Check which room imports which (the contract is in pyproject.toml)
	$(BIN)/lint-imports --no-cache

docs: $(READY) ## Build the documentation as a site in site/, every example executed
	$(BIN)/pytest tests/docs $(ARGS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(READY) ## Show the documentation at http://localhost:8000 while you write it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

wheel: $(READY) ## Build the wheel, and try it in a new environment without torch
	$(BIN)/python .ci/check_wheel.py

bench: $(READY) ## Time our decode loop against outlines on the embedded model
	$(BIN)/python benchmarks/decode.py $(ARGS)

ci: ## Everything that a change has to pass
	.ci/run

clean: ## Remove what was built, .venv too
	rm -rf $(VENV) build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or newer is needed; for another one: make PYTHON=python3.12' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'Installing into $(VENV) (some minutes the first time) ...'
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[local,embedded,cli,dev]'
	@touch $@
