# Two commands to start with: `make example` gates the example project, `make test` runs every test.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
# Small models on contended threads run 10 to 50 times slower.
export OMP_NUM_THREADS = 1

.PHONY: example example-blocked test check benchmark clean

example: $(READY)
	cd example_project && ../$(BIN)/python -m loan_approval.train --if-missing && ../$(BIN)/mlgate run

# Ends in `blocked` (exit code 1), and that is what must happen.
example-blocked: $(READY)
	cd example_project && ../$(BIN)/python -m loan_approval.train --if-missing
	cd example_project && ! LOAN_CANDIDATE=careless ../$(BIN)/mlgate run --report mlgate-report-blocked
	grep -q '"outcome": "blocked"' example_project/mlgate-report-blocked/evidence.json

test: $(READY)
	$(BIN)/python -m pytest -q

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	rm -rf dist && $(BIN)/python -m build --installer=pip --outdir dist . >/dev/null
	$(BIN)/check-wheel-contents dist/*.whl

benchmark: $(READY)
	$(BIN)/python -m pytest tests/benchmarks -q -s -p no:cacheprovider

# torch comes first and by its exact version: a range that admits newer releases pulls gigabytes of CUDA.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) dist .mlgate example_project/.mlgate example_project/models example_project/mlgate-report*
