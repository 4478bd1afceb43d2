"""What every sandbox controller does; `test_*` below are the sentences of core/sandbox/controller.py."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from core.errdefs import AlreadyExists, CrispError, InvalidArgument
from core.images.images import Image
from core.linux.ns import is_pinned, unpin
from core.network.netns import inside, make
from core.sandbox.controller import NamespaceMode, SandboxSpec
from core.sandbox.pause import PauseController
from core.sandbox.pinned import PinnedController
from core.sandbox.roots import Roots
from core.shims.bundle import Runtime
from core.shims.manager import ShimManager
from core.snapshots.overlay import OverlaySnapshotter
from core.snapshots.snapshotters import Snapshotters
from core.tasks.service import ShimTasks
from core.types import Descriptor, digest
from core.zygote.process import ZygoteProcess
from rig.bundles import BUSYBOX, CGROUP
from rig.cgroups import ensure_cgroups, remove_cgroups
from rig.networks import output
from rig.patience import patient
from rig.shim_node import alive, wait_gone

pytestmark = pytest.mark.root

IMAGE = "infra"
POD = SandboxSpec(
    id="pod",
    runtime_handler="",
    hostname="podhost",
    sysctls={"net.ipv4.ip_unprivileged_port_start": "7"},
    cgroup_parent=f"/{CGROUP}",
    annotations={"io.kubernetes.cri.container-type": "sandbox"},
)
NODE = NamespaceMode.NODE


class Node:
    """Opens a controller again and again, as each daemon does."""

    def __init__(self, kind, state, zygote):
        self.kind = kind
        self.state = state
        self._zygote = zygote
        self.manager = self.tasks = None

    @contextlib.asynccontextmanager
    async def open(self):
        runtimes = {name: self._runtime(name) for name in ("", "other")}
        with ThreadPoolExecutor(2) as executor:
            async with asyncio.TaskGroup() as group:
                self.manager = ShimManager(str(self.state), self._zygote, group)
                self.tasks = ShimTasks(self.manager)
                async with self.tasks.listening():
                    yield self._controller(runtimes, executor)
                self.manager.leave()

    def _controller(self, runtimes, executor):
        if self.kind == "pinned":
            return PinnedController(self.manager, runtimes)
        snapshots = OverlaySnapshotter(str(self.state / "snapshots"), boot_id="boot")
        return PauseController(
            manager=self.manager,
            tasks=self.tasks,
            runtimes=runtimes,
            roots=Roots(str(self.state), Snapshotters({"overlayfs": snapshots})),
            find_image=self._find_image(snapshots),
            executor=executor,
        )

    def _runtime(self, handler):
        return Runtime(
            binary="/usr/bin/runc" if self.kind == "pause-runc" else "/usr/bin/crun",
            root=str(self.state / "runtime"),
            infra_image="" if self.kind == "pinned" else IMAGE,
        )

    def _find_image(self, snapshots):
        async def find(reference, _snapshotter):
            assert reference == IMAGE
            if not [info for info in snapshots.walk() if info.name == IMAGE]:
                snapshots.prepare("extract", "")
                shutil.copy(BUSYBOX, os.path.join(snapshots.upper("extract"), "busybox"))
                snapshots.commit(IMAGE, "extract")
            return image("/busybox", "sleep", "1000000")

        return find

    def left(self):
        lines = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
        mounts = [line.split()[1] for line in lines if str(self.state) in line]
        snapshots = [path for path in self.state.glob("snapshots/*/meta.json") if b"root-" in path.read_bytes()]
        return [*mounts, *self.state.glob("sandboxes/*"), *self.state.glob("roots/*"), *snapshots]

    def shim(self):
        return int(json.loads((self.state / "sandboxes/pod/shim.json").read_text())["pid"])


def image(*command):
    digests = [digest(f"sha256:{name * 64}") for name in "ab"]
    return Image(
        id=digests[0],
        target=Descriptor(media_type="", digest=digests[1], size=1),
        names=(IMAGE,),
        layers=(),
        chain_ids=(IMAGE,),
        config=json.dumps({"config": {"Entrypoint": list(command)}}).encode(),
        size=1,
        created_at=0,
    )


@pytest.fixture(params=["pinned", "pause", "pause-runc"])
async def node(request, tmp_path):
    """Ends with the proof that nothing is left."""
    ensure_cgroups()
    zygote = ZygoteProcess()
    await zygote.start()
    node = Node(request.param, tmp_path, zygote)
    yield node
    async with node.open() as controller:
        for sandbox_id in await controller.list():
            await controller.remove(sandbox_id)
        assert await controller.list() == []
    await zygote.stop()
    assert node.left() == []
    remove_cgroups(f"/{CGROUP}")


def names_in(namespace, kind):
    """The namespace's inode by a process that joins it."""
    return output("nsenter", f"--{kind}={namespace}", "readlink", f"/proc/self/ns/{kind}").strip()


