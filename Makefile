# `make` lists what there is to run. Each target sets up all that it needs in .venv.

PYTHON ?= python3
BIN := .venv/bin
UV := 0.13.9

.DEFAULT_GOAL := help
.PHONY: help demo test coverage slow faults lint types check docs bench reference figures lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

.venv/installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: .venv/installed ## compare seven heads on scikit-learn's digits
	$(BIN)/tlfeat compare digits

test: .venv/installed ## run all tests
	$(BIN)/pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder $(WITH)

coverage: WITH = --cov=tlfeat --cov=tlfeat_cli --cov-report=term:skip-covered
coverage: test ## run all tests, in more time, and say which lines none of them meets

slow: .venv/installed ## run the tests that "make test" leaves out
	TLFEAT_SLOW=1 $(BIN)/pytest --numprocesses=auto -m slow

faults: .venv/installed ## kill, fill, flip and mutate for half an hour, and count what goes wrong
	cd tests && ../$(BIN)/python -m faults $(PARTS)

lint: .venv/installed ## check style, and that imports go one way
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: .venv/installed ## check types
	$(BIN)/mypy

check: lint types test ## all of the above

docs: .venv/installed ## build the site into build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: .venv/installed ## measure the speeds that the README states, on DATA=FOLDER
	$(BIN)/python benchmarks/bench_extract.py $(DATA)
	$(BIN)/python benchmarks/bench_notebook.py $(DATA)
	$(BIN)/python benchmarks/bench_heads.py $(DATA)
	$(BIN)/python benchmarks/bench_jobs.py

figures: .venv/installed ## draw the figures of docs/explanation/
	$(BIN)/python docs/make_figures.py

reference: .venv/installed ## write docs/cli/ from the help texts
	$(BIN)/python docs/make_cli_reference.py

lock: .venv/installed ## choose new versions for constraints.txt
	$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 \
		--no-annotate --no-header --no-emit-index-url --extra dev pyproject.toml \
		--output-file constraints.txt

clean: ## remove what the tools left; never the feature store, never the reports
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage dist build
