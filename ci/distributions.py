"""Check what is in a wheel and in a source distribution: all that the package needs, and nothing else.

Usage: python ci/distributions.py FOLDER
"""

import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
KINDS = {".py", ".pyi", ".typed", ".css", ".html", ".js", ".json", ".safetensors", ".md"}
"""Endings of files of the package: code, stubs, templates, a small encoder with its weights and card."""

WITH_SOURCE = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "ci/test.sh", "tests/conftest.py")


def files_of_package(root):
    """What a wheel must hold: every file of the package but what running it leaves."""
    found = (path for path in (root / "daskksvd").rglob("*") if path.is_file())
    return {str(path.relative_to(root)) for path in found if "__pycache__" not in path.parts}


def check_wheel(names, expected):
    """Faults of a wheel with files of these names, as sentences."""
    inside = {name for name in names if ".dist-info/" not in name}
    faults = [f"the wheel lacks {name}" for name in sorted(expected - inside)]
    faults += [f"the wheel has {name}, which is not of the package" for name in sorted(inside - expected)]
    odd = (name for name in sorted(inside) if Path(name).suffix not in KINDS)
    faults += [f"the wheel has {name}, of a kind that is not known to be wanted" for name in odd]
    if not any(name.endswith("licenses/LICENSE") for name in names):
        faults.append("the wheel lacks the licence")
    return faults


def check_source(names, expected):
    """Faults of a source distribution with files of these names, as sentences."""
    inside = {name.partition("/")[2] for name in names}
    return [f"the source lacks {name}" for name in sorted((expected | set(WITH_SOURCE)) - inside)]


def main(folder):
    expected = files_of_package(ROOT)
    (wheel,), (source,) = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tar.gz"))
    with zipfile.ZipFile(wheel) as packed:
        faults = check_wheel(packed.namelist(), expected)
    with tarfile.open(source) as packed:
        faults += check_source(packed.getnames(), expected)
    for file in (wheel, source):
        print(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB")
    if faults:
        sys.exit("\n".join(faults))
    print(f"{len(expected)} files of the package, all there")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
