# Entry points of the project; `make` lists them.
PYTHON ?= python3
TORCH ?= auto
BIN := .venv/bin
IN_ENV := PATH="$(CURDIR)/$(BIN):$$PATH"

.DEFAULT_GOAL := help
.PHONY: help setup repro repro-all repro-full pull push app report test check test-system campaign lint lock bench bench-scaling image

help:            ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:           ## create .venv with pinned packages (TORCH=cpu|cuda, PYTHON=python3.12)
	@$(PYTHON) tools/setup.py $(TORCH)

# DVC runs one stage at a time: `study train --all` uses all cores, and the stages use its runs.
repro: setup     ## reproduce the study: data, every arm and seed, scores, findings
	@$(IN_ENV) study plan
	@$(IN_ENV) dvc repro -q data.dvc fingerprint
	@$(IN_ENV) study train --all
	@$(IN_ENV) dvc repro
	@$(IN_ENV) study findings --readme
	@$(IN_ENV) study results
	@echo "open the app: make app"

repro-all: setup ## the other quick studies too (under two hours on two cores), and the report
	@$(IN_ENV) study plan
	@cd studies && $(IN_ENV) study plan
	@$(IN_ENV) dvc repro -q data.dvc fingerprint
	@$(IN_ENV) study train --all
	@$(IN_ENV) dvc repro
	@cd studies && $(IN_ENV) dvc repro -q data.dvc fingerprint
	@cd studies && $(IN_ENV) study train --all
	@cd studies && $(IN_ENV) dvc repro
	@$(IN_ENV) study record studies
	@$(IN_ENV) dvc repro
	@$(IN_ENV) study findings --readme
	@$(IN_ENV) study report
	@cd studies && $(IN_ENV) study results

repro-full: setup  ## the published protocol at full scale (one GPU)
	@cd full && $(IN_ENV) study plan
	@cd full && $(IN_ENV) dvc repro -q data.dvc fingerprint
	@cd full && $(IN_ENV) study train --all
	@cd full && $(IN_ENV) dvc repro
	@$(IN_ENV) study record full
	@$(IN_ENV) dvc repro -s findings
	@$(IN_ENV) study findings --readme

pull: setup      ## download artifacts from the default remote
	@$(IN_ENV) study pull

push: setup      ## upload artifacts to the default remote
	@$(IN_ENV) study push

app: setup       ## open the app in a browser (127.0.0.1)
	@$(IN_ENV) python -m streamlit run app/main.py

report: setup    ## write all findings as one printable HTML file to build/report
	@$(IN_ENV) study report

test: setup lint ## the test suite, without tests that need system packages
	@$(IN_ENV) pytest -n 2 --dist worksteal -m "not gpu and not browser and not slurm and not s3 and not container and not faults"

check: setup lint  ## the fast tests (under two minutes)
	@$(IN_ENV) pytest -q -n 2 --dist worksteal -m "not slow and not gpu and not browser and not slurm and not s3 and not container and not faults"

lint: setup      ## check format, lint, types and import layers
	@$(IN_ENV) ruff format --check .
	@$(IN_ENV) ruff check .
	@$(IN_ENV) basedpyright
	@$(IN_ENV) lint-imports

test-system: setup  ## tests that need system packages (.ci/apt.txt), without skips
	@bash .ci/system

campaign: setup  ## long tests: damaged files, and a kill at every write operation
	@$(IN_ENV) pytest -q -n 2 --dist worksteal -m campaign

image:           ## build the container image (TORCH=cpu|cuda) with docker, podman or buildah
	@$(PYTHON) tools/image.py $(TORCH)

bench: setup     ## measure every performance goal, write bench/latest.json
	@$(BIN)/python -m pip install -q -r bench/requirements.txt -c requirements-cpu.txt
	@$(IN_ENV) python -m bench

bench-scaling: setup  ## measure cost against patterns and runs, write bench/scaling.json
	@$(IN_ENV) python -m bench.scaling

lock: setup      ## resolve the dependencies again
	@$(BIN)/python tools/lock.py
