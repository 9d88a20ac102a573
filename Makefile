# The commands of this repository; `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
CLUSTERS ?= clusters.toml
PORT ?=
TESTERS ?= 3
SEED ?=
ITEMS ?=
MINUTES ?=
EXAMPLES ?=
DIR ?= secrets
VENV := .venv
PY := $(VENV)/bin/python
PACKAGES := libs/common services/poller services/outputs-api
EDITABLE := $(foreach package,$(PACKAGES),-e $(package))
PIP_INSTALL := $(PY) -m pip --disable-pip-version-check install --quiet

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 14

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ScriptHut needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "python3 cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.runtime: $(VENV)/bin/python requirements/runtime.lock $(PACKAGES:%=%/pyproject.toml)
	@echo "installing what the services need…"
	@$(PIP_INSTALL) --require-hashes -r requirements/runtime.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation $(EDITABLE)
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.lock
	@echo "installing what checks and tests need…"
	@$(PIP_INSTALL) --require-hashes -r requirements/dev.lock
	@touch $@

venv: $(VENV)/.dev ## make the virtual environment with everything in it

demo: $(VENV)/.runtime ## run both services and an example run on this machine; prints one URL
	@exec $(PY) deploy/embedded.py --example $(if $(PORT),--port $(PORT))

run: $(VENV)/.runtime ## run both services on this machine with your clusters.toml
	@exec $(PY) deploy/embedded.py --clusters '$(CLUSTERS)' $(if $(PORT),--port $(PORT))

check: $(VENV)/.dev ## lint, format, types, import rules
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports

test: $(VENV)/.dev ## install what tests need (apt as root) and run them all
	@sh tests/testbed/install.sh
	@$(PY) -m pytest --numprocesses $(TESTERS) --dist loadfile

bench: $(VENV)/.dev ## measure against nginx, tar and memory; prints a table of ratios
	@sh tests/testbed/install.sh
	@$(PY) -m tests.bench

truth: $(VENV)/.dev ## let jobs end in every way on a real Slurm; prints what it says and what we say
	@sh tests/testbed/install.sh
	@$(PY) -m tests.truth

chaos: $(VENV)/.dev ## break everything at random while tasks run, SEED=… repeats it; prints what was survived
	@sh tests/testbed/install.sh
	@$(PY) -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(ITEMS),--items $(ITEMS)) $(if $(MINUTES),--minutes $(MINUTES))

fuzz: $(VENV)/.dev ## ask for everything as everybody, EXAMPLES=… SEED=… MINUTES=…; prints what was answered
	@sh tests/testbed/install.sh
	@$(PY) -m tests.fuzz $(if $(EXAMPLES),--examples $(EXAMPLES)) $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))

proof: $(VENV)/.dev ## run the production shape on a Docker daemon, upgrade and restore it under load; prints what was lost
	@$(PY) -m tests.proof $(if $(SEED),--seed $(SEED))

pictures: $(VENV)/.dev ## take the pictures of the documentation anew, into docs/images
	@sh tests/testbed/install.sh
	@PYTHONPATH=.:deploy:deploy/examples/heat $(PY) -m tests.pictures

asyncapi: $(VENV)/.dev ## write docs/asyncapi.json anew from the structs of the events
	@$(PY) -m scripthut_common.asyncapi tests/golden > docs/asyncapi.json

secrets: $(VENV)/.runtime ## make what is missing of the secrets of the production shape, DIR=… where
	@PYTHONPATH=deploy $(PY) deploy/make_secrets.py '$(DIR)'

up: ## start the production shape with Docker Compose
	docker compose up --detach --wait

upgrade: ## bring the running production shape to the version that .env names, one replica at a time
	docker compose run --rm --no-deps migrate
	sh deploy/replace.sh outputs-api
	sh deploy/replace.sh collector
	docker compose up --detach --wait

down: ## stop it, keep its volumes
	docker compose down

migrate: $(VENV)/.runtime ## bring both services' schemas to the newest version
	@$(VENV)/bin/scripthut-poller migrate
	@$(VENV)/bin/scripthut-outputs migrate

lock: $(VENV)/.dev ## choose versions anew and write the requirement locks
	@for name in runtime dev; do $(VENV)/bin/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock" --output-file requirements/$$name.lock requirements/$$name.in; done

.PHONY: help venv demo run check test bench truth chaos fuzz proof pictures asyncapi secrets up upgrade down migrate lock
