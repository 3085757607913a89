#!/usr/bin/env bash
# Make an environment if there is none, then run all checks. Arguments go to pytest.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python -m pip install --quiet --editable ".[test]"
ruff check .
ruff format --check .
python -m pytest "$@"
