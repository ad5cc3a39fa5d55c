# make run: analyse the shipped sample tracks. make test: lint, tests, notebooks. make bench: speed table.
SHELL := /bin/bash
PY := .venv/bin/python
STAMP := .venv/.installed
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))

.PHONY: run test bench clean
.DELETE_ON_ERROR:

run: $(STAMP)
	$(PY) main/infer.py samples/receptors.csv --localization-error 0.03 --out results/sample --overwrite --report
	$(PY) main/figures.py results/sample

test: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check --quiet .
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -n auto

bench: $(STAMP)
	$(PY) misc/bench.py

clean:
	rm -rf .venv runs results build *.egg-info

$(STAMP): requirements.txt pyproject.toml
	@if [ ! -x $(PY) ]; then \
	  for python in python3.11 python3.12 python3; do \
	    if $$python -c '$(SUPPORTED)' 2>/dev/null; then $$python -m venv .venv && break; rm -rf .venv; fi; \
	  done; \
	fi
	@[ -x $(PY) ] || { echo "make: no Python 3.11 or 3.12 found; install one (with its venv module) and try again"; exit 1; }
	$(PY) -m pip install --quiet -e ".[dev]"
	@misc/hooks/install.sh
	@touch $@
