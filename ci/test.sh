#!/usr/bin/env bash
# Make an environment if there is none, then run all checks. Arguments go to pytest.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install ".[test]"
# its torchvision may be built for another PyTorch, with which transformers does not import: apart
export DASKKSVD_OPEN_CLIP="$PWD/$venv/open-clip"
if [ ! -d "$DASKKSVD_OPEN_CLIP" ]; then
    python -m pip install --quiet --no-deps --target "$DASKKSVD_OPEN_CLIP" \
        "open-clip-torch==3.3.0" "torchvision==0.28.0" "timm==1.0.31" "ftfy==6.3.1" "wcwidth==0.9.4"
fi
# pages are driven in a browser where there is one, or where it can be installed
if ! command -v chromium > /dev/null && command -v apt-get > /dev/null && [ "$(id -u)" = 0 ]; then
    (apt-get install -y -qq chromium || { apt-get update -qq && apt-get install -y -qq chromium; }) > /dev/null 2>&1 ||
        echo "chromium could not be installed: tests that need it are skipped" >&2
fi
ruff check .
ruff format --check .
mypy
# two files at a time: much of a test is waiting for browsers, clusters and new processes
python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder "$@"
