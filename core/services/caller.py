"""Who calls one of containerd's services: its namespace and its lease, as the call's metadata say.

Crisp has one namespace, the one in which the kubelet's images are at the peers, too.
"""

from __future__ import annotations

import contextvars
from collections.abc import Mapping

from core.errdefs import FailedPrecondition

NAMESPACE = "k8s.io"
_NAMESPACE_KEY, _LEASE_KEY = "containerd-namespace", "containerd-lease"
_lease: contextvars.ContextVar[str] = contextvars.ContextVar("lease", default="")


class Namespaced:
    """A service whose things are in a namespace."""

    def admit(self, metadata: Mapping[str, str]) -> None:
        """Let a call in. Raises FailedPrecondition when it is about another namespace."""
        namespace = metadata.get(_NAMESPACE_KEY, "")
        if namespace != NAMESPACE:
            raise FailedPrecondition(f"namespace {namespace[:160]!r}: everything is in {NAMESPACE!r} here: name that")
        _lease.set(metadata.get(_LEASE_KEY, ""))


def lease() -> str:
    """The lease of the call that is being answered, "" for none."""
    return _lease.get()
