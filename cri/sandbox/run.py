"""RunPodSandbox.

What a crash leaves: a shim, namespaces, a network attachment and files, all named by the id, and no record. Recovery
finds each by its directory and undoes it; the retried request makes a new sandbox.
"""

from __future__ import annotations

import asyncio

from core.errdefs import AlreadyExists
from core.failpoint import failpoint
from core.log import get_logger
from core.network.network import NetworkResult
from core.oci.cgroups import parent_group
from core.sandbox.controller import Sandbox, SandboxSpec
from core.steps import carried, step
from cri import api
from cri.sandbox.annotations import root_annotations
from cri.sandbox.check import check_config, namespace_mode
from cri.sandbox.deps import SandboxDeps
from cri.sandbox.network import pod_network
from cri.sandbox.shm import shm_size
from cri.store.operations import Operation
from cri.store.sandbox import PodSandbox, sandbox_name
from cri.undo import Undo, undoing
from cri.user_namespace import user_namespace

log = get_logger(__name__)

DEFAULT_SYSCTLS = {
    # Unprivileged containers may bind low ports and ping: in the pod's own network namespace that gives nothing away.
    "net.ipv4.ip_unprivileged_port_start": "0",
    "net.ipv4.ping_group_range": "0 2147483647",
}


async def run_pod_sandbox(deps: SandboxDeps, request: api.RunPodSandboxRequest) -> str:
    """Create and start a pod sandbox; return its id.

    On failure nothing is left. Raises InvalidArgument (config, unknown handler), AlreadyExists (name in use),
    Unavailable (no network yet).
    """
    check_config(request.config)
    deps.controller(request.runtime_handler)
    systemd = deps.handlers[request.runtime_handler].systemd_cgroup
    parent_group(request.config.linux.cgroup_parent, systemd=systemd)  # its containers would not start
    name = sandbox_name(request.config.metadata)
    content = request.SerializeToString(deterministic=True)
    return await deps.operations.run(name, content, lambda operation: _run(deps, request, operation))


async def _run(deps: SandboxDeps, request: api.RunPodSandboxRequest, operation: Operation) -> str:
    _refuse_duplicate(deps, operation.name)
    sandbox_id = deps.new_id()
    config = request.config
    async with undoing() as undo:
        sandbox = await _start(deps, undo, request, sandbox_id)
        failpoint("sandbox.run.started")
        with step("network"):
            result = await _attach(deps, undo, sandbox, config)
        failpoint("sandbox.run.attached")
        pod = PodSandbox(
            id=sandbox_id,
            name=operation.name,
            config=config.SerializeToString(),
            runtime_handler=request.runtime_handler,
            created_at=deps.clock(),
            sandbox=sandbox,
            ips=result.ips if result else (),
            network_result=result.raw if result else b"",
            labels=dict(config.labels),
        )
        if not deps.nri.idle:
            with step("NRI plugins"):
                undo.push(deps.nri.forget_pod, pod)
                await deps.nri.run_pod(pod)
            failpoint("sandbox.run.agreed")
        await deps.sandboxes.put(pod)
        undo.pop_all()
    failpoint("sandbox.run.recorded")
    log.info("sandbox started", sandbox_id=sandbox_id, pod=operation.name, ips=",".join(pod.ips))
    return sandbox_id


def _refuse_duplicate(deps: SandboxDeps, name: str) -> None:
    for pod in deps.sandboxes.list():
        if pod.name == name:
            raise AlreadyExists(f"sandbox {name!r} exists with id {pod.id}: remove it first")


async def _start(deps: SandboxDeps, undo: Undo, request: api.RunPodSandboxRequest, sandbox_id: str) -> Sandbox:
    """Make namespaces and files at the same time."""
    controller = deps.controller(request.runtime_handler)
    loop = asyncio.get_running_loop()
    undo.push(lambda: loop.run_in_executor(deps.filesystem, deps.files.remove, sandbox_id))
    undo.push(controller.remove, sandbox_id)
    files = loop.run_in_executor(deps.filesystem, carried(deps.files.write), sandbox_id, request.config)
    try:
        with step("namespaces"):
            return await controller.start(sandbox_spec(deps, sandbox_id, request))
    finally:
        await files


async def _attach(
    deps: SandboxDeps, undo: Undo, sandbox: Sandbox, config: api.PodSandboxConfig
) -> NetworkResult | None:
    if not sandbox.netns:
        return None
    pod = pod_network(sandbox.id, sandbox.netns, config)
    undo.push(deps.network.detach, pod)
    return await deps.network.attach(pod)


def sandbox_spec(deps: SandboxDeps, sandbox_id: str, request: api.RunPodSandboxRequest) -> SandboxSpec:
    config = request.config
    options = config.linux.security_context.namespace_options
    own_network = options.network == api.NamespaceMode.POD
    users = user_namespace(options)
    handler = deps.handlers[request.runtime_handler]
    return SandboxSpec(
        id=sandbox_id,
        runtime_handler=request.runtime_handler,
        hostname=config.hostname if own_network else "",
        network=namespace_mode(options.network),
        pid=namespace_mode(options.pid),
        ipc=namespace_mode(options.ipc),
        uid_mappings=(users.uids,) if users else (),
        gid_mappings=(users.gids,) if users else (),
        sysctls=_sysctls(config, own_network=own_network),
        shm_size=shm_size(config, handler),
        cgroup_parent=config.linux.cgroup_parent,
        annotations=root_annotations(sandbox_id, config, handler.pod_annotations),
    )


def _sysctls(config: api.PodSandboxConfig, *, own_network: bool) -> dict[str, str]:
    asked = {key.replace("/", "."): value for key, value in config.linux.sysctls.items()}
    return {**(DEFAULT_SYSCTLS if own_network else {}), **asked}


