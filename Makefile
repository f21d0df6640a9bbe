# Needs git, make, node and a Python 3.11 or newer as python3; fetches the rest itself.

PYTHON ?= python3
ADDRESS ?= 127.0.0.1:8000

.PHONY: help run test test-long bench clean

help:
	@echo "make run        the demo site on $(ADDRESS)"
	@echo "make test       lint, types, unit, JavaScript and end-to-end tests"
	@echo "make test-long  the fault and fuzz runs"
	@echo "make bench      what a delivery costs, beside other servers (15 minutes)"
	@echo "make clean      remove everything the others have built"

run: python
	@$(PYTHON) -m scripts.demo $(ADDRESS)

test: python
	@$(PYTHON) -m scripts.suite

test-long: python
	@$(PYTHON) -m scripts.suite --long

bench: python
	@$(PYTHON) -m scripts.benchmarks

clean:
	rm -rf .work .venv js/node_modules

.PHONY: python
python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed (make PYTHON=python3.12 ...)" >&2; exit 1; }
