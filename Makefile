# Every target sets up what it needs; only Python 3.11+ and the package registries are assumed.
PYTHON ?= python3
BIN := .venv/bin
DATA ?= data

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-chaos check format bench bench-accuracy web docs wheel lock clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

demo: .venv/run web ## From a recording to a transcript: server, runner, real speech
	@$(BIN)/python scripts/demo.py --data $(DATA)

serve: .venv/run web ## The server with a runner beside it, until Ctrl-C
	@exec $(BIN)/rhapsode serve --data $(DATA)

test: .venv/dev web ## All tests but the long ones
	$(BIN)/python -m pytest -m "not chaos" -n 2 --dist loadfile $(PYTEST)
	$(BIN)/python scripts/npm.py run test

test-chaos: .venv/dev web ## The long ones: everything killed at random moments
	$(BIN)/python -m pytest -m chaos $(PYTEST)

check: .venv/dev ## Lint, types, import contracts, drift of generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/npm.py run check
	$(BIN)/python scripts/npm.py run format:check
	$(BIN)/python scripts/api_types.py --check

format: .venv/dev ## Put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/dev ## The benchmarks, as ratios from one run
	$(BIN)/python -m bench

bench-accuracy: .venv/dev ## Word and speaker error rates, as tables for the docs
	$(BIN)/python -m bench.accuracy $(BENCH)
	$(BIN)/python -m bench.diarisation

web: .venv/run ## The web page, built into the package where its sources are newer
	@$(BIN)/python scripts/build_web.py

docs: .venv/docs ## The documentation as a site, in site/
	.venv-docs/bin/mkdocs build --strict

wheel: .venv/dev ## The wheel and the source archive, in dist/
	$(BIN)/python -m hatchling build

lock: ## Renew the pinned versions (needs uv)
	for group in run dev docs node runner; do $(PYTHON) scripts/lock.py $$group; done

clean: ## Remove what was built; data and downloaded models stay
	rm -rf .venv .venv-docs dist build site web/node_modules src/rhapsode/api/static

.venv/run: requirements/run.txt pyproject.toml scripts/setup.py
	@$(PYTHON) scripts/setup.py run

.venv/dev: requirements/dev.txt requirements/run.txt pyproject.toml scripts/setup.py
	@$(PYTHON) scripts/setup.py dev

.venv/docs: requirements/docs.txt scripts/setup.py
	@$(PYTHON) scripts/setup.py docs
