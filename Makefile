# SPDX-License-Identifier: Apache-2.0
#
# Each target sets up what it needs (tools/setup.sh), so a fresh clone needs no other step.

BIN := .venv/bin
C_SOURCES = $(shell find native tracer tests -name '*.[ch]' -o -name '*.[ch]pp')

.PHONY: help demo test lint bench validate verify-advice sanitize stubs web clean setup

help:
	@echo "make demo      record a real model and show its data reuse"
	@echo "make test      lint and test"
	@echo "make lint      lint only"
	@echo "make bench     benchmarks: tracing and analysis against the native run"
	@echo "make validate  predictions against published measurements"
	@echo "make verify-advice  advice applied to networks, and recorded again"
	@echo "make sanitize  test the native core with address and undefined-behaviour checks"
	@echo "make stubs     write the type stub of sgxlens._native anew"
	@echo "make web       build the script and style of reports anew"
	@echo "make clean     remove what was built"

demo:
	@tools/setup.sh demo
	@tools/demo.sh

setup:
	@tools/setup.sh dev

lint: setup
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "run: $(BIN)/ruff format"; exit 1; }
	@$(BIN)/clang-format --dry-run -Werror $(C_SOURCES)
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >build/imports.log || { cat build/imports.log; exit 1; }
	@[ ! -d web/node_modules ] || { cd web && node build.mjs --types && node_modules/.bin/tsc; }
	@echo "lint: clean"

# CI also runs the native core under sanitizers.
test: lint $(if $(filter true,$(CI)),sanitize)
	@$(BIN)/python -m pytest --no-header -n auto --dist loadgroup

bench: setup
	@$(BIN)/python benchmarks/run.py

# `make validate ARGUMENTS=--anew` records again what is recorded.
validate:
	@tools/setup.sh validate
	@$(BIN)/python -m validation.run $(ARGUMENTS)

# Writes the table of docs/verified-advice.md; takes an hour or so.
verify-advice: setup
	@$(BIN)/python -m validation.verify_advice $(ARGUMENTS)

sanitize: setup
	@cmake -S . -B build/sanitize -DSGXLENS_SANITIZE=ON -DSGXLENS_DEVELOPER=ON >build/sanitize.log
	@cmake --build build/sanitize --parallel $$(nproc) >>build/sanitize.log 2>&1 || { tail -n 30 build/sanitize.log; exit 1; }
	@build/sanitize/sgxlens_core_tests

# After a change of native/bindings: the types that mypy and editors see.
stubs: setup
	@$(BIN)/python -m nanobind.stubgen -q -m sgxlens._native -o src/sgxlens/_native.pyi

# After a change of web/: what reports carry, kept in the package so that users need no Node.js.
web: setup
	@cd web && node build.mjs --types && node_modules/.bin/tsc && node build.mjs

clean:
	rm -rf web/node_modules web/generated build dist .venv demo-recording demo-report.html .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .benchmarks