async def wait_until(condition):
    async with asyncio.timeout(patient(20)):
        while not await condition():
            await asyncio.sleep(0.01)  # between looks at the condition


async def test_a_pod_has_the_namespaces_that_it_shares(node):
    async with node.open() as controller:
        sandbox = await controller.start(POD)
        assert set(sandbox.namespaces) == {"network", "ipc", "uts"}
        assert sandbox.netns == sandbox.namespaces["network"]
        for kind, path in {"net": sandbox.netns, "ipc": sandbox.namespaces["ipc"]}.items():
            assert names_in(path, kind) != os.readlink(f"/proc/self/ns/{kind}")
        assert output("nsenter", f"--uts={sandbox.namespaces['uts']}", "hostname").strip() == "podhost"
        assert os.path.ismount(sandbox.shm)
        assert alive(sandbox.pid)
        assert sandbox.created_at > 0


async def test_the_loopback_is_up_and_sysctls_are_set(node):
    async with node.open() as controller:
        sandbox = await controller.start(POD)
        assert "LOOPBACK,UP" in inside(sandbox.netns, lambda: output("ip", "link", "show", "lo"))
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as node_value:
            assert node_value.read() != "7\n"
        joined = ("nsenter", f"--net={sandbox.netns}", "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start")
        assert output(*joined).strip() == "7"


async def test_a_shared_pid_namespace_has_an_init(node):
    async with node.open() as controller:
        sandbox = await controller.start(replace(POD, pid=NamespaceMode.POD))
        assert names_in(sandbox.namespaces["pid"], "pid") == os.readlink(f"/proc/{sandbox.pid}/ns/pid")
        assert os.readlink(f"/proc/{sandbox.pid}/ns/pid") != os.readlink("/proc/self/ns/pid")


async def test_a_pod_of_the_nodes_namespaces_has_none(node):
    async with node.open() as controller:
        spec = replace(POD, network=NODE, pid=NODE, ipc=NODE, hostname="", sysctls={}, runtime_handler="other")
        sandbox = await controller.start(spec)
        assert (dict(sandbox.namespaces), sandbox.netns, sandbox.shm) == ({}, "", "")
        assert await controller.alive("pod")


async def test_starting_again_returns_the_same_sandbox(node):
    async with node.open() as controller:
        assert await controller.start(POD) == await controller.start(POD)


async def test_a_failed_start_leaves_nothing(node):
    async with node.open() as controller:
        with pytest.raises(CrispError, match=r"no[./]such"):
            await controller.start(replace(POD, sysctls={"net.no.such": "1"}))
        assert await controller.list() == []
    assert node.left() == []


async def test_an_unknown_handler_is_refused_and_leaves_nothing(node):
    async with node.open() as controller:
        with pytest.raises(InvalidArgument, match="configured are other"):
            await controller.start(replace(POD, runtime_handler="kata"))
        assert await controller.list() == []


