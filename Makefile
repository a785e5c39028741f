# The commands of daily work; see CONTRIBUTING.md.
PYTHON ?= python3

.PHONY: test lint golden docs bench bench-memory bench-vllm bench-placement bench-speed real real-table

test:
	$(PYTHON) -m pytest

lint:
	ruff check compiler tests docs
	ruff format --check compiler tests docs
	mypy
	lint-imports

golden:
	$(PYTHON) -m pytest tests/golden --snapshot-update

docs:
	$(PYTHON) docs/generate.py
	$(PYTHON) .ci/readme_blocks.py

bench: bench-memory bench-vllm bench-placement bench-speed

bench-memory:
	$(PYTHON) tests/bench/memory.py

bench-vllm:
	$(PYTHON) tests/bench/vllm.py

bench-placement:
	$(PYTHON) tests/bench/placement.py

bench-speed:
	$(PYTHON) tests/bench/speed.py

real:
	$(PYTHON) -m pytest -m real -rA

real-table:
	$(PYTHON) tests/real/matrix.py
