# One target a thing a person does. Each makes .venv if it is missing and installs what it needs.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
SDKS   := .venv-sdks
RIVALS := .rivals
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-sdks lint format types imports docs docs-serve wheel \
        bench bench-throughput bench-calls bench-memory bench-remote ci clean

help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Extract typed objects from real documents with the embedded model
	@$(BIN)/gemma-structured demo $(ARGS)

test: $(READY) ## Run the tests in two processes (ARGS='tests/parsing -k partial' for some of them)
	OMP_NUM_THREADS=1 $(BIN)/pytest --ignore=tests/docs -n 2 --dist loadscope $(ARGS)

test-sdks: $(READY) $(SDKS)/.ready ## Let the official SDKs talk to the server for tests
	OPENROUTER_SDK_PYTHON=$(SDKS)/bin/python $(BIN)/pytest tests/testing/test_openrouter_server.py

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

bench-throughput: $(READY) $(RIVALS)/.ready ## Documents a second, lever by lever, beside other libraries (an hour)
	PYTHONPATH=$(RIVALS) $(BIN)/python -W ignore benchmarks/throughput.py $(ARGS)

bench-calls: $(READY) $(RIVALS)/.ready ## Calls of functions on the Berkeley leaderboard's data (an hour)
	$(BIN)/python -W ignore benchmarks/function_calling.py --bfcl $(RIVALS) $(ARGS)

bench-memory: $(READY) ## Memory after 200 and after 2,000 extractions
	$(BIN)/python benchmarks/memory.py $(ARGS)

bench-remote: $(READY) $(SDKS)/.ready ## Fault matrix, overhead and 1,000 calls at once of the remote path
	$(BIN)/python benchmarks/remote.py --rivals $(SDKS)/bin/python $(ARGS)

ci: ## Everything that a change has to pass
	.ci/run

clean: ## Remove what was built, .venv too
	rm -rf $(VENV) $(SDKS) $(RIVALS) build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# Other SDKs, in an environment of their own: they are no dependencies.
$(SDKS)/.ready: benchmarks/sdks.txt
	@test -x $(SDKS)/bin/python || $(PYTHON) -m venv $(SDKS)
	@$(SDKS)/bin/python -m pip install --quiet --requirement benchmarks/sdks.txt
	@touch $@

# What only benchmarks need, beside the environment: its pins clash with ours, or it draws charts.
$(RIVALS)/.ready: $(READY) benchmarks/rivals.txt
	@$(BIN)/python -m pip install --quiet --no-deps --target $(RIVALS) --upgrade --requirement benchmarks/rivals.txt
	@touch $@

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or newer is needed; for another one: make PYTHON=python3.12' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'Installing into $(VENV) (some minutes the first time) ...'
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[local,embedded,cli,dev]'
	@touch $@
