# Crisp's verbs. `make help` lists them.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: packages $(VENV)/ready ## install what Crisp needs: Debian packages, then a virtual environment from the lock file

packages: ## install the Debian packages that are missing (root)
	@tools/packages.sh

$(VENV)/ready: requirements.lock pyproject.toml
	@echo "== virtual environment $(VENV), from requirements.lock"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

check: $(VENV)/ready ## what every commit passes: ruff, mypy, floors, unit tests
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/generate_api.py --check
	$(BIN)/pytest test/unit

test: setup check ## set up and pass all tests (root)
	$(BIN)/pytest test --ignore=test/unit --ignore=test/bench -m "not slow"

demo: setup ## a pod from a real image, end to end (root)
	$(BIN)/python tools/demo.py

bench: setup ## Crisp and Debian's containerd side by side, as ratios (root; SCENARIOS picks some)
	PYTHONPATH=.:test $(BIN)/python test/bench/run.py $(SCENARIOS)

POINTS ?= 1000
crash: setup ## kill crispd and its shims at POINTS named steps and look what is lost or left (root; SEED=n repeats a run, ACTION='errno(EIO)')
	PYTHONPATH=.:test $(BIN)/python test/fault/crash.py --points $(POINTS) $(if $(SEED),--seed $(SEED)) \
	  $(if $(ACTION),--action '$(ACTION)')

MINUTES ?= 60
PODS ?= 100
soak: setup ## load a node for MINUTES with PODS and look whether anything grows (root)
	test/fault/alone $(BIN)/python test/fault/soak.py --minutes $(MINUTES) --pods $(PODS)

crowd: setup ## thousands of calls, execs, stops and attaches at once (root)
	$(BIN)/pytest test/fault/test_load.py -m slow

proto: $(VENV)/ready ## regenerate the code beside our .proto files
	$(BIN)/python tools/generate_api.py

golden: $(VENV)/ready ## write the reviewed OCI specs in test/golden/specs anew
	CRISP_REWRITE_GOLDEN=1 $(BIN)/pytest test/unit/cri/container/spec/test_golden.py

lock: $(VENV)/ready ## rewrite requirements.lock from pyproject.toml
	tools/lock.sh

.PHONY: help setup packages check test demo bench crash soak crowd proto golden lock
