# visgen: `make demo` shows the shipped model at work, `make test` runs the tests; both install into .venv first.
VENV ?= .venv
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := $(VENV)/bin
# A copy of what is installed: the folder and pyproject.toml.
STAMP := $(VENV)/.installed
# Test processes; each computes with one thread.
JOBS ?= 2

.PHONY: help install demo test lint bench

help: ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 14

# setuptools: fvcore and iopath come as sources, and without build isolation it must be there (from 70.1 on it makes wheels).
install: ## Create .venv and install visgen with its development tools; does nothing while pyproject.toml stays the same
	@if { echo "# $(CURDIR)"; cat pyproject.toml; } | cmp -s - $(STAMP) && $(BIN)/python -c ''; then exit 0; fi; set -e; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  if test -z "$(PYTHON)"; then echo "visgen needs Python 3.11 or newer and found none; install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; fi; \
	  $(PYTHON) -m venv --clear $(VENV); \
	fi; \
	echo "Installing visgen and its dependencies into $(VENV); the first time takes a few minutes."; \
	$(BIN)/python -m pip install 'hatchling>=1.27' 'setuptools>=70.1,<82'; \
	$(BIN)/python -m pip install --no-build-isolation --editable '.[dev]'; \
	$(BIN)/visgen kernels build || echo "Without a C++ compiler experts run on PyTorch alone, which is slower and gives the same answers."; \
	{ echo "# $(CURDIR)"; cat pyproject.toml; } > $(STAMP)

demo: install ## Run the shipped model on the sample photographs; pictures and JSON go to out/demo
	@$(BIN)/visgen predict data/samples --out out/demo

test: install ## Run the tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal $(ARGS)

lint: install ## Check style and types
	@$(BIN)/python -m ruff check visgen tests $(wildcard tasks data)
	@$(BIN)/python -m mypy

bench: install ## Measure the speed of the shipped model against a plain vision transformer
	@$(BIN)/visgen bench latency
