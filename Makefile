# `make demo` and `make test` are all that a newcomer needs; both make .venv when it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
CODE := platform tests jobs benchmarks

.PHONY: help demo test check lab format types clean

help: ## Say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(INSTALLED) ## The whole journey on this machine, in about three minutes
	$(BIN)/tradewind demo

test: $(INSTALLED) types ## Format, lint, types and all tests that a plain machine can run
	@failed=0; \
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow and not lab and not gpu" || failed=1; \
	$(BIN)/pytest -m "slow and not lab and not gpu" || failed=1; \
	exit $$failed

check: $(INSTALLED) types ## The same with the fast tests only
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow and not lab and not gpu"

lab: $(INSTALLED) ## Tests that need root
	$(BIN)/pytest -m lab $(LAB)

types: $(INSTALLED)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy

format: $(INSTALLED) ## Put code into shape
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[train,tune,serve,aws,dev]'
	@touch $(INSTALLED)
