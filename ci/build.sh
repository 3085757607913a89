#!/usr/bin/env bash
# Build wheel and source distribution into dist/, look at what is in them, and run the command from the wheel.
# Tools are in .venv-build, or in the folder that DASKKSVD_VENV names; PYTHON names another interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv="${DASKKSVD_VENV:-.venv-build}"
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --upgrade build twine
rm -rf dist
"$venv/bin/python" -m build
"$venv/bin/python" -m twine check --strict dist/*
"$venv/bin/python" ci/distributions.py dist
# as it will be installed, with nothing of this folder on the path
fresh="$(mktemp -d)"
trap 'rm -rf "$fresh"' EXIT
"${PYTHON:-python3}" -m venv "$fresh/venv"
"$fresh/venv/bin/python" -m pip install --quiet dist/*.whl
(cd "$fresh" && venv/bin/daskksvd --version && venv/bin/daskksvd versions)
