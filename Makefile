# Every target sets up what it needs. Only the packages that `make tools` names need root.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Relative, so that a space in the checkout's path splits no target and no argument.
VENV := .venv
BUILD := build
READY := $(VENV)/.ready
# Side of the demonstration's pictures in pixels; the RTL takes about a minute for 40.
SIZE ?= 24
# Scene of the benchmarks, for instance SCENE="--model lego.th --transforms transforms_test.json"; default: embedded.
SCENE ?=
CONFIG ?= tiny
# For instance PIP_FLAGS="--index-url ..." to choose another index.
PIP_FLAGS ?=
# For instance VENV_FLAGS=--system-site-packages to take a PyTorch that is installed already.
VENV_FLAGS ?=
# PyPI's PyTorch for Linux on x86-64 depends on several GB of CUDA. This index has builds without, and is asked first.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PYTEST_FLAGS ?=
# The newest Python that can make an environment; evaluated only where it is needed.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
	>/dev/null 2>&1; then command -v $$python; break; fi; done)

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
unexport VIRTUAL_ENV PYTHONHOME

.PHONY: help setup tools demo demo-hardware demo-software docs test formal bench verify-full matrix lint clean distclean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sort \
		| awk -F ':.*## ' '{ printf "  make %-11s %s\n", $$1, $$2 }'

setup: $(READY) ## create .venv with the pinned dependencies

$(READY): pyproject.toml constraints.txt
	@if ! $(VENV)/bin/python -m pip --version >/dev/null 2>&1; then \
		python="$(PYTHON)"; \
		if [ -z "$$python" ]; then \
			echo "error: python must be 3.11 or later with the venv module, not missing" >&2; \
			echo "  Debian and Ubuntu, as root: apt-get install python3 python3-venv" >&2; \
			exit 2; \
		fi; \
		echo "creating $(VENV) with $$python"; \
		"$$python" -m venv --clear $(VENV_FLAGS) $(VENV); \
	fi
	@index=""; \
	if [ "$$(uname -sm)" = "Linux x86_64" ] && ! $(VENV)/bin/python -c 'import torch' >/dev/null 2>&1; then \
		if $(VENV)/bin/python -c 'import urllib.request; urllib.request.urlopen("$(TORCH_INDEX)", timeout=5)' \
			>/dev/null 2>&1; then index="--extra-index-url $(TORCH_INDEX)"; \
		else echo "PyTorch comes from the ordinary index: $(TORCH_INDEX) does not answer"; fi; \
		$(VENV)/bin/python -m pip install --disable-pip-version-check --no-compile $(PIP_FLAGS) $$index \
			--constraint constraints.txt torch; \
	fi
	$(VENV)/bin/python -m pip install --disable-pip-version-check --no-compile $(PIP_FLAGS) \
		--constraint constraints.txt --editable '.[all]'
	@touch $@

tools: ## check the compiler that the Verilog simulator needs
	@missing=""; for tool in g++ make perl; do \
		command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	if [ -n "$$missing" ]; then \
		echo "error: tools must be g++, make and perl, not missing:$$missing" >&2; \
		echo "  Debian and Ubuntu, as root: apt-get install g++ make perl" >&2; \
		echo "  macOS: xcode-select --install" >&2; \
		exit 2; \
	fi

demo: tools setup ## render the embedded model at every rung, run the RTL and the simulator on it, write a report
	rtnerf doctor
	$(MAKE) --no-print-directory --jobs 2 demo-hardware demo-software
	rtnerf report --out $(BUILD)/report
	@echo "report: $(BUILD)/report/index.html"

# Two halves, for two processors.
demo-hardware:
	rtnerf generate --config $(CONFIG) --out $(BUILD)/demo/rtl --json $(BUILD)/demo/generate.json
	rtnerf cosim --size $(SIZE) --config $(CONFIG) --out $(BUILD)/demo/rtl.npy --json $(BUILD)/demo/rtl.json

demo-software:
	for pipeline in integer cubes uniform; do \
		rtnerf render --pipeline $$pipeline --size $(SIZE) --out $(BUILD)/demo/$$pipeline.npy \
			--png $(BUILD)/demo/$$pipeline.png --json $(BUILD)/demo/$$pipeline.json; done
	rtnerf encode --out $(BUILD)/demo/scene.rtn --json $(BUILD)/demo/encode.json
	rtnerf simulate --size $(SIZE) --config $(CONFIG) --timeline $(BUILD)/demo/simulate.trace.json \
		--json $(BUILD)/demo/simulate.json
	rtnerf ablate --size $(SIZE) --config $(CONFIG) --json $(BUILD)/demo/ablation.json

docs: setup ## build the documentation site, build/docs/index.html
	python docs/site/build.py $(BUILD)/docs
	@echo "documentation: $(BUILD)/docs/index.html"

test: tools setup ## run the test suite, but for what verify-full runs
	python -m pytest -n 2 --dist worksteal -m "not full" $(PYTEST_FLAGS)

formal: setup ## prove the units of the RTL for all inputs; print each property
	python -m tests.formal.count $(PYTEST_FLAGS)

bench: tools setup ## measure renderers, quality, co-simulation, simulator, synthesis; results in build/bench
	mkdir -p $(BUILD)/bench
	python -m benchmarks.renderers $(SCENE) > $(BUILD)/bench/renderers.json
	python -m benchmarks.quality $(SCENE) > $(BUILD)/bench/quality.json
	python -m benchmarks.cosimulation $(SCENE) > $(BUILD)/bench/cosimulation.json
	python -m benchmarks.simulator --part speed growth $(SCENE) > $(BUILD)/bench/simulator.json
	python -m benchmarks.synthesis --check > $(BUILD)/bench/synthesis.json
	cat $(BUILD)/bench/*.json

verify-full: tools setup ## the longest tests; the simulator against the RTL on many runs; every mutant and fault
	mkdir -p $(BUILD)/bench
	python -m pytest -m full
	python -m benchmarks.simulator --part exact $(SCENE) > $(BUILD)/bench/exact.json
	python -m tests.cosim.mutations --json $(BUILD)/bench/mutations.json
	python -m tests.cosim.configurations --count 200 --json $(BUILD)/bench/configurations.json
	python -m tests.cosim.faults --json $(BUILD)/bench/faults.json

matrix: tools ## set-up, demonstration and a sample of the tests on every Python that is promised and there
	$(PYTHON) benchmarks/matrix.py --json reports/results/matrix.json

lint: setup ## check style, layering and types
	ruff check .
	ruff format --check .
	lint-imports
	mypy

clean: ## remove everything generated
	rm -rf $(BUILD) .pytest_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## remove the virtual environment too
	rm -rf $(VENV)
