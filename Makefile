# `make demo` and `make test` do everything on a fresh machine; the rest is for contributors.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test test-long parity lint types audit format settings bench accuracy plus ablation clean

setup: .venv/.installed

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -e '.[all]'
	touch $@

demo: setup            ## one cheetah as the example, four other pictures, results in demo/
	$(BIN)/python examples/demo.py

test: setup            ## everything but the long tests
	$(BIN)/python -m pytest -m "not long"

test-long: setup .venv-readers/.installed    ## fuzzing, kills, the large parity run, formats in their own tools
	$(BIN)/python -m pytest -m long

.venv-readers/.installed: tests/long/readers.txt
	$(PYTHON) -m venv .venv-readers
	.venv-readers/bin/pip install --quiet -r tests/long/readers.txt
	touch $@

parity: setup          ## against the published implementation; fails without its golden data
	INSID3_REQUIRE_SHARED=1 $(BIN)/python -m pytest -m parity

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

audit: setup           ## known holes in the oldest versions that are allowed, and in those that are installed
	$(BIN)/python .ci/audit.py

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

settings: setup        ## the tables of settings in README.md and docs/settings.md, from Config
	$(BIN)/python .ci/settings.py

bench: setup           ## cost against the published way and scikit-learn: tables and plots in benchmarks/results/
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/clustering.py

accuracy: setup        ## on the dev episodes: what bfloat16 costs, what a score is worth, what refining edges gives
	$(BIN)/python benchmarks/precision.py
	$(BIN)/python benchmarks/score.py
	$(BIN)/python benchmarks/edges.py --pictures benchmarks/results/edges

DEV := $(or $(INSID3_SHARED),../shared)/dev
plus: setup            ## the preset "plus" on the dev episodes: docs/accuracy.md, an hour
	$(BIN)/python benchmarks/plus.py $(DEV) --pictures benchmarks/results/plus
	$(BIN)/python benchmarks/score.py --preset plus
	$(BIN)/python benchmarks/calibrate.py $(DEV)

EVALUATE := $(BIN)/insid3 evaluate episodes:$(DEV) --no-masks -o benchmarks/results/ablation
ablation: setup        ## the paper's ablation on the dev episodes, seven minutes; tables in benchmarks/results/ablation/
	$(EVALUATE)/aggregation --sweep aggregation=seed,cross,cross-intra --sweep tau=0.5,0.6,0.7,0.8
	$(EVALUATE)/threshold --sweep aggregation=cross,cross-intra --sweep threshold=0.1,0.2,0.3,0.4
	$(EVALUATE)/rank --sweep rank=0,10,30,60,120
	$(EVALUATE)/kmeans --sweep kmeans=10,25,50,100
	$(EVALUATE)/prototype --sweep method=prototype --sweep threshold=0.2,0.3,0.4,0.5,0.6
	$(EVALUATE)/method --sweep method=insid3,nearest

clean:
	rm -rf .venv .venv-readers demo
