# Two commands on a fresh machine: `make demo` and `make test`. Nothing but git, make and python3 with pip is assumed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# One thread for each worker: more threads than idle cores make torch many times slower.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-browser test-plugins test-agents test-gateway check bench bench-gpu serve format proto clean

demo: $(VENV)/.core  ## transcribe the bundled recordings with the embedded model
	$(BIN)/python -m nemotron_asr.demo

test: $(VENV)/.dev  ## the whole test suite
	$(BIN)/python -m pytest --numprocesses 2 --quiet

test-browser: $(VENV)/.dev  ## the page, in Debian's chromium with chromium-driver
	$(BIN)/python -m pytest --quiet tests/browser

# Their warnings are not ours to repair; some come only when all tests are done.
test-plugins: test-agents test-gateway  ## pipecat's and LiveKit's plugins, and LiteLLM, each in an environment of its own

test-agents test-gateway: test-%:
	$(PYTHON) -m venv $(VENV)-$*
	$(VENV)-$*/bin/pip install --quiet --editable '.[server]' $$(grep ^torch== constraints.txt) \
		--requirement tests/server/plugins/testing.txt --requirement tests/server/plugins/$*.txt
	$(VENV)-$*/bin/pip install --quiet --upgrade protobuf
	$(VENV)-$*/bin/python -m pytest --quiet -W default tests/server/plugins

check: $(VENV)/.dev  ## lint, format, types, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/test_layers.py

bench: $(VENV)/.dev  ## against transformers, same weights, one run
	$(BIN)/nemotron-asr bench --against transformers

bench-gpu: $(VENV)/.dev  ## live streams on one GPU, beside transformers: half an hour
	$(BIN)/python -m benchmarks.gpu --out bench-gpu.json

serve: $(VENV)/.server  ## the server with the embedded model, at port 8000
	$(BIN)/nemotron-asr serve

format: $(VENV)/.dev  ## let ruff repair what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

proto: $(VENV)/.dev  ## after a change of the .proto files
	cd src/nemotron_asr/server/proto && $(CURDIR)/$(BIN)/python -m grpc_tools.protoc -I . --include_imports \
		--descriptor_set_out=riva.binpb riva/proto/riva_asr.proto

clean:  ## forget the environment and all caches
	rm -rf $(VENV) $(VENV)-* .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.core: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/.server: $(VENV)/.core
	$(PIP) --editable '.[server]'
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps nvidia-riva-client==2.27.0  # it wants one release of protobuf, and works with others
	touch $@
