.PHONY: up down demo test chaos check fix bench lock install
PYTHON ?= python3
BIN := .venv/bin
export UV_PYTHON_DOWNLOADS = never
export UV_NO_SYNC = 1

up: install  ## start the whole system and print where to click
	@$(BIN)/sluice up

down: install  ## stop it from another terminal
	@$(BIN)/sluice down

demo: install  ## against the running system: two people, the same questions, two answers
	@$(BIN)/sluice demo

test: install  ## every test
	$(BIN)/pytest

chaos: install  ## every fault at its full size, about an hour; the last line is JSON
	@$(BIN)/python -m tests.chaos

bench: install  ## figures of one benchmark: make bench NAME=consume
	@test -n "$(NAME)" || { echo "name one: make bench NAME=consume (benchmarks/README.md)"; exit 2; }
	@$(BIN)/python -m benchmarks.$(NAME)

check: install  ## ruff, pyright, import rules, contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m tests.contract.check
	$(BIN)/python -m scripts.settings_table --check
	$(BIN)/python -m scripts.asyncapi --check

fix: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: .venv/installed

MEMBERS := shared frontend $(wildcard services/*)
.venv/installed: requirements.lock $(MEMBERS:=/pyproject.toml)
	@$(PYTHON) -c 'import sys, venv; sys.exit(0 if sys.version_info >= (3, 11) else "Sluice needs Python 3.11 or later; set PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.txt
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	@echo "Installing the locked packages; the first time takes a minute or two ..."
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --compile-bytecode --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(addprefix -e ,$(MEMBERS))
	@touch $@

lock:  ## resolve again: uv.lock (local) and requirements.lock (committed)
	$(BIN)/uv lock
	$(BIN)/uv export --quiet --format requirements-txt --no-emit-workspace --all-packages --all-groups --no-header --no-annotate -o requirements.lock
