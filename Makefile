# Every command of the project. `make demo` needs Python >= 3.11 and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRA ?= dev
JOBS ?= 4
comma := ,
space := $(subst ,, )
# pip separates its folders of wheels by spaces, uv by commas.
export UV_FIND_LINKS ?= $(subst $(space),$(comma),$(strip $(PIP_FIND_LINKS)))
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.bench

.DEFAULT_GOAL := help
.PHONY: help install demo up check test bench bench-full quality load chaos chaos-compose fuzz docs format clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

install: $(STAMP) ## create .venv and install everything into it

$(STAMP): pyproject.toml constraints.txt
	@echo "installing into $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv \
	  && $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -c constraints.txt -e '.[$(EXTRA)]' \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRA)]'
	@touch $(STAMP)

demo: $(STAMP) ## calibrate Minnesota through the whole service, show the result, stop
	@exec $(BIN)/l0 demo --output demo-output

up: $(STAMP) ## run the service on this machine (address printed; Ctrl-C ends it)
	@exec $(BIN)/l0 up --data l0-data

check: $(STAMP) ## formatting, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

test: $(STAMP) ## every test, on real servers; JOBS=0 runs them one after the other
	@$(BIN)/python docker/compile_kernels.py  # once, or every process that starts before one has done so does it too
	@OMP_WAIT_POLICY=passive exec $(BIN)/pytest -n $(JOBS) --dist worksteal  # several at a time on two cores: threads that spin take each other's

bench: $(BENCH_STAMP) ## measure on this machine, beside l0-python; figures go to benchmarks/results/
	$(BIN)/python benchmarks/faults_of_l0_python.py
	$(BIN)/python benchmarks/agreement.py
	$(BIN)/python benchmarks/digits.py
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/whole_job.py
	$(BIN)/python benchmarks/one_machine.py
	$(BIN)/python benchmarks/downloads.py
	$(BIN)/python -m benchmarks.uploads

bench-full: $(BENCH_STAMP) ## the long rows: 50 and 190 million nonzeros, l0-python to 3 %
	$(BIN)/python benchmarks/speed.py --full
	$(BIN)/python benchmarks/scaling.py --full
	$(BIN)/python benchmarks/whole_job.py --full

quality: $(BENCH_STAMP) ## how good the calibrations are, beside l0-python and baselines; the frontier of Minnesota
	$(BIN)/python benchmarks/quality.py
	$(BIN)/python benchmarks/frontier.py
	$(BIN)/python benchmarks/sampling.py

load: $(STAMP) ## the API under load: rate against latency with 10,000 jobs, long curves, lists; on both databases
	$(BIN)/python -m benchmarks.load

chaos: $(STAMP) ## five minutes of killing on each deployment: every job ends once, with the right result
	$(BIN)/python benchmarks/chaos.py

chaos-compose: $(STAMP) ## the same on the compose stack, and restarts of each service; wants Docker and root
	$(BIN)/python benchmarks/chaos_compose.py

$(BENCH_STAMP): $(STAMP)
	@$(MAKE) --no-print-directory --always-make EXTRA=bench install
	@touch $@

fuzz: $(STAMP) ## five minutes of schemathesis over the OpenAPI document, on both deployments; FUZZ_SEED repeats a run
	FUZZ_SECONDS=$${FUZZ_SECONDS:-120} FUZZ_SEED=$${FUZZ_SEED:-$$(date +%s)} $(BIN)/pytest -n 0 tests/fuzz -v

docs: $(STAMP) ## write the reference pages from their sources
	$(BIN)/python docs/generate.py

format: $(STAMP) ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove what make made
	rm -rf $(VENV) demo-output
