"""What a result was made with, and on: versions, BLAS, processor, memory and devices."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Iterable
from typing import Any, Literal, overload

import psutil
import threadpoolctl

from . import __version__
from .coding.how import processor as instructions
from .execution.threads import usable_cores
from .machine.memory import available_bytes

PACKAGE = "daskksvd"


@overload
def show_versions(as_dict: Literal[False] = False) -> None: ...
@overload
def show_versions(as_dict: Literal[True]) -> dict[str, Any]: ...


def show_versions(as_dict: bool = False) -> dict[str, Any] | None:
    """Print what a report of a fault should tell: versions, and what the machine is.

    Parameters
    ----------
    as_dict : bool
        Give the same as a dict, which JSON can hold, and print nothing.

    Returns
    -------
    dict or None
        ``daskksvd``, ``python``, ``system``, ``processor``, ``kind`` (of processor, as LLVM names it),
        ``instructions`` (those that round products of single precision, if there are any), ``cores`` that
        may be used, ``memory_bytes`` and ``memory_free_bytes``, ``blas`` (a line for each that is loaded,
        with its kernel), ``devices`` that PyTorch can use, ``needs`` (package to version), and ``extras``
        (name to a dict of package to version). A version is None where the package is not installed.

    Examples
    --------
    >>> import daskksvd
    >>> facts = daskksvd.show_versions(as_dict=True)
    >>> facts["daskksvd"] == daskksvd.__version__
    True
    """
    facts = {**_software(), **processor_facts(), **_memory(), "devices": _devices()}
    needs, extras = required()
    facts |= {"needs": versions(needs), "extras": {name: versions(some) for name, some in extras.items()}}
    if as_dict:
        return facts
    print(versions_text(facts))
    return None


def versions_text(facts: dict[str, Any]) -> str:
    """What `show_versions` prints of such a dict."""
    ways = f", with {' and '.join(facts['instructions'])}" if facts["instructions"] else ""
    memory = f"{_gib(facts['memory_bytes'])}, of which {_gib(facts['memory_free_bytes'])} free"
    lines = [
        ("daskksvd", facts["daskksvd"]),
        ("Python", f"{facts['python']}, {facts['system']}"),
        ("processor", f"{facts['processor']} ({facts['kind']}){ways}"),
        ("cores", str(facts["cores"])),
        ("memory", memory),
        *(("BLAS", line) for line in facts["blas"]),
        *(("device", line) for line in facts["devices"] or ["processors only"]),
    ]
    packages, extras = dict(facts["needs"]), facts["extras"]
    for found in extras.values():
        packages |= {name: number for name, number in found.items() if number is not None}
    whole = [name for name, found in extras.items() if None not in found.values()]
    if packages:
        lines.append(("packages", ", ".join(f"{name} {packages[name]}" for name in sorted(packages))))
        lines.append(("extras", ", ".join(whole) or "none"))
    for name, found in extras.items():
        if name not in whole:
            lines.append(("", f"not {name}, without {', '.join(one for one in found if found[one] is None)}"))
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:{width}}  {value}".rstrip() for name, value in lines)


def processor_facts() -> dict[str, Any]:
    """Processor, its kind and instructions, cores that may be used, and BLAS."""
    here = instructions()
    return {
        "processor": _processor(),
        "kind": here.name,
        "instructions": list(here.ways),
        "cores": usable_cores(),
        "blas": _blas(),
    }


def required() -> tuple[list[str], dict[str, list[str]]]:
    """Packages that this one needs, and those of every extra, as its installation says.

    Both are empty where it is not installed, but only found on the path.
    """
    try:
        lines = importlib.metadata.requires(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return [], {}
    needs: list[str] = []
    extras: dict[str, list[str]] = {}
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([\w.-]+)", line)
        if name is not None:
            (needs if extra is None else extras.setdefault(extra[1], [])).append(line.partition(";")[0])

    def packages(lines: Iterable[str]) -> list[str]:
        """Names of packages, in place of this one with extras theirs."""
        found: list[str] = []
        for line in lines:
            name, _, more = re.findall(r"^([\w.-]+)(\[([^\]]*)\])?", line)[0]
            if name == PACKAGE:
                found += [one for extra in more.split(",") for one in packages(extras.get(extra.strip(), []))]
            else:
                found.append(name)
        return sorted(set(found))

    return packages(needs), {name: packages(lines) for name, lines in sorted(extras.items())}


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Versions of installed packages by name; None for one that is not installed."""
    return {name: version(name) for name in packages}


def version(package: str) -> str | None:
    """Version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _software() -> dict[str, str]:
    return {
        "daskksvd": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _memory() -> dict[str, int]:
    return {"memory_bytes": psutil.virtual_memory().total, "memory_free_bytes": available_bytes()}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _blas() -> list[str]:
    lines = [
        f"{library['internal_api']} {library.get('version')}, core type {library.get('architecture')}, "
        f"{library['num_threads']} threads"
        for library in threadpoolctl.threadpool_info()
        if library["user_api"] == "blas"
    ]
    return list(dict.fromkeys(lines))


def _devices() -> list[str]:
    """Graphics cards that PyTorch finds, where it is installed."""
    try:
        import torch
    except Exception:  # whatever is wrong with it, this is to be told in a report
        return []
    if not torch.cuda.is_available():
        return []
    return [
        f"cuda:{number} {torch.cuda.get_device_name(number)}, CUDA {torch.version.cuda}"
        for number in range(torch.cuda.device_count())
    ]


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
