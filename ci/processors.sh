#!/usr/bin/env bash
# Run the tests of kernels as on other processors than this one:
#
#   bash ci/processors.sh generic    Numba's code for any processor of this kind
#   bash ci/processors.sh haswell    OpenBLAS's code for AVX2
#   bash ci/processors.sh aarch64    64-bit ARM, emulated: takes half an hour; on Debian, with qemu-user-static
#
# More arguments go to pytest.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
tests=(tests/test_{pursuit,residual,near_atoms,moments,rounded,how,nonnegative,threshold,rows,coder,ksvd}.py)
kind="${1:-}"
shift || true
case "$kind" in
    generic)
        install ".[test]"
        export NUMBA_CPU_NAME=generic NUMBA_CPU_FEATURES= NUMBA_CACHE_DIR="$PWD/$venv/numba-generic"
        python -m pytest --numprocesses 2 "${tests[@]}" "$@"
        ;;
    haswell)
        install ".[test]"
        OPENBLAS_CORETYPE=Haswell python -m pytest --numprocesses 2 "${tests[@]}" "$@"
        ;;
    aarch64)
        root="$PWD/.venv-aarch64"
        mkdir -p "$root"/{lists/partial,debs,wheels,system,site}
        apt=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State::Lists=$root/lists")
        apt-get -qq "${apt[@]}" update
        (cd "$root/debs" && apt-get -qq "${apt[@]}" download libc6 python3.11-minimal libpython3.11-minimal \
            libpython3.11-stdlib libexpat1 zlib1g libssl3 libffi8 libbz2-1.0 liblzma5 libsqlite3-0 libreadline8 \
            libtinfo6 libncursesw6 libuuid1 libgcc-s1 libstdc++6 libcrypt1)
        for file in "$root"/debs/*.deb; do dpkg -x "$file" "$root/system"; done
        platforms=(manylinux2014_aarch64 manylinux_2_17_aarch64 manylinux_2_27_aarch64 manylinux_2_28_aarch64)
        python3 -m pip download --quiet --dest "$root/wheels" --only-binary=:all: --python-version 3.11 \
            --implementation cp --abi cp311 --abi abi3 --abi none "${platforms[@]/#/--platform=}" \
            click "dask[array,dataframe]" distributed lazy-loader numba "numpy<2.5" pandas psutil scipy sparse \
            threadpoolctl tqdm xarray zarr regex simplemma stop-words networkx pyarrow scikit-learn pytest hypothesis
        python3 -m pip download --quiet --dest "$root/wheels" --no-deps lemminflect
        for file in "$root"/wheels/*.whl; do python3 -m zipfile -e "$file" "$root/site"; done
        export PYTHONPATH="$PWD:$root/site" NUMBA_CACHE_DIR="$root/numba" PYTHONDONTWRITEBYTECODE=1
        qemu-aarch64-static -L "$root/system" "$root/system/usr/bin/python3.11" -m pytest -p no:cacheprovider \
            tests/test_{residual,moments,how,pursuit}.py "$@"
        ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
