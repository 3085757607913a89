#!/usr/bin/env bash
# Make an environment if there is none, then run all checks. Arguments go to pytest.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
# what is waited for at the end is fetched beside the rest
apart= browser=
# pages are driven in a browser where there is one, or where it can be installed
if ! command -v chromium > /dev/null && command -v apt-get > /dev/null && [ "$(id -u)" = 0 ]; then
    { (apt-get install -y -qq chromium || { apt-get update -qq && apt-get install -y -qq chromium; }) > /dev/null 2>&1 ||
        echo "chromium could not be installed: tests that need it are skipped" >&2; } &
    browser=$!
fi
install ".[test]"
# its torchvision may be built for another PyTorch, with which transformers does not import: apart
export DASKKSVD_OPEN_CLIP="$(realpath "$venv")/open-clip"
if [ ! -d "$DASKKSVD_OPEN_CLIP" ]; then
    {
        rm -rf "$DASKKSVD_OPEN_CLIP.part"
        packages --no-deps --target "$DASKKSVD_OPEN_CLIP.part" \
            "open-clip-torch==3.3.0" "torchvision==0.28.0" "timm==1.0.31" "ftfy==6.3.1" "wcwidth==0.9.4"
        mv "$DASKKSVD_OPEN_CLIP.part" "$DASKKSVD_OPEN_CLIP"
    } &
    apart=$!
fi
ruff check .
ruff format --check .
types="$(mktemp)"
trap 'rm -f "$types"' EXIT
mypy > "$types" 2>&1 &
typed=$!
# beside it kernels are compiled, and not by all processes of the tests at the same time
python - <<'END' &
import daskksvd
from daskksvd.datasets import make_planted

samples = make_planted(1000, 16, 32, 3, random_state=0).array.compute()
for how in ({"update": "online"}, {"update": "ksvd"}, {"update": "batch", "pursuit": "mp", "whiten": 0.25}):
    daskksvd.fit(samples, n_components=32, n_nonzero_coefs=3, max_passes=2, **how).score(samples)
END
kernels=$!
# and what tests import, once, too
python -m pytest --collect-only --quiet --quiet "$@" > /dev/null || true
wait "$kernels"
[ -z "$apart" ] || wait "$apart"
[ -z "$browser" ] || wait "$browser"
# three files at a time on two cores: much of a test is waiting for browsers, clusters and new processes
failed=0
python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder "$@" || failed=$?
wait "$typed" || failed=$?
cat "$types"
exit "$failed"
