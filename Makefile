# Two commands do everything:   make serve    set up and run the service
#                               make test     set up and run every test
# Set-up goes into .venv and is repeated only when pyproject.toml or constraints.txt change.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || echo python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.roigcn-ready

# The PyTorch build. On Linux x86-64 the default index serves the CUDA build, on other systems the CPU build; a machine
# without a GPU saves gigabytes with the CPU build's index. TORCH_INDEX is the --index-url that PyTorch's install page
# names for the build you want. GPU=1 makes set-up fail unless the installed build sees a CUDA device.
TORCH_VERSION ?= 2.13.0
TORCH_INDEX   ?=
GPU           ?=
TORCH_INDEX_ARG = $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))

# Options of `make serve`, e.g.  make serve ARGS="--port 9000 --data-dir /srv/roigcn"
ARGS ?=

PIP = $(BIN)/python -m pip --disable-pip-version-check
# tests/platforms needs a Label Studio and tests/browser a Chromium: they have targets of their own.
PARTS = $(filter-out tests/platforms tests/browser tests/training,$(sort $(foreach file,$(wildcard tests/*/test_*.py tests/*/*/test_*.py),tests/$(word 2,$(subst /, ,$(file))))))
# The training tests of each folder have a process of their own, so that renderer, torch and OpenVINO do not share one.
ALONE = $(patsubst %/,%,$(sort $(dir $(wildcard tests/training/test_*.py tests/training/*/test_*.py))))
CODE = roigcn service worker model training tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help setup serve test test-browser screenshots test-platforms check format lint types contract clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## Make .venv with pinned versions and fetch the face nets

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "roigcn needs Python 3.11 or 3.12. On Debian: apt-get install python3 python3-venv. Another interpreter: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments. On Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --progress-bar off -q $(TORCH_INDEX_ARG) torch==$(TORCH_VERSION)
	$(PIP) install --progress-bar off -q -c constraints.txt -e '.[dev]'
	$(BIN)/roigcn assets
	@[ -z "$(GPU)" ] || $(BIN)/python -c 'import sys, torch; sys.exit(None if torch.cuda.is_available() else "GPU=1, but torch " + torch.__version__ + " sees no CUDA device: give TORCH_INDEX the index of a CUDA build that fits your driver, remove $(VENV) and make setup again")'
	@touch $@

serve: setup ## Set up, then run the whole service on http://127.0.0.1:8000 (ARGS="--port 9000")
	$(BIN)/roigcn serve $(ARGS)

test: setup ## Set up, then run every test (ARGS="tests/model -x" for some)
ifeq ($(ARGS),)
	@failed=; for part in $(PARTS); do \
	  echo "== $$part"; $(BIN)/python -m pytest $$part || failed="$$failed $$part"; \
	done; \
	for part in $(ALONE); do \
	  echo "== $$part alone"; $(BIN)/python -m pytest $$part/test_*.py || failed="$$failed $$part"; \
	done; \
	[ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }
else
	$(BIN)/python -m pytest $(ARGS)
endif

# Debian calls it chromium, others chromium-browser or google-chrome; playwright's own download is not used.
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
test-browser: setup ## Drive the page in a headless Chromium (its package is not fetched: apt-get install chromium)
	@[ -n "$(CHROMIUM)" ] || { echo "make test-browser needs Chromium. On Debian and Ubuntu: apt-get install chromium. Another place: make test-browser CHROMIUM=/path/to/chromium"; exit 1; }
	$(PIP) install --progress-bar off -q -c constraints.txt -e '.[browser]'
	ROIGCN_CHROMIUM=$(CHROMIUM) $(BIN)/python -m pytest $(or $(ARGS),tests/browser)

screenshots: ## Take docs/images/page-*.png anew, in the same Chromium
	$(MAKE) test-browser ARGS=tests/browser/screenshots.py

# Label Studio drags in a hundred packages: it gets an environment of its own, and nothing of roigcn imports it.
PLATFORMS_VENV ?= .venv-platforms
PLATFORMS_STAMP = $(PLATFORMS_VENV)/.ready

$(PLATFORMS_STAMP): tests/platforms/requirements.txt
	$(PYTHON) -m venv $(PLATFORMS_VENV)
	$(PLATFORMS_VENV)/bin/python -m pip --disable-pip-version-check install --progress-bar off -q -r tests/platforms/requirements.txt
	@touch $@

test-platforms: setup $(PLATFORMS_STAMP) ## Run the tests against a real Label Studio, which is set up first
	ROIGCN_PLATFORMS_VENV=$(abspath $(PLATFORMS_VENV)) $(BIN)/python -m pytest tests/platforms --timeout 1200 $(ARGS)

check: lint types contract ## Formatting, lint, types and the import contract

lint: setup
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)

types: setup
	$(BIN)/mypy

contract: setup
	$(BIN)/lint-imports

format: setup ## Format the code and mend what lint can mend
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) $(PLATFORMS_VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
