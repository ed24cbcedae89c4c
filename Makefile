# The daily commands; `make` alone lists them. Everything is installed into VENV and nowhere else.

PYTHON ?= python3
VENV ?= .venv
# AUTO builds the CUDA kernels where nvcc is found, OFF never, ON insists.
export MATHKERNELS_CUDA ?= AUTO
# What is installed: the checkout; .ci/run names the wheel of `make package`, so that nothing is built twice.
FROM ?= .

SOURCES := setup.py pyproject.toml MANIFEST.in CMakeLists.txt $(shell find cmake csrc mathkernels -type f ! -name '*.so' ! -name '*.pyc')
CPP := $(shell find csrc -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')
BIN := $(VENV)/bin

.PHONY: help demo dataset sequence_data gradient_job download_models test mutants sanitizers package reliability results tables bench bench-short report lint lint-format lint-types format clean

help: ## list the targets
	@sed -nE 's/^([a-z_-]+):.*## (.*)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name text; do \
	  printf '  make %-15s %s\n' "$$name" "$$text"; done

demo: $(VENV)/with-examples ## install and reproduce Figure 3 of the division paper (into runs/figure-3)
	$(BIN)/python examples/train_nalm.py --figure 3

# Deep Math, under the names of its own targets; PRESET is one of smoke, cpu, linear-1d (with
# MODEL=seq2seq), gpu (with ARGS="--device cuda --stock"), paper.
PRESET ?= cpu
MODEL ?= attentional
DEEPMATH = $(BIN)/python examples/train_deepmath.py --preset $(PRESET)

dataset: $(VENV)/with-deepmath ## Deep Math: generate the questions of PRESET (nothing is downloaded)
	$(DEEPMATH) --generate --no-train

sequence_data: $(VENV)/with-deepmath ## Deep Math: index the questions of PRESET and count what trains and tests
	$(DEEPMATH) --no-train

gradient_job: $(VENV)/with-deepmath ## Deep Math: train MODEL by PRESET on this machine (no cloud is asked)
	$(DEEPMATH) --generate --model $(MODEL) --out runs/deepmath-$(PRESET)-$(MODEL) $(ARGS)

download_models: ## Deep Math: say where trained weights come from
	@echo "No trained weights of the project were found for download. make gradient_job trains them:"
	@echo "runs/deepmath-$(PRESET)-$(MODEL)/best-interpolate.safetensors, best-extrapolate.safetensors."

# One test more than there are cores runs at a time, since some wait for programs; threads that wait must sleep.
TESTS_AT_ONCE = $(shell $(PYTHON) -c 'import os; print(len(os.sched_getaffinity(0)) + 1)')
test: $(VENV)/with-test ## install and run the tests
	OMP_WAIT_POLICY=passive $(BIN)/pytest python_tests -n $(TESTS_AT_ONCE) --dist worksteal

mutants: $(VENV)/with-test ## plant defects into copies of the kernels; the tests must find each (2 minutes)
	OMP_WAIT_POLICY=passive OMP_NUM_THREADS=2 $(BIN)/python python_tests/check_mutants.py

sanitizers: $(VENV)/with-test ## make random calls of the kernels under sanitizers (2 minutes)
	OMP_WAIT_POLICY=passive $(BIN)/python python_tests/check_sanitizers.py

package: $(VENV)/with-torch ## build the sdist and, from it alone, the wheel (into build/dist); check both
	rm -rf build/dist
	$(BIN)/pip install build numpy
	$(BIN)/python -m build --outdir build/dist .
	$(BIN)/python scripts/check_package.py build/dist

reliability: $(VENV)/with-test ## make 100,000 random calls, kills and damages, and write docs/reliability.md (20 minutes)
	$(BIN)/python scripts/reliability.py

results: $(VENV)/with-examples ## train Figure 3 anew into docs/results/figure-3
	$(BIN)/python examples/train_nalm.py --figure 3 --out docs/results/figure-3 --overwrite

tables: $(VENV)/with-examples ## rewrite the tables of README and docs from their results
	$(BIN)/python scripts/update_tables.py

bench: $(VENV)/with-bench ## time the layers and whole training runs beside their rivals
	$(BIN)/pytest benchmarks --benchmark-only

bench-short: $(VENV)/with-bench ## prove the benchmarks' answers, print ratios, judge no time
	$(BIN)/pytest benchmarks --benchmark-only --short
	$(BIN)/python benchmarks/report_layers.py --short
	$(BIN)/python benchmarks/report.py --short
	$(BIN)/python benchmarks/report_modules.py --short
	$(BIN)/python benchmarks/report_sequences.py --short
	$(BIN)/python benchmarks/report_attention.py --short
	$(BIN)/python benchmarks/report_decoding.py --short
	$(BIN)/python benchmarks/report_equations.py --short
	$(BIN)/python benchmarks/report_deepmath.py --short
	$(BIN)/python benchmarks/report_symbolic.py --short
	$(BIN)/python benchmarks/compare_builds.py --case "GRU short, symbols" --rounds 1 --seconds 0.01

report: $(VENV)/with-bench ## measure the ratios of the README into benchmarks/results (about two hours)
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/report_modules.py
	$(BIN)/python benchmarks/report_equations.py
	$(BIN)/python benchmarks/report_deepmath.py
	$(BIN)/python benchmarks/report_symbolic.py
	$(BIN)/python benchmarks/report_layers.py
	$(BIN)/python benchmarks/report_sequences.py
	$(BIN)/python benchmarks/report_attention.py
	$(BIN)/python benchmarks/report_decoding.py

lint: lint-format lint-types ## check formatting and types

lint-format: $(VENV)/with-lint ## check formatting: ruff and clang-format
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/clang-format --dry-run -Werror $(CPP)

lint-types: $(VENV)/with-lint $(VENV)/with-examples ## check types: pyright
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/with-lint ## format everything
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i $(CPP)

clean: ## remove the environment, builds and caches; keeps runs and results
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Empty files in VENV note what it holds, so that a second call does nothing.

$(VENV)/with-torch: requirements-cpu.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -r requirements-cpu.txt
	@touch $@

# An old build/lib would bring removed modules back; the objects beside it are kept.
$(VENV)/with-mathkernels: $(VENV)/with-torch $(SOURCES)
	rm -rf build/lib*
	$(BIN)/pip uninstall --yes mathkernels
	$(BIN)/pip install $(FROM)
	@touch $@

$(VENV)/with-deepmath: $(VENV)/with-examples
	$(BIN)/pip install 'mathkernels[mathematics]'
	@touch $@

# The package is installed already, so this adds the libraries of an extra and builds nothing.
$(VENV)/with-%: $(VENV)/with-mathkernels pyproject.toml
	$(BIN)/pip install 'mathkernels[$*]'
	@touch $@
