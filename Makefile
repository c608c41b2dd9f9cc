# make bench    a server run on this machine: creates the environment, installs the locked versions, prepares the default model, measures
#               make bench ARGS="--scenario offline --task sst2" passes other flags
# make test     all tests (make test TESTS="tests/unit -k ledger" for some)
# make test-long  200 random configurations against the official LoadGen instead of 20, and as many configuration files; 100,000 queries
#               of each backend instead of 1,500, with an eye on memory; Ctrl-C at every line of `prepare` instead of every twelfth;
#               1,008 simulated histories instead of 32, and `ci check` of one commit against itself ten times (about an hour)
# make check    ruff, mypy strict, import rules
# make format   what ruff can mend by itself
# make lock     write constraints.txt anew: the newest versions, in a fresh environment
# make clean    remove what builds and checks leave behind; the environment and results/ stay

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
ARGS ?= --scenario server
TESTS ?=
# Worker processes of the test suite (0: none). Much of it waits for runs of a given length.
JOBS ?= 2

TORCH := 2.13.0
# Finds change points. Without what it asks for: an exact numpy, and clients of databases and chat programs that its analysis never imports.
OTAVA := apache-otava==0.8.0
# The first of these that is a Python Assay runs on; a name alone proves nothing (a version manager's stub may be all there is).
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3 python; do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$name && break; done)

.PHONY: bench test test-long check format lock clean

bench: $(VENV)/.installed
	$(BIN)/python run_bench.py prepare
	$(BIN)/python run_bench.py $(ARGS)

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n $(JOBS) $(TESTS)

test-long: $(VENV)/.installed
	ASSAY_OFFICIAL_RUNS=200 $(BIN)/python -m pytest tests/property/test_traffic_official.py tests/golden/test_fromconfig.py
	ASSAY_BACKEND_CALLS=100000 $(BIN)/python -m pytest tests/contract/test_backend_memory.py
	ASSAY_STOP_STRIDE=1 $(BIN)/python -m pytest tests/unit/test_damage.py
	ASSAY_REPLAY=1008 $(BIN)/python -m pytest tests/property/test_ci_replay.py tests/end_to_end/test_ci_check.py

check: $(VENV)/.installed
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.installed
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

# Written last, so that an installation that broke off is begun again.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { $(find-python); $(make-venv) $(VENV) || $(no-venv); }
	$(PIP) install --constraint constraints.txt --editable ".[test]"
	$(PIP) install --no-deps $(OTAVA)
	@touch $@

lock:
	@$(find-python)
	set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(make-venv) "$$folder/venv" || $(no-venv); \
	"$$folder/venv/bin/python" -m pip --quiet --disable-pip-version-check install torch==$(TORCH) --editable ".[test]"; \
	{ sed '/^[^#]/,$$d' constraints.txt; \
	  "$$folder/venv/bin/python" -m pip freeze --all --exclude-editable --exclude pip | sed 's/+cpu$$//'; } > "$$folder/constraints.txt"; \
	cp "$$folder/constraints.txt" constraints.txt

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .benchmarks .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

make-venv = $(PYTHON) -m venv --clear
find-python = test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 on the path" >&2; \
	echo "cure: install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
no-venv = { echo "error: $(PYTHON) cannot make a virtual environment" >&2; \
	echo "cure: install its venv module (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
