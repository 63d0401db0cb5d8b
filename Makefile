# `make` or `make help` lists the targets. Everything they need is made on first use: the virtual environment in .venv,
# and a Pulumi engine in the user's cache if none is installed. PYTHON=… chooses the Python that .venv is made of, and
# WORKERS=… how many tests run at a time: three more than there are cores, unless you say otherwise.

ifndef TOGETHER
.NOTPARALLEL:
endif
.DEFAULT_GOAL := help
PYTHON :=
IN_VENV := .venv/bin/python
WORKERS := auto
# Tests start about a thousand Python processes; without compiled files on disk each compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE
PYTEST = $(IN_VENV) -m pytest --numprocesses $(WORKERS) --dist worksteal

# Run a tool with the first Python that is new enough and can make virtual environments; .venv keeps its Python.
define run
for python in $(if $(PYTHON),"$(PYTHON)",$(IN_VENV) python3 python3.13 python3.12 python3.11 python); do \
  "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && exec "$$python" $(1); \
done; \
echo 'No Python 3.11 or later with venv and ensurepip found: install one (Debian and Ubuntu: python3-venv), or name it: make PYTHON=…' >&2; exit 1
endef

# What tests need, made at the same time: while one part computes, another one waits for the network.
PREPARED = $(MAKE) --no-print-directory --jobs=6 TOGETHER=yes $(addprefix ready-,$(1))
ready-environment:
	@$(call run,-m tools.environment)
ready-engine:
	@{ $(call run,tools/engine.py); } >/dev/null
ready-servers:
	@{ $(call run,-m tools.servers); } >/dev/null
ready-sdks ready-dist: ready-environment
	@$(IN_VENV) -m tools.$(subst ready-,,$@) --prepare
ready-stores: ready-environment
	@$(IN_VENV) -m tests.support.object_stores

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS='	' read -r target text; do printf '  make %-16s %s\n' "$$target" "$$text"; done

demo: environment ## Take a snapshot with a real engine against a local emulator, and look into it
	@$(IN_VENV) -m tools.demo

# The linters run beside all else, in the time that it leaves. They print only what is wrong, and after the tests, so that neither
# hides the other.
test: ## Everything that is checked: lint, unit tests, tests with the real engine
	@lint=$$(mktemp) && { { $(MAKE) --no-print-directory environment 2>&3 && exec nice -n 5 $(MAKE) --no-print-directory lint; } 3>&2 >"$$lint" 2>&1 & } && \
	linting=$$! && trap 'kill $$linting 2>/dev/null; rm -f "$$lint"' EXIT && \
	$(call PREPARED,environment engine sdks dist servers stores) && { \
	$(PYTEST) -m 'not nightly'; tested=$$?; wait $$linting || { cat "$$lint" >&2; exit 1; }; exit $$tested; }

lint: environment ## Style and types: ruff and mypy
	$(IN_VENV) -m ruff check
	$(IN_VENV) -m ruff format --check
	$(IN_VENV) -m mypy

unit: ## Tests without an engine: in virtual time, and with real database servers
	@$(call PREPARED,environment servers stores)
	$(PYTEST) -m 'not engine and not nightly'

test-engine: ## Tests with the real engine, in real time
	@$(call PREPARED,environment engine sdks dist)
	$(PYTEST) -m 'engine and not nightly'

engine: environment ## Find or build a Pulumi engine for Python programs, without hosts for other languages, and print its directory
	@$(IN_VENV) tools/engine.py

sdks: environment ## Generate the SDKs for TypeScript, Go and Python, in sdks/
	@$(IN_VENV) -m tools.sdks

dist: environment ## Make the files of a release in dist/: packages, the plugin's archive for this machine, SDKs, sums
	@$(IN_VENV) -m tools.dist

image: environment ## Build the container image of the command line, with Docker
	@$(IN_VENV) -m tools.dist packages image
	docker build --tag squarecloud-snapshots .

registry: environment ## Make the pages and the schema that Pulumi's registry reads: schema.json, docs/_index.md, docs/installation-configuration.md
	@$(IN_VENV) -m tools.registry

generated: environment ## Write what follows from the definitions: the tour in other languages, what type checkers read, tables of the pages, the registry's pages and schema
	@$(IN_VENV) -m tools.languages
	@$(IN_VENV) -m tools.declarations
	@$(IN_VENV) -m tests.support.property_tables
	@$(IN_VENV) -m tools.registry

release-check: environment lock-check checks ## Check that the version can be released; says what is missing
	@$(IN_VENV) -m tools.registry --check
	@$(IN_VENV) tools/release.py

release-prepare: environment ## Give the changelog's newest part its number and date, and record what the version leaves
	@$(IN_VENV) tools/release.py --changelog
	@$(IN_VENV) -m tools.registry
	@$(IN_VENV) -m tools.record_states

bench: engine ## Measure
	@$(IN_VENV) -m bench.measures

bench-fleet: engine ## Measure fleets: this provider against others, simulated and with the real engine
	@$(IN_VENV) -m bench.fleets

structure: environment ## Measure how the package is built
	@$(IN_VENV) -m bench.structure

mistakes: environment ## Make a hundred mistakes, and list those that no unit test notices; ROOMS="ledger guard" makes only theirs
	@$(IN_VENV) -m bench.mistakes $(ROOMS)

simulate: environment ## Play thousands of random stories and guarded runs in virtual time
	STORIES=$${STORIES:-3000} GUARDS=$${GUARDS:-1000} $(IN_VENV) -m pytest -q tests/simulation

nightly: simulate mistakes ## What `make test` leaves out: more random runs, mistakes that tests must notice, what restic keeps, tests of more programs
	@$(call PREPARED,environment engine sdks dist servers stores)
	$(PYTEST) -m nightly
	@$(IN_VENV) -m bench.restic_oracle

states: engine ## Record what this version leaves in states, at its release
	@$(IN_VENV) -m tools.record_states

docs: environment ## Make the site of docs/ in build/site; a warning is an error
	@$(IN_VENV) -m sphinx --quiet --fail-on-warning --keep-going --fresh-env --write-all docs build/site
	@echo build/site/index.html

checks: environment ## Read the workflows, the action and the Dockerfile with zizmor, actionlint and hadolint
	@$(IN_VENV) -m tools.checks

flaws: environment ## Ask which locked libraries have known flaws
	@$(IN_VENV) -m tools.checks --flaws

lock: ## Renew the lock files in locks/ to the newest versions that are allowed
	@$(call run,-m tools.lock)

lock-check: environment ## Check that the lock files fit pyproject.toml and the examples
	@$(IN_VENV) -m tools.lock --check

environment: ## Make .venv, or bring it up to date
	@$(call run,-m tools.environment)

clean: ## Remove what the other targets have made in this folder
	rm -rf .venv .ruff_cache .pytest_cache .hypothesis .pulumi-demo dist build sdks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help demo test lint unit test-engine engine sdks dist image registry generated release-check release-prepare bench bench-fleet structure mistakes simulate nightly states docs checks flaws lock lock-check environment clean
