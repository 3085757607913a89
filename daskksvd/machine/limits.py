"""What control groups, of containers and of batch systems, leave to this process.

`dask.system` and `distributed.system` ask one group each: not those around it, as batch systems
make them, nor paths of version 1 and of containers, and for a limit of memory, not what is left.
"""

import math
import os


def _groups(proc, root):
    """Folders of this process's control groups and of those around them, as ``(version, folder)``.

    In a container the path that the kernel tells may be that outside of it;
    then its own group is at the root.
    """
    try:
        with open(proc) as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return
    for line in lines:
        if len(line) != 3:
            continue
        _, controllers, path = line
        for name in dict.fromkeys([controllers, *controllers.split(",")]):
            if controllers and not {"cpu", "memory"} & set(name.split(",")):
                continue
            parts = [part for part in path.split("/") if part not in ("", "..")]
            for count in range(len(parts), -1, -1):
                yield 1 if controllers else 2, os.path.join(root, name, *parts[:count])


def _numbers(path):
    """Whole numbers in a file; nothing where it is not there, or says "max"."""
    try:
        with open(path) as file:
            return [int(word) for word in file.read().split()]
    except (OSError, ValueError):
        return []


def _statistic(path, name):
    """A number of a file of names and numbers, 0 if it is not there."""
    try:
        with open(path) as file:
            return next(int(line.split()[1]) for line in file if line.split()[:1] == [name])
    except (OSError, ValueError, IndexError, StopIteration):
        return 0


def cpu_quota(proc="/proc/self/cgroup", root="/sys/fs/cgroup"):
    """Processors that the tightest control group allows, rounded up; None without a limit."""
    found = []
    for version, folder in _groups(proc, root):
        if version == 2:
            values = _numbers(os.path.join(folder, "cpu.max"))
        else:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            values = [number for name in names for number in _numbers(os.path.join(folder, name))]
        if len(values) == 2 and min(values) > 0:
            found.append(max(1, math.ceil(values[0] / values[1])))
    return min(found, default=None)


def memory_left(proc="/proc/self/cgroup", root="/sys/fs/cgroup"):
    """Bytes that control groups leave; None without a limit. What files take there can be given back."""
    found = []
    for version, folder in _groups(proc, root):
        if version == 2:
            names, cache = ("memory.max", "memory.high"), "inactive_file"
            used = _numbers(os.path.join(folder, "memory.current"))
        else:
            names, cache = ("memory.limit_in_bytes",), "total_inactive_file"
            used = _numbers(os.path.join(folder, "memory.usage_in_bytes"))
        limits = [limit for name in names for limit in _numbers(os.path.join(folder, name))]
        if limits:
            used = sum(used) - _statistic(os.path.join(folder, "memory.stat"), cache)
            found.append(max(0, min(limits) - max(0, used)))
    return min(found, default=None)
