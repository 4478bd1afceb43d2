"""A pod's user namespace, as its namespace options ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.errdefs import InvalidArgument
from core.sandbox.controller import IdMapping
from cri import api

IDS = (1 << 32) - 1
"""How many a kernel has: the last 32-bit number stands for none (user_namespaces(7))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserNamespace:
    uids: IdMapping
    gids: IdMapping

    @property
    def root(self) -> tuple[int, int]:
        """The node's user and group that are the pod's root."""
        return self.uids.host_id, self.gids.host_id


def user_namespace(options: api.NamespaceOption) -> UserNamespace | None:
    """None for the node's.

    Raises InvalidArgument unless it is NODE, or POD with one mapping each of users and groups, both from 0, and the
    namespaces of processes and of IPC are the pod's own: there is nothing that root of another one could mount of them.
    """
    asked = options.userns_options
    if not options.HasField("userns_options") or asked.mode == api.NamespaceMode.NODE:
        if asked.uids or asked.gids:
            raise InvalidArgument("namespace_options.userns_options: NODE has no mappings")
        return None
    if asked.mode != api.NamespaceMode.POD:
        raise InvalidArgument("namespace_options.userns_options.mode: want POD or NODE")
    for field in ("pid", "ipc"):
        if getattr(options, field) == api.NamespaceMode.NODE:
            raise InvalidArgument(f"namespace_options.{field}: NODE, which root of a user namespace cannot use")
    return UserNamespace(uids=_only(asked.uids, "uids"), gids=_only(asked.gids, "gids"))


def _only(mappings: Sequence[api.IDMapping], field: str) -> IdMapping:
    if len(mappings) != 1:
        raise InvalidArgument(f"namespace_options.userns_options.{field}: want one mapping, not {len(mappings)}")
    line = mappings[0]
    if line.container_id != 0 or not line.length or line.host_id + line.length > IDS:
        raise InvalidArgument(
            f"namespace_options.userns_options.{field}: {line.length} ids from {line.host_id} for {line.container_id} "
            "and up; want one or more 32-bit ids, for 0 and up"
        )
    return IdMapping(container_id=0, host_id=line.host_id, length=line.length)
