# Sourced by the other scripts: a virtual environment with this package in it.
# DASKKSVD_VENV names another place for it; PYTHON another interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv="${DASKKSVD_VENV:-.venv}"
if [ ! -x "$venv/bin/python" ]; then
    "${PYTHON:-python3}" -m venv "$venv"
fi
# where it is set, each of some hundred processes would compile what it imports: 11 s for transformers, not 4
export PYTHONDONTWRITEBYTECODE=
export PATH="$PWD/$venv/bin:$PATH"
case "$venv" in /*) export PATH="$venv/bin:$PATH" ;; esac
python -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "daskksvd needs Python 3.11 or newer; set PYTHON to one" >&2; exit 1; }

# Install this package with extras; PyTorch first, in the version that is tested.
install() {
    # modules are compiled when they are first imported, which few of them are
    python -m pip install --quiet --no-compile "torch==2.13.0"
    python -m pip install --quiet --no-compile --editable "$1"
}
