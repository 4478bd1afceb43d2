"""Which events a change of state is.

    container   ─CREATED─▶ CREATED ─STARTED─▶ RUNNING ─STOPPED─▶ EXITED ─DELETED─▶
    sandbox     ─CREATED, STARTED─▶ READY ─STOPPED─▶ NOTREADY ─DELETED─▶

A container that could not be started goes from CREATED to EXITED and stops. One whose shim does not answer is UNKNOWN:
nothing happened to it that anybody knows.
"""

from __future__ import annotations

from cri import api

CREATED, STARTED = api.CONTAINER_CREATED_EVENT, api.CONTAINER_STARTED_EVENT
STOPPED, DELETED = api.CONTAINER_STOPPED_EVENT, api.CONTAINER_DELETED_EVENT

_CONTAINER = {
    (None, api.CONTAINER_CREATED): (CREATED,),
    (None, api.CONTAINER_RUNNING): (CREATED, STARTED),
    (None, api.CONTAINER_UNKNOWN): (CREATED, STARTED),
    (None, api.CONTAINER_EXITED): (CREATED, STARTED, STOPPED),
    (api.CONTAINER_CREATED, api.CONTAINER_RUNNING): (STARTED,),
    (api.CONTAINER_CREATED, api.CONTAINER_EXITED): (STOPPED,),
    (api.CONTAINER_RUNNING, api.CONTAINER_EXITED): (STOPPED,),
    (api.CONTAINER_UNKNOWN, api.CONTAINER_EXITED): (STOPPED,),
}
_SANDBOX = {
    (None, api.SANDBOX_READY): (CREATED, STARTED),
    (None, api.SANDBOX_NOTREADY): (CREATED, STARTED, STOPPED),
    (api.SANDBOX_READY, api.SANDBOX_NOTREADY): (STOPPED,),
}

Types = tuple[api.ContainerEventType, ...]


def of_container(before: api.ContainerState | None, after: api.ContainerState | None) -> Types:
    """The events of a container that went from `before` to `after`; None is "not there"."""
    return (DELETED,) if after is None else _CONTAINER.get((before, after), ())


def of_sandbox(before: api.PodSandboxState | None, after: api.PodSandboxState | None) -> Types:
    """As `of_container`."""
    return (DELETED,) if after is None else _SANDBOX.get((before, after), ())
