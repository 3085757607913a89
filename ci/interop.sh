#!/usr/bin/env bash
# Test exports in the code of autoencoder packages, in an environment of its own: their versions clash with ours.
# DASKKSVD_SAEV names a checkout of saev to test with as well (its release on PyPI has another format).
export DASKKSVD_VENV="${DASKKSVD_VENV:-.venv-interop}"
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
python -m pip install --quiet "torch==2.13.0" "torchvision==0.28.0"
# overcomplete asks Matplotlib for what 3.9 no longer has
python -m pip install --quiet "sae-lens==6.54.12" "overcomplete==0.3.0" "matplotlib<3.9" "visaebench==0.1.0"
python -m pip install --quiet --editable . pytest hypothesis
if [ -n "${DASKKSVD_SAEV:-}" ]; then
    python -m pip install --quiet beartype einops jaxtyping orjson tyro
    export PYTHONPATH="$DASKKSVD_SAEV/src"
fi
python -m pytest -ra tests/test_interop_packages.py tests/test_interop.py tests/test_synthsae.py "$@"
