# make bench   a server run on this machine: creates the environment, installs, prepares the default model, measures
# make test    all tests
# make check   ruff, mypy strict, import rules
# make lock    write constraints.txt anew from the environment

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?= --scenario server

.PHONY: bench test check format lock clean

# torch goes first and by its exact version: any other resolves to a build with several gigabytes of CUDA libraries.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test]"
	touch $@

bench: $(VENV)/.installed
	$(BIN)/python run_bench.py prepare
	$(BIN)/python run_bench.py $(ARGS)

test: $(VENV)/.installed
	$(BIN)/python -m pytest $(TESTS)

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.installed
	$(BIN)/python -m pip freeze --exclude-editable --exclude assay | sed 's/ @ .*//; s/+cpu//' > constraints.txt

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
