# Two commands on a fresh clone: `make quickstart` and `make test`. Python ≥ 3.11, pip and make are all they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS ?= models,cohort,faiss,dev

.PHONY: quickstart test lint types docs clean

$(VENV)/.ready-$(EXTRAS): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "mslitmus needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	touch '$@'

quickstart: $(VENV)/.ready-$(EXTRAS)
	$(BIN)/mslitmus run quickstart

test: $(VENV)/.ready-$(EXTRAS)
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.ready-$(EXTRAS)
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks

types: $(VENV)/.ready-$(EXTRAS)
	$(BIN)/mypy

docs: $(VENV)/.ready-$(EXTRAS)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[docs]'
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache site
