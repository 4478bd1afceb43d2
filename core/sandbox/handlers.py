"""Runtime handlers: the names by which pods choose what runs them."""

from __future__ import annotations

from collections.abc import Mapping

from core.errdefs import FailedPrecondition, InvalidArgument
from core.linux.cgroup import booted_with_systemd
from core.shims.bundle import Runtime


def find_runtime(runtimes: Mapping[str, Runtime], handler: str) -> Runtime:
    """The runtime of `handler`, "" for the default one. Raises InvalidArgument (unknown), FailedPrecondition (it wants
    systemd, which does not run)."""
    try:
        runtime = runtimes[handler]
    except KeyError:
        known = ", ".join(sorted(filter(None, runtimes)))
        raise InvalidArgument(f"runtime handler {handler!r}: configured are {known}") from None
    if runtime.systemd_cgroup and not booted_with_systemd():
        raise FailedPrecondition(
            f"runtime handler {handler!r} has its cgroups made by systemd, which does not run on this node: set its "
            "systemd_cgroup to false"
        )
    return runtime
