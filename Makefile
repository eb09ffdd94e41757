# make demo, make test, make bench, make lint: on a machine with git and make, each installs what it needs first.
# ARGS goes to the command behind demo, bench and soak, as in: make bench ARGS=--help

VENV := .venv
BIN := $(VENV)/bin
BOOTSTRAP := setup.cfg pyproject.toml constraints.txt scripts/bootstrap.sh

.PHONY: help demo test test-long fuzz bench soak clients lint docs constraints clean

help:
	@echo 'make demo         start a router, send real traffic through it, show who got what'
	@echo 'make test         every check: lint, all tests, documentation'
	@echo 'make test-long    the state machines once more, for more than 100,000 steps'
	@echo 'make fuzz         what everything that parses bytes makes of bytes that are wrong'
	@echo 'make bench        measure CPU per message, throughput and latency'
	@echo 'make soak         ten minutes of clients that die and come again, and a ledger of every message'
	@echo 'make lint         ruff and mypy'
	@echo 'make clients      install the clients of others that make test runs against the router'
	@echo 'make docs         the documentation, as HTML in docs/_build/html'
	@echo 'make constraints  resolve all dependencies anew into constraints.txt'
	@echo 'make clean        remove everything that make made'

demo: $(VENV)/.installed-alone
	$(BIN)/txrouter demo $(ARGS)

bench: $(VENV)/.installed-alone
	$(BIN)/python -m bench $(ARGS)

soak: $(VENV)/.installed-dev
	$(BIN)/python -m soak $(ARGS)

test: lint clients
	$(BIN)/python -m pytest
	$(MAKE) --no-print-directory docs

test-long: $(VENV)/.installed-dev
	TXROUTER_TEST_EFFORT=8 $(BIN)/python -m pytest tests/unit/core/test_core_machine.py \
	    tests/unit/amqp/test_amqp_machine.py tests/net/test_wire_storm.py

fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.fuzz $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clients: $(VENV)/.installed-dev
	$(BIN)/python -m tests.interop.install

docs: $(VENV)/.installed-dev
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

constraints:
	scripts/resolve.sh

clean:
	rm -rf $(VENV) .interop build dist docs/_build *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name dropin.cache -delete

$(VENV)/.installed-%: $(BOOTSTRAP)
	scripts/bootstrap.sh $*
