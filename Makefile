# `make check` is the short form of .ci/run for a working copy whose environment already stands.
.PHONY: check format
check:
	ruff format --diff .
	ruff check .
	mypy
	pytest
format:
	ruff check --fix .
	ruff format .
