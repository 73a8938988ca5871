# make demo    sets everything up and runs a real session in the LibOS
# make test    sets everything up and passes all tests
# make lint    ruff and mypy --strict
# make bench   native and LibOS, interleaved; see docs/benchmarks.md
# make fuzz    random system calls against a live kernel, until something is found (SECONDS=n bounds it)
# make clean   removes what was built

PY := .venv/bin/python
PYTEST_ARGS ?=
SECONDS ?= 0

.PHONY: demo test guests lint bench fuzz clean

demo:
	@.ci/packages demo
	@.ci/venv test
	@$(PY) examples/demo/demo.py

test:
	@.ci/packages test
	@.ci/venv test
	@$(MAKE) --no-print-directory guests
	$(PY) -m pytest $(PYTEST_ARGS)

guests:
	@$(MAKE) --no-print-directory -j2 -C tests/guest

lint:
	@.ci/packages build
	@.ci/venv test,dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check occlum_async tests examples native
	$(PY) -m mypy --strict occlum_async

bench:
	@.ci/packages demo
	@.ci/venv test
	$(PY) examples/bench/bench.py

fuzz:
	@.ci/packages build
	@.ci/venv test
	$(PY) -m tests.fuzz $(SECONDS)

clean:
	rm -rf build dist *.egg-info .venv occlum_async/_native/shim occlum_async/_native/*.so occlum_async/_native/*.c \
	    tests/guest/build examples/bench/build
