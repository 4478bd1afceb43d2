"""Exec and Attach: URLs behind which clients get the streams of a container."""

from __future__ import annotations

from collections.abc import Callable

from core.errdefs import InvalidArgument
from cri import api
from cri.container.deps import ContainerDeps
from cri.container.exec_sync import running


def exec_url(deps: ContainerDeps, request: api.ExecRequest, url: Callable[[api.ExecRequest], str]) -> api.ExecResponse:
    """Raises NotFound, FailedPrecondition (not running), InvalidArgument (streams, no command), ResourceExhausted."""
    check_streams(request)
    if not request.cmd:
        raise InvalidArgument("Exec: cmd is empty")
    checked = api.ExecRequest()
    checked.CopyFrom(request)
    checked.container_id = running(deps, request.container_id).id
    return api.ExecResponse(url=url(checked))


def attach_url(
    deps: ContainerDeps, request: api.AttachRequest, url: Callable[[api.AttachRequest], str]
) -> api.AttachResponse:
    """Raises NotFound, FailedPrecondition (not running), InvalidArgument (streams), ResourceExhausted."""
    check_streams(request)
    checked = api.AttachRequest()
    checked.CopyFrom(request)
    checked.container_id = running(deps, request.container_id).id
    return api.AttachResponse(url=url(checked))


def check_streams(request: api.ExecRequest | api.AttachRequest) -> None:
    """Raises InvalidArgument."""
    if request.tty and request.stderr:
        raise InvalidArgument("tty and stderr cannot both be true: a terminal has one output")
    if not (request.stdin or request.stdout or request.stderr):
        raise InvalidArgument("one of stdin, stdout and stderr must be true")
