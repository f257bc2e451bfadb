# Development commands. `make help` lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PAGE   := web/dist/build.json
WEB_SOURCES := $(wildcard web/*.mjs web/*.py web/package*.json pyproject.toml) $(shell find web/page web/worker web/gate web/shared web/models web/sample pyapp tests/data/parity -type f -not -name '*.pyc')

.DEFAULT_GOAL := help
.PHONY: help setup serve web check test bench wheel clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: $(VENV)/.ready ## an environment in .venv with everything that Python needs

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

web/node_modules/.ready: web/package.json web/package-lock.json
	@node -e "process.exit(+(parseInt(process.versions.node) < 18))" 2>/dev/null && command -v npm >/dev/null || \
	  { echo "The page needs Node.js 18 or newer and npm to be built (on Debian: apt-get install nodejs npm)." >&2; exit 2; }
	cd web && npm ci --silent
	@touch $@

web: $(PAGE) ## the page, in web/dist

$(PAGE): $(VENV)/.ready web/node_modules/.ready $(WEB_SOURCES)
	PYTHON=$(abspath $(BIN))/python node web/build.mjs

serve: setup web ## build the page, serve it to this machine and open it; SERVE="--port 9000 --no-open"
	@$(BIN)/autogaze-web serve $(SERVE)

check: setup web/node_modules/.ready ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd web && npm run --silent check

test: check web ## every gate: check, then all tests, those in a browser too
	$(BIN)/python tests/run_all.py

bench: setup ## the graphs on ONNX Runtime against PyTorch, in one run
	$(BIN)/python tests/bench_native.py

wheel: setup web ## the wheel with the page in it, in dist/
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## forget what was set up and built
	rm -rf $(VENV) dist build web/dist web/node_modules
