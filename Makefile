# Everything from a fresh clone: `make demo` and `make test` set up .venv themselves, with Python, git and
# make alone. Options, on the command line or in the environment:
#   PYTHON=python3.12   the interpreter that .venv is made with (3.11 or newer)
#   TORCH_BACKEND=cpu   which build of PyTorch (cpu, cu130, auto ...); unset: what the package index gives
#   TESTS_AT_ONCE=2     processes that run tests, each with a Ray cluster of its own
#   PIP_FIND_LINKS=DIR  folders with wheels to look into first, as pip reads it

PYTHON ?= python3
TESTS_AT_ONCE ?= 2
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SEVERAL := -n $(TESTS_AT_ONCE) --dist loadscope

comma := ,
empty :=
space := $(empty) $(empty)
ifneq ($(strip $(PIP_FIND_LINKS)),)
export UV_FIND_LINKS ?= $(subst $(space),$(comma),$(strip $(PIP_FIND_LINKS)))
endif
ifneq ($(strip $(PIP_INDEX_URL)),)
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
ifneq ($(strip $(TORCH_BACKEND)),)
UV_OPTIONS += --torch-backend=$(TORCH_BACKEND)
endif

# Compiled modules are kept: the second start takes a third of the time of the first.
unexport PYTHONDONTWRITEBYTECODE
# The environment of this folder, not the one that happens to be active.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow chaos lint clean

help:  ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP)  ## Train SeqGAN on a small synthetic oracle, with its controls: minutes on two cores
	@$(BIN)/advseq train seqgan_quick

test: lint  ## Check everything: lint, types, import rules, tests
	@echo "Running the tests"
	@$(BIN)/python -m pytest -q $(SEVERAL)

test-slow: $(STAMP)  ## The tests that take longest: more ways to end, more nodes
	@$(BIN)/python -m pytest -q -m slow $(SEVERAL)

chaos: $(STAMP)  ## Kill the controller twenty times in one run, without and with workers
	@$(BIN)/python -m pytest -q -m chaos

lint: $(STAMP)  ## Check style, types and import rules
	@echo "Checking style"
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@echo "Checking types (half a minute the first time)"
	@$(BIN)/mypy
	@echo "Checking import rules"
	@$(BIN)/lint-imports --no-logo

clean:  ## Remove .venv and caches; runs are kept
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find algorithms workers orchestrator sweeps tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "advseq needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>/dev/null || echo 'not there')." >&2; \
	  echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: its venv module is missing." >&2; \
	  echo "On Debian and Ubuntu: apt install python3-venv. Or name another one: PYTHON=..." >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  echo "Making a virtual environment in $(VENV) with $$($(PYTHON) -V)"; $(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing uv, which installs the rest"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv || true
	@echo "Installing advseq and what it needs: 2 GB with the CPU build of PyTorch, 6 GB with CUDA"
	@if $(BIN)/uv pip install --quiet --python $(BIN)/python $(UV_OPTIONS) -c constraints.txt -e '.[dev]'; then \
	  true; \
	elif [ -n "$(strip $(TORCH_BACKEND))" ]; then \
	  echo "uv could not install it, and pip knows no TORCH_BACKEND: see the message above." >&2; exit 1; \
	else \
	  echo "uv could not install it; going on with pip, which takes some minutes"; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	fi
	@touch $@
