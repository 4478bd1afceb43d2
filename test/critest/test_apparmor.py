"""AppArmor profiles, as a container sees the one that confines it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from core.oci import apparmor
from cri import api
from rig.cri_client import CriClient
from rig.patience import patient

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root
Kinds = api.SecurityProfile.ProfileType
OWN = "crisp-test-denies-tmp"
LOOK = "cat /proc/self/attr/current; echo x > /tmp/x && echo written; echo x > /sys/power/state"


@pytest.fixture
def own_profile() -> Iterator[str]:
    """A profile that forbids writing to /tmp, loaded where the kernel can."""
    text = f"profile {OWN} flags=(attach_disconnected) {{ file, capability, network, signal, deny /tmp/** w, }}"
    if apparmor.enabled():
        load(text, "--replace")
    yield OWN
    if apparmor.enabled():
        load(text, "--remove")


def load(text: str, how: str) -> None:
    subprocess.run([apparmor.parser(), how], input=text.encode(), check=True, timeout=patient(20))


def container(node: Node, kind: Any = None, name: str = "", *, old: str = "") -> api.ContainerConfig:
    config = node.container("exec sleep 1000")
    if kind is not None:
        config.linux.security_context.apparmor.profile_type = kind
        config.linux.security_context.apparmor.localhost_ref = name
    config.linux.security_context.apparmor_profile = old
    return config


def see(client: CriClient, pods: Pods, config: api.ContainerConfig, script: str = LOOK) -> str:
    _, made = pods.start("", config=config)
    command = ["/bin/sh", "-c", script]
    request = api.ExecSyncRequest(container_id=made, cmd=command, timeout=int(patient(20)))
    return str(client.ExecSync(request).stdout.decode())


def confined(client: CriClient, pods: Pods, config: api.ContainerConfig, printed: str) -> None:
    """What a container with `config` prints, or that it is refused by a kernel without AppArmor."""
    if apparmor.enabled():
        assert see(client, pods, config) == printed
        return
    with pytest.raises(grpc.RpcError, match="this node's kernel has no AppArmor") as caught:
        pods.start("", config=config)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_the_runtimes_default_profile_confines(client: CriClient, node: Node, pods: Pods) -> None:
    printed = f"{apparmor.DEFAULT} (enforce)\nwritten\n"
    confined(client, pods, container(node, Kinds.RuntimeDefault), printed)
    confined(client, pods, container(node, old="runtime/default"), printed)


def test_a_profile_of_the_node_confines(client: CriClient, node: Node, pods: Pods, own_profile: str) -> None:
    printed = f"{own_profile} (enforce)\n"
    confined(client, pods, container(node, Kinds.Localhost, own_profile), printed)
    confined(client, pods, container(node, old=f"localhost/{own_profile}"), printed)


def test_the_new_field_counts_before_the_old_one(client: CriClient, node: Node, pods: Pods, own_profile: str) -> None:
    config = container(node, Kinds.Localhost, own_profile, old="unconfined")
    confined(client, pods, config, f"{own_profile} (enforce)\n")


def test_unconfined_is_granted_everywhere(client: CriClient, node: Node, pods: Pods) -> None:
    for config in (container(node, Kinds.Unconfined), container(node, old="unconfined")):
        lines = see(client, pods, config).splitlines()
        assert lines[-1] == "written"
        assert lines[:-1] == (["unconfined"] if apparmor.enabled() else [])


def test_who_says_nothing_gets_the_default_where_there_is_one(client: CriClient, node: Node, pods: Pods) -> None:
    lines = see(client, pods, container(node)).splitlines()
    assert lines[:-1] == ([f"{apparmor.DEFAULT} (enforce)"] if apparmor.enabled() else [])


def test_the_default_profile_forbids_what_a_capability_would_allow(client: CriClient, node: Node, pods: Pods) -> None:
    config = container(node)
    config.linux.security_context.capabilities.add_capabilities.append("SYS_ADMIN")
    seen = see(client, pods, config, "mount -t tmpfs none /home 2>&1 && echo mounted")
    assert ("Permission denied" in seen, "mounted" in seen) == (apparmor.enabled(), not apparmor.enabled())


def test_the_default_profile_lets_ordinary_work_be_done(client: CriClient, node: Node, pods: Pods) -> None:
    script = """set -e
    cd /tmp; mkfifo pipe; ln -s pipe link; mkdir -p a/b; mv a c; chown 1000 c; chmod 700 c; rm -r c
    sleep 1000 & kill -9 $!; cat /proc/$$/maps >/dev/null
    echo pong | nc -l -p 8080 >/dev/null & until nc 127.0.0.1 8080 </dev/null 2>/dev/null; do :; done
    su -s /bin/sh nobody -c 'test -r /etc/passwd'; unshare -U true; umask 077; echo done"""
    assert see(client, pods, container(node), script) == "pong\ndone\n"


def test_a_profile_that_is_not_loaded_is_refused(client: CriClient, node: Node, pods: Pods) -> None:
    why = "'none-such' is not loaded" if apparmor.enabled() else "this node's kernel has no AppArmor"
    for config in (container(node, Kinds.Localhost, "none-such"), container(node, old="localhost/none-such")):
        with pytest.raises(grpc.RpcError, match=why):
            pods.start("", config=config)


def test_a_shim_and_its_runtime_can_end_a_confined_container(client: CriClient, node: Node, pods: Pods) -> None:
    _, made = pods.start("", config=node.container("trap '' TERM; sleep 1000 & sleep 1000"))
    client.StopContainer(api.StopContainerRequest(container_id=made, timeout=0))
    status = client.ContainerStatus(api.ContainerStatusRequest(container_id=made)).status
    assert status.exit_code == 137
