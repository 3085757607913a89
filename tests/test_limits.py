"""Threads and memory keep to what control groups and the affinity mask allow."""

import os

import numpy as np
import psutil
import pytest

from daskksvd.execution import threads
from daskksvd.machine import limits, memory

GB = 2**30


def tree(tmp_path, lines, files):
    """A made-up /proc/self/cgroup and /sys/fs/cgroup."""
    proc, root = tmp_path / "cgroup", tmp_path / "sys"
    proc.write_text("".join(f"{line}\n" for line in lines))
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return proc, root


V1 = ["4:memory:/a/b", "3:cpu,cpuacct:/a/b", "1:name=systemd:/a"]


@pytest.mark.parametrize(
    ("lines", "files", "cpus"),
    [
        (["0::/a/b"], {"a/b/cpu.max": "200000 100000"}, 2),
        (["0::/a/b"], {"a/b/cpu.max": "150000 100000"}, 2),
        (["0::/a/b"], {"a/b/cpu.max": "1000 100000"}, 1),
        (["0::/a/b"], {"a/b/cpu.max": "max 100000"}, None),
        (["0::/a/b"], {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3),  # the group around it
        (["0::/a/b"], {"a/b/cpu.max": "400000 100000", "a/cpu.max": "100000 100000"}, 1),
        (["0::/"], {"cpu.max": "500000 100000"}, 5),  # in a container with a name space of its own
        (["0::/../.."], {"cpu.max": "500000 100000"}, 5),
        (V1, {"cpu,cpuacct/a/b/cpu.cfs_quota_us": 400000, "cpu,cpuacct/a/b/cpu.cfs_period_us": 100000}, 4),
        (V1, {"cpu/a/cpu.cfs_quota_us": 100000, "cpu/a/cpu.cfs_period_us": 50000}, 2),
        (V1, {"cpu/a/b/cpu.cfs_quota_us": -1, "cpu/a/b/cpu.cfs_period_us": 100000}, None),
        (V1, {"cpu/cpu.cfs_quota_us": 300000, "cpu/cpu.cfs_period_us": 100000}, 3),  # Docker's own mount
        ([], {}, None),
    ],
)
def test_quota_of_processors(tmp_path, lines, files, cpus):
    assert limits.cpu_quota(*tree(tmp_path, lines, files)) == cpus


@pytest.mark.parametrize(
    ("lines", "files", "left"),
    [
        (["0::/a"], {"a/memory.max": 4 * GB, "a/memory.current": GB}, 3 * GB),
        (["0::/a"], {"a/memory.max": "max", "a/memory.current": GB}, None),
        (["0::/a"], {"a/memory.max": 4 * GB, "a/memory.high": 3 * GB, "a/memory.current": GB}, 2 * GB),
        (
            ["0::/a"],
            {"a/memory.max": 4 * GB, "a/memory.current": 3 * GB,
             "a/memory.stat": f"anon 5\ninactive_file {2 * GB}"},
            3 * GB,
        ),
        (
            ["0::/a/b"],
            {"a/b/memory.max": 9 * GB, "a/b/memory.current": 0, "a/memory.max": 2 * GB,
             "a/memory.current": GB},
            GB,
        ),
        (["0::/a"], {"a/memory.max": GB, "a/memory.current": 2 * GB}, 0),
        (V1, {"memory/a/b/memory.limit_in_bytes": 4 * GB, "memory/a/b/memory.usage_in_bytes": GB}, 3 * GB),
        (V1, {"memory/memory.limit_in_bytes": 4 * GB, "memory/memory.usage_in_bytes": GB}, 3 * GB),
        ([], {}, None),
    ],
)  # fmt: skip
def test_memory_that_is_left(tmp_path, lines, files, left):
    assert limits.memory_left(*tree(tmp_path, lines, files)) == left


def test_there_need_be_no_control_groups(tmp_path):
    assert limits.cpu_quota(tmp_path / "none", tmp_path) is None
    assert limits.memory_left(tmp_path / "none", tmp_path) is None


def test_threads_keep_to_quota_and_mask(monkeypatch):
    cores = len(os.sched_getaffinity(0))
    for quota, expected in ((None, cores), (1, 1), (cores + 7, cores)):
        monkeypatch.setattr(threads, "cpu_quota", lambda quota=quota: quota)
        assert threads.usable_cores() == expected
        assert threads.ThreadExecutor().memory()[0][1] == expected
    monkeypatch.setattr(threads, "cpu_quota", lambda: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert threads.usable_cores() == 1


def test_what_does_not_fit_into_the_control_group_is_said_before(monkeypatch):
    import daskksvd

    monkeypatch.setattr(memory, "memory_left", lambda: 10**7)
    assert memory.available_bytes() == 10**7
    with pytest.raises(MemoryError, match=r"this process needs about .* of the 0\.01 GiB it has"):
        daskksvd.fit(np.ones((100, 8)), n_components=4, n_nonzero_coefs=1)
    monkeypatch.setattr(memory, "memory_left", lambda: None)
    assert memory.available_bytes() > 10**7
    assert memory.available_bytes() <= psutil.virtual_memory().total
