import asyncio
import signal

import pytest

from core.errdefs import FailedPrecondition
from core.linux.cgroup import CgroupLayout
from core.shim.container import Container, Stdio
from core.shim.oci_runtime import OciRuntime
from core.shim.reaper import Process, Reaper


@pytest.fixture
async def child() -> "asyncio.subprocess.Process":
    return await asyncio.create_subprocess_exec("sleep", "1000")


async def test_a_process_that_was_reaped_is_not_killed_by_its_pid(child: "asyncio.subprocess.Process") -> None:
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    process = Process(pid=child.pid, exit=ended)
    ended.set_result(0)
    process.kill(signal.SIGKILL)
    assert child.returncode is None
    Process(pid=child.pid, exit=asyncio.get_running_loop().create_future()).kill(signal.SIGTERM)
    assert await child.wait() == -signal.SIGTERM


async def test_a_container_that_is_being_created_has_no_process_to_kill() -> None:
    runtime = OciRuntime(binary="", root="", systemd_cgroup=False, bundle="", reaper=Reaper())
    container = Container("c", runtime, Stdio(), CgroupLayout.read())
    with pytest.raises(FailedPrecondition, match="being created"):
        await container.kill(signal.SIGCONT)  # which would harm nobody if it were sent to our process group
