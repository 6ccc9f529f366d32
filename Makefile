# The commands of kernos. Each does its own set-up on a fresh machine.

READY := .venv/.ready
BIN := .venv/bin

.PHONY: help demo test quick check format escape mutants fuzz model score bench clean

help: ## This list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

$(READY): pyproject.toml
	@.ci/setup

demo: $(READY) ## Twelve agents on real documents under one kernel (SEED=n asks other questions)
	@$(BIN)/python -m examples.demo --seed $${SEED:-1}

test: $(READY) ## All test suites, with the seconds each took
	@.ci/test

quick: $(READY) ## Unit tests only
	@.ci/test unit

check: $(READY) ## Format, lint, types, import contract
	@$(BIN)/ruff format --check --quiet . || { echo "run 'make format'"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports > .venv/imports.log || { cat .venv/imports.log; exit 1; }
	@$(BIN)/mypy
	@echo "check: ok"

format: $(READY) ## Formats the tree
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --fix --quiet .

escape: $(READY) ## The hostile programs, all of them, as an ordinary user
	@$(BIN)/python tests/e2e/sandbox_guests/as_nobody.py -q tests/escape

mutants: $(READY) ## One-line breaks of the code, each of which must turn a named test red
	@$(BIN)/python -m tests.mutants

fuzz: $(READY) ## Fuzzes frames, arguments and the gate for a minute (FUZZ_S=3600 for longer)
	@FUZZ_S=$${FUZZ_S:-60} $(BIN)/python -m tests.fuzz

model: $(READY) ## Trains kernos-tiny anew, eleven rounds (some six hours on two cores)
	@$(BIN)/python -m drivers.tiny.train --out .work/tiny-1 --seed 0
	@for n in 2 3 4 5 6 7 8 9 10; do $(BIN)/python -m drivers.tiny.train --out .work/tiny-$$n --round $$n --seed $$((n - 1)) \
	  --start .work/tiny-$$((n - 1)) || exit 1; done
	@$(BIN)/python -m drivers.tiny.train --out drivers/tiny/kernos-tiny --round 11 --seed 10 --start .work/tiny-10

score: $(READY) ## Scores kernos-tiny on requests it never saw, through a kernel
	@$(BIN)/python -m bench.tiny

clean: ## Removes what set-up and tests made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