async def test_a_start_that_was_cut_off_leaves_nothing(node):
    async with node.open() as controller:
        starting = asyncio.create_task(controller.start(POD))
        await wait_until(controller.list)
        starting.cancel()
        await asyncio.wait([starting])
        assert await controller.list() == []


async def test_stop_unpins_everything_and_can_be_repeated(node):
    async with node.open() as controller:
        sandbox = await controller.start(replace(POD, pid=NamespaceMode.POD))
        await controller.stop("pod")
        assert not any(map(is_pinned, sandbox.namespaces.values()))
        assert not os.path.exists(sandbox.shm)
        if sandbox.pid != node.shim():
            await wait_gone([sandbox.pid])
        assert not await controller.alive("pod")
        await controller.stop("pod")
        with pytest.raises(AlreadyExists):
            await controller.start(POD)


async def test_remove_without_stop_leaves_nothing_and_can_be_repeated(node):
    async with node.open() as controller:
        sandbox = await controller.start(POD)
        shim = node.shim()
        await controller.remove("pod")
        await wait_gone([sandbox.pid, shim])
        assert node.left() == []
        await controller.remove("pod")
        await controller.stop("pod")
        assert not await controller.alive("pod")


async def test_the_next_daemon_finds_the_sandbox_alive(node):
    async with node.open() as controller:
        sandbox = await controller.start(POD)
    async with node.open() as controller:
        assert await node.tasks.adopt("pod")
        assert await controller.alive("pod")
        assert await controller.start(POD) == sandbox
        assert await controller.list() == ["pod"]
        await controller.stop("pod")
        assert not await controller.alive("pod")


async def test_a_sandbox_whose_shim_was_killed_is_not_alive_and_is_removed(node):
    async with node.open() as controller:
        sandbox = await controller.start(replace(POD, pid=NamespaceMode.POD))
        os.kill(node.shim(), signal.SIGKILL)

        async def ended():
            return not await controller.alive("pod") and not alive(sandbox.pid)

        await wait_until(ended)
        await controller.stop("pod")
        assert not any(map(is_pinned, sandbox.namespaces.values()))


async def test_a_sandbox_whose_shim_died_between_daemons_is_removed_by_the_next(node):
    async with node.open() as controller:
        sandbox = await controller.start(replace(POD, pid=NamespaceMode.POD))
    shim = node.shim()
    os.kill(shim, signal.SIGKILL)
    await wait_gone([shim])
    async with node.open() as controller:
        assert not await node.tasks.adopt("pod")
        await wait_gone([sandbox.pid])
        assert not await controller.alive("pod")
        await controller.remove("pod")
    assert node.left() == []


async def test_a_sandbox_whose_namespace_was_unmounted_is_not_alive(node):
    async with node.open() as controller:
        sandbox = await controller.start(POD)
        unpin(sandbox.netns)
        with open(sandbox.netns, "w", encoding="utf-8"):
            assert not await controller.alive("pod")
        await controller.stop("pod")
        await controller.remove("pod")
    assert node.left() == []


async def test_a_sandbox_with_another_namespace_in_the_place_of_its_own_is_not_alive(node):
    async with node.open() as controller:
        sandbox = await controller.start(POD)
        unpin(sandbox.netns)
        make(sandbox.netns)
        assert not await controller.alive("pod")
        await controller.stop("pod")
        await controller.remove("pod")
    assert node.left() == []


async def test_a_sandbox_whose_root_container_ended_is_not_alive(node):
    if node.kind == "pinned":
        return  # it has none
    async with node.open() as controller:
        sandbox = await controller.start(POD)
        exits = []
        node.tasks.subscribe(exits.append)
        os.kill(sandbox.pid, signal.SIGKILL)

        async def told():
            return bool(exits)

        await wait_until(told)
        assert (exits[0].container_id, exits[0].exit_code) == ("pod", 137)
        assert not await controller.alive("pod")
        await controller.stop("pod")
