#!/usr/bin/env bash
# Run the tests with other versions of what this package needs, each in an environment of its own:
#
#   bash ci/versions.sh least             the least that pyproject.toml names, on Python 3.11
#   bash ci/versions.sh newest PYTHON     the newest of all, on another Python: the path of one
#   bash ci/versions.sh nightly PYTHON    those that will be: nightly wheels of the scientific stack, pre-releases
#
# More arguments go to pytest. PYTHON names another interpreter for the least versions. Environments
# are made in .venv-lowest-direct and .venv-highest, or in the folder that DASKKSVD_VENV names, and kept.
set -euo pipefail
more=()
cd "$(dirname "${BASH_SOURCE[0]}")/.."
case "${1:-}" in
    least) resolution=lowest-direct python="${PYTHON:-python3.11}" ;;
    newest) resolution=highest python="${2:?which Python}"; shift ;;
    nightly)
        index=https://pypi.anaconda.org/scientific-python-nightly-wheels/simple
        resolution=highest python="${2:?which Python}"
        DASKKSVD_VENV="${DASKKSVD_VENV:-.venv-nightly}"
        # PyPI has what the index of nightlies has not
        more=(--prerelease allow --index-strategy unsafe-best-match
            --extra-index-url "$index")
        shift
        # the resolver would name the first package that it asked for, and not what is amiss
        "$python" -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=30)' "$index/" \
            2> /dev/null || { echo "no nightly wheels: $index cannot be reached from here" >&2; exit 1; }
        ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
venv="$(realpath -m "${DASKKSVD_VENV:-.venv-$resolution}")"
shift
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
export PATH="$venv/bin:$PATH" PYTHONPATH="$PWD"
python -m pip install --quiet uv
extras=(--extra test --extra sklearn --extra open-clip --extra sentences)
# uv rather takes the newest of what these need, and newer ones of these for its sake: so the least are demanded,
# "zarr>=3.1" as zarr==3.1.*
: > "$venv/least.txt"
[ "$resolution" = highest ] ||
    grep -oE '"[A-Za-z0-9._-]+(\[[^]]*\])?>=[0-9.]+"' pyproject.toml |
    sed -E 's/"|\[.*\]//g; s/>=(.*)/==\1.*/' > "$venv/least.txt"
uv pip compile --quiet pyproject.toml "${extras[@]}" --resolution "$resolution" --constraint "$venv/least.txt" \
    "${more[@]}" --python "$venv/bin/python" --output-file "$venv/versions.txt" > /dev/null
uv pip install --quiet "${more[@]}" --python "$venv/bin/python" --requirement "$venv/versions.txt"
# the browser and the notebooks tell nothing of versions that the others do not, and take longest
python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder \
    --ignore tests/test_notebooks.py --ignore tests/test_benchmarks.py \
    --ignore tests/test_readme.py --ignore tests/test_dashboard.py "$@"
