# Every verb builds what it needs. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
BIN := .venv/bin
STAMPS := .stamps
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
JAVA_CLASSES := target/interop-java
LISTEN ?= 127.0.0.1:7880
MEDIA_PORT ?= 7882
RTMP_LISTEN ?= 127.0.0.1:1935
DATA ?= data
ARGS ?=
# Of the native module: `release` for who runs it; `quick` takes a third of the time, of which tests need the rest anyway.
NATIVE_PROFILE ?= release
# Most tests wait, for media or a deadline. Each module stays in one process.
# A process that died is not replaced: by files, pytest-xdist would run what killed it again and again.
SIDE_BY_SIDE ?= --numprocesses 3 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

# What the environment may forbid: then each of the hundreds of processes that tests start compiles every module anew.
export PYTHONDONTWRITEBYTECODE :=

RUST_SOURCES := $(shell find crates -type f \( -name '*.rs' -o -name Cargo.toml \) 2>/dev/null)
WEB_SOURCES := $(shell find web tests/page -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)

.PHONY: help setup run demo test test-long bench check ci fix fuzz gen clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: $(STAMPS)/debian ## build everything; the command is then .venv/bin/rtcloud
	+@$(MAKE) --jobs 3 $(addprefix $(STAMPS)/,native web java)

run: $(STAMPS)/debian-run $(STAMPS)/native $(STAMPS)/web ## start everything on one machine, with the demo page (LISTEN=, MEDIA_PORT=, RTMP_LISTEN=, DATA=)
	@exec $(BIN)/python tools/run.py --data $(DATA) --listen $(LISTEN) --media-port $(MEDIA_PORT) --rtmp-listen "$(RTMP_LISTEN)"

demo: setup ## two headless people talk, are recorded through the official SDK, and a summary is printed
	@$(BIN)/python tools/demo.py

test: setup ## every test but the long ones (ARGS= goes to pytest)
	cargo test --locked --profile quick --workspace
	@ended=5; \
	run() { \
	  echo "pytest $$*"; \
	  $(BIN)/python -m pytest "$$@" $(ARGS) && code=0 || code=$$?; \
	  case $$code in 0) [ $$ended = 1 ] || ended=0 ;; 5) ;; *) ended=1 ;; esac; \
	}; \
	run -m "not long and not alone" $(SIDE_BY_SIDE); \
	run -m "alone and not long"; \
	[ $$ended != 5 ] || echo "no test was chosen" >&2; \
	exit $$ended

test-long: setup ## the tests with full counts and durations
	$(BIN)/python -m pytest -m long --timeout 3600 $(ARGS)

bench: setup ## every benchmark beside its budget (ARGS= names some of them)
	$(BIN)/python benches/run.py $(ARGS)

check: setup ## formatting, lints, types, import rules, generated files; changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests
	$(BIN)/python -m mypy.stubtest rtcloud._native --mypy-config-file pyproject.toml
	PYTHONPATH=src $(BIN)/lint-imports --no-cache
	for each in tools/gen_*.py; do $(BIN)/python $$each --check; done
	$(BIN)/python tools/locks.py
	cargo fmt --all --check
	cargo clippy --locked --profile quick --workspace --all-targets -- -D warnings
	npm run --silent check

ci: export FUZZ_SECONDS ?= 5
ci: export NATIVE_PROFILE = quick
ci: export CARGO_INCREMENTAL = 0
ci: test check ## what .ci/run runs

fix: $(STAMPS)/python $(STAMPS)/node ## format and mend what tools can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	cargo fmt --all
	npm run --silent fix

gen: $(STAMPS)/native ## write the generated files and the Python lock anew
	for each in tools/gen_model.py tools/gen_*.py; do $(BIN)/python $$each; done
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --group dev --generate-hashes --no-emit-index-url \
	  --no-annotate --no-header --output-file requirements.lock pyproject.toml

fuzz: setup ## feed every parser of network bytes with random input (SECONDS_EACH=)
	$(BIN)/python tools/fuzz_engine.py --seconds $(or $(SECONDS_EACH),20)
	$(BIN)/python tools/fuzz.py --seconds $(or $(SECONDS_EACH),20)

clean: ## remove what was built (data/ stays)
	rm -rf $(STAMPS) .venv node_modules target dist web/*/dist tests/page/dist src/rtcloud/gateway/static/demo
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src -name '*.so' -delete
	find src tests tools benches -name __pycache__ -type d -prune -exec rm -rf {} +

# What is built, each when what it is made from changed. -----------------------------------------------------------

$(STAMPS)/versions: tools/versions.sh
	@mkdir -p $(STAMPS)
	@PYTHON=$(PYTHON) tools/versions.sh
	@touch $@

$(STAMPS)/debian: tools/debian.sh $(STAMPS)/versions
	@tools/debian.sh
	@touch $@

$(STAMPS)/debian-run: tools/debian.sh $(STAMPS)/versions # what the tests alone use is left out
	@tools/debian.sh run
	@touch $@

$(STAMPS)/python: requirements.lock $(STAMPS)/versions
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@echo "installing Python packages"
	@sed -n '/^uv==/,/[^\\]$$/p' $< >$(STAMPS)/uv.lock
	@$(PIP_INSTALL) --require-hashes --no-deps -r $(STAMPS)/uv.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes --no-deps -r $< || \
	  $(PIP_INSTALL) --require-hashes --no-deps -r $< # slower, but it knows of mirrors that only pip was told of
	@touch $@

$(STAMPS)/node: package-lock.json package.json $(STAMPS)/versions
	@echo "installing Node packages"
	@npm ci --silent --no-audit --no-fund
	@touch $@

$(STAMPS)/native: $(RUST_SOURCES) Cargo.toml Cargo.lock pyproject.toml $(STAMPS)/python
	@echo "building the native module (some minutes the first time)"
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(PIP_INSTALL) --no-deps --no-build-isolation \
	  --config-settings build-args="--locked --profile $(NATIVE_PROFILE)" --editable .
	@touch $@

$(STAMPS)/web: $(WEB_SOURCES) $(STAMPS)/node
	@npm run --silent build
	@touch $@

$(STAMPS)/java: tests/interop/java/pom.xml $(wildcard tests/interop/java/*.java) $(STAMPS)/debian
	@echo "fetching the Java libraries that tests use"
	@rm -rf $(JAVA_CLASSES)
	@mvn --quiet --batch-mode --strict-checksums --file $< dependency:copy-dependencies \
	  -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$(JAVA_CLASSES)
	@javac -Xlint:all -Werror -cp '$(JAVA_CLASSES)/*' -d $(JAVA_CLASSES) tests/interop/java/*.java
	@touch $@
