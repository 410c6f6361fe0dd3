# Everything a contributor runs. `make run` and `make test` need Python 3.11 and make, nothing else.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

PIP_COMPILE := $(BIN)/pip-compile --quiet --upgrade --strip-extras --no-header --no-annotate --generate-hashes \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --allow-unsafe

.PHONY: run demo test check audit sbom lock openapi docs bench clean

run: $(INSTALLED)  ## Connect a sandbox account, see its webhook arrive, and stay up
	$(BIN)/python -m app demo --stay

demo: $(INSTALLED)  ## The same once; exits 0 when the webhook has arrived
	$(BIN)/python -m app demo

test: $(INSTALLED)  ## The whole test suite, PostgreSQL and kill -9 included
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

check: $(INSTALLED)  ## Lint, format, types, import direction, migrations, documents, image, locks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py tests/test_documents_are_true.py \
		tests/conformance/test_migrations.py tests/test_image.py tests/test_supply.py

audit: $(INSTALLED)  ## Licences of what runs, and known vulnerabilities of all that is locked
	$(BIN)/pip-licenses --summary --packages $$(sed -n 's/==.*//p' requirements.lock)
	$(BIN)/python supply/vulnerabilities.py

sbom: $(INSTALLED)  ## What the gateway is made of, as CycloneDX
	$(BIN)/python supply/bill_of_materials.py build/sbom.json

openapi docs: $(INSTALLED)  ## Write the generated documents anew
	$(BIN)/python -m app openapi > openapi/gateway.json
	$(BIN)/python -m app settings > docs/settings.md
	$(BIN)/python -m app providers > docs/providers.md

lock: $(INSTALLED)  ## Resolve the newest versions that pyproject.toml admits, with the hash of each file
	$(PIP_COMPILE) --output-file requirements.lock pyproject.toml
	$(PIP_COMPILE) --all-extras --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

bench: $(INSTALLED)  ## Every benchmark; each prints ratios against a baseline of its own run
	PYTHONPATH=tests:benchmarks $(BIN)/python benchmarks/deliveries.py
	PYTHONPATH=tests $(BIN)/python benchmarks/event_log.py
	N=100000 PYTHONPATH=tests:benchmarks $(BIN)/python benchmarks/growth.py
	PYTHONPATH=tests $(BIN)/python benchmarks/held_connections.py
	PYTHONPATH=tests $(BIN)/python benchmarks/idle_instances.py
	PYTHONPATH=tests $(BIN)/python benchmarks/ingest.py
	PYTHONPATH=tests:benchmarks $(BIN)/python benchmarks/latency.py
	PYTHONPATH=tests $(BIN)/python benchmarks/memory.py
	PYTHONPATH=tests $(BIN)/python benchmarks/metadata.py
	PYTHONPATH=tests $(BIN)/python benchmarks/recovery.py
	PYTHONPATH=tests $(BIN)/python benchmarks/transfers.py

clean:  ## Remove what make made
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(INSTALLED): requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@
