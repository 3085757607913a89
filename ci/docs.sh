#!/usr/bin/env bash
# Make an environment if there is none, then build the documentation in ci/docs/_build/html. A warning is an
# error, and the examples of docstrings are run. Code on pages runs with the tests (tests/test_docs.py).
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install ".[docs]"
rm -rf ci/docs/_build ci/docs/tutorials ci/docs/api/generated
python -m sphinx --builder html --fail-on-warning --keep-going ci/docs ci/docs/_build/html
python -m sphinx --builder doctest --fail-on-warning --keep-going --quiet ci/docs ci/docs/_build/doctest
echo "Open ci/docs/_build/html/index.html"
