# One-word verbs; `make help` lists them. Everything happens in $(VENV).
PYTHON ?= python3
VENV ?= .venv
# For pip: an index of CPU builds, a proxy, a folder of wheels.
PIP_ARGS ?=
# Your own images: make demo DATA=folder SPLIT=first:60,10
DATA ?=
SPLIT ?=
# For make test: a folder, a file, or options of pytest.
T ?=
# For make bench: a Python that has thingsvision, which wants a torch of its own.
THINGSVISION ?=
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all slow wheel bench hot kills oldest check docs format clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

install: $(VENV)/.installed  ## featx into .venv

demo: $(VENV)/.installed  ## the whole job: digits, or DATA=folder SPLIT=first:60,10
	$(BIN)/featx weights fetch auto
ifeq ($(DATA),)
	$(BIN)/featx demo
else
	$(BIN)/featx compare "$(DATA)" $(if $(SPLIT),--split $(SPLIT))
endif

test: $(VENV)/.dev  ## the tests, in minutes; of one folder or file: make test T=tests/heads
	$(BIN)/pytest -q --durations=25 $(T)

# One after the other: each keeps all cores busy, or starts a cluster of its own.
test-all: test slow wheel oldest  ## all that is tested, half an hour: also what is slow, the wheel, the oldest dependencies

slow: $(VENV)/.dev  ## the tests that take long: many kills, Ray, a browser, every command of the docs
	$(BIN)/pytest -q --durations=25 -m "slow and not ray"
	$(BIN)/pytest -q --durations=5 -n 0 -m ray

wheel: $(VENV)/.dev  ## the commands' tests and the demo where nothing is but the wheel
	.ci/wheel $(VENV)

bench: $(VENV)/.bench  ## featx against what people use, an hour: digits, or DATA=folder SPLIT=first:30,6
	$(BIN)/python benchmarks/bench.py $(if $(DATA),"$(DATA)") $(if $(SPLIT),--split $(SPLIT)) $(if $(THINGSVISION),--thingsvision $(THINGSVISION))

hot: $(VENV)/.bench  ## how fast the busiest functions are, against the last time
	$(BIN)/pytest -q -W default::pytest_benchmark.logger.PytestBenchmarkWarning benchmarks/test_hot.py --benchmark-autosave --benchmark-compare --benchmark-storage=bench/hot --benchmark-columns=median,iqr,rounds

kills: $(VENV)/.dev  ## the extraction killed five hundred times
	$(BIN)/pytest -q -m kills --log-cli-level=INFO

oldest:  ## the tests on the oldest dependencies that setup.cfg admits
	$(PYTHON) -m venv $(VENV)-oldest
	sed -nE '/^install_requires/,/^$$/s/^ *([a-z0-9-]+) >= /\1==/p; s/^ *(pytest) >= /\1==/p' setup.cfg > $(VENV)-oldest/floors.txt
	$(VENV)-oldest/bin/python -m pip install --quiet $(PIP_ARGS) -c $(VENV)-oldest/floors.txt -e '.[dev]'
	$(VENV)-oldest/bin/pytest -q --full-width

check: $(VENV)/.dev docs  ## format, lint, types, and the site
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.docs  ## the site, into build/docs; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file docs/site/mkdocs.yml

format: $(VENV)/.dev  ## mend format and what lint can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove .venv and what tools left; results and features stay
	rm -rf $(VENV) $(VENV)-oldest build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "featx needs Python 3.11 or newer; say make PYTHON=python3.12, for one"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -e '.[onnx,openvino]'
	@touch $@

$(VENV)/.bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -e '.[bench]'
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -e '.[dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -e '.[docs]'
	@touch $@
