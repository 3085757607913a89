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

# What pip is told of where packages are, for uv, which does not read pip's settings.
told() {
    python -m pip config get ":env:.$1" 2> /dev/null || python -m pip config get "global.$1" 2> /dev/null || true
}

# Install packages; options are those that uv and pip both know. uv needs a quarter of the time of pip, which is
# there if uv is not, or does not get to the index that pip has.
packages() {
    python -m uv --version > /dev/null 2>&1 ||
        python -m pip install --quiet --no-compile "uv>=0.5" > /dev/null 2>&1 || true
    local index more links limits none
    index="$(told index-url)" more="$(told extra-index-url)" links="$(told find-links)"
    limits="$(told constraint)" none="$(told no-index)"
    env UV_SYSTEM_CERTS=1 UV_INDEX_STRATEGY=unsafe-best-match \
        ${index:+UV_DEFAULT_INDEX="$index"} ${more:+UV_INDEX="$(echo $more)"} ${none:+UV_NO_INDEX=1} \
        ${links:+UV_FIND_LINKS="${links// /,}"} ${limits:+UV_CONSTRAINT="$(echo $limits)"} \
        python -m uv pip install --quiet --python "$(command -v python)" "$@" 2> /dev/null ||
        python -m pip install --quiet --no-compile "$@"
}

# Install this package with extras, and PyTorch in the version that is tested. Modules are compiled when they are
# first imported, which few of them are.
install() {
    packages "torch==2.13.0" --editable "$1"
}
