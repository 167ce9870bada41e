# make demo | test | check | bench | clean. Works with pip alone; uses uv when it is installed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
# One torch for every user: the pinned build is small where a CPU wheel is at hand (see CONTRIBUTING.md for how to choose it).
TORCH ?= torch==2.13.0
STAMP := $(VENV)/.installed
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check bench clean install

demo: $(STAMP)
	$(BIN)/dexhil demo

test: $(STAMP)
	$(BIN)/python -m pytest tests

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m benchmarks

install: $(STAMP)

$(STAMP): pyproject.toml
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
ifdef UV
	@echo "Installing with uv (a few minutes the first time) ..."
	@$(UV) pip install --quiet --python $(BIN)/python $(PIP_ARGS) "$(TORCH)" -e ".[dev]"
else
	@echo "Installing with pip (a few minutes the first time) ..."
	@$(BIN)/pip install --quiet $(PIP_ARGS) "$(TORCH)"
	@$(BIN)/pip install --quiet $(PIP_ARGS) -e ".[dev]"
endif
	@touch $@

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
