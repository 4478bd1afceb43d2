"""Real files of both versions, as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.shim.metrics import NO_LIMIT, metrics


def write(directory: Path, files: dict[str, str]) -> str:
    directory.mkdir()
    for name, text in files.items():
        (directory / name).write_text(text)
    return str(directory)


def test_version_1(tmp_path: Path) -> None:
    memory = {
        "memory.usage_in_bytes": "4096\n",
        "memory.limit_in_bytes": "8192\n",
        "memory.max_usage_in_bytes": "6000\n",
        "memory.failcnt": "3\n",
        "memory.stat": "cache 10\nrss 20\npgfault 7\ntotal_inactive_file 30\ntotal_pgmajfault 5\nunknown 9\nswap 8\n",
    }
    cpuacct = {"cpuacct.usage": "123456\n", "cpuacct.stat": "user 2\nsystem 3\n"}
    directories = {
        "memory": write(tmp_path / "memory", memory),
        "cpuacct": write(tmp_path / "cpuacct", cpuacct),
        "cpu": write(tmp_path / "cpu", {"cpu.stat": "nr_periods 4\nnr_throttled 1\nthrottled_time 99\n"}),
        "pids": write(tmp_path / "pids", {"pids.current": "2\n", "pids.max": "max\n"}),
    }
    found = metrics(directories)
    assert found.DESCRIPTOR.full_name == "io.containerd.cgroups.v1.Metrics"
    assert (found.memory.usage.usage, found.memory.usage.limit, found.memory.usage.failcnt) == (4096, 8192, 3)
    assert (found.memory.cache, found.memory.pg_fault, found.memory.total_pg_maj_fault) == (10, 7, 5)
    assert (found.memory.total_inactive_file, found.memory.swap.usage) == (30, 0)
    assert (found.cpu.usage.total, found.cpu.usage.user, found.cpu.usage.kernel) == (123456, 2 * 10**7, 3 * 10**7)
    assert (found.cpu.throttling.periods, found.cpu.throttling.throttled_time) == (4, 99)
    assert (found.pids.current, found.pids.limit) == (2, 0)


def test_version_2(tmp_path: Path) -> None:
    files = {
        "cpu.stat": "usage_usec 11\nuser_usec 5\nsystem_usec 6\nnr_periods 0\n",
        "memory.stat": "anon 1\nfile 2\ninactive_file 3\npgfault 4\nworkingset_refault_anon 8\n",
        "memory.current": "4096\n",
        "memory.max": "max\n",
        "pids.current": "1\n",
        "pids.max": "100\n",
    }
    found = metrics({"": write(tmp_path / "group", files)})
    assert found.DESCRIPTOR.full_name == "io.containerd.cgroups.v2.Metrics"
    assert (found.cpu.usage_usec, found.cpu.system_usec) == (11, 6)
    assert (found.memory.usage, found.memory.usage_limit, found.memory.inactive_file) == (4096, NO_LIMIT, 3)
    assert (found.pids.current, found.pids.limit) == (1, 100)


def test_a_group_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        metrics({"": str(tmp_path / "none")})
