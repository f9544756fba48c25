# `make check` is the short form of .ci/run for a working copy whose environment already stands.
PYTHON ?= python3
.PHONY: check format docs coverage mutants package release
check:
	ruff format --diff .
	ruff check .
	mypy
	pytest
format:
	ruff check --fix .
	ruff format .
docs:
	mkdocs build --strict
# Lines that bare pytest runs: at least 90 % (pip install -e ".[test,coverage]").
coverage:
	pytest --cov=dassl --cov=cerviclip --cov=trainers --cov=datasets --cov-fail-under=90
# Changes of the code that the tests do not notice: make mutants GROUPS="splits optim" (CONTRIBUTING.md).
mutants:
	$(PYTHON) tools/mutate.py $(GROUPS)
# The sdist, the wheel that is built from it, and what an index would say about both.
package:
	rm -rf dist
	$(PYTHON) -m build $(BUILD_OPTIONS)
	$(PYTHON) -m twine check --strict dist/*
# The version stands in dassl/_version.py alone; a release has a head of its own in CHANGELOG.md.
release: package
	@version=$$($(PYTHON) -c 'from dassl._version import __version__; print(__version__)'); \
	grep -qF "## [$$version]" CHANGELOG.md || \
	{ echo "CHANGELOG.md has no head [$$version]; name the unreleased one so"; exit 2; }
