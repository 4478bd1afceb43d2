"""Who a container's process is."""

from __future__ import annotations

from core.errdefs import InvalidArgument
from core.oci.user import User, id_number, resolve
from cri import api
from cri.container.spec.image import image_text
from cri.container.spec.source import Source


def effective_user(source: Source) -> User:
    """CRI's user over the image's, with groups by policy; reads the image's files. Raises InvalidArgument.

    The primary group is among the supplemental ones, or a process could drop it with a setgid program and pass a file
    mode that denies it (CVE-2022-2995). They come as other runtimes have them, and as Kubernetes compares statuses: the
    primary one, those of the image, those asked for.
    """
    security = source.security
    named = security.HasField("run_as_user") or security.run_as_username
    if security.HasField("run_as_group") and not named:
        raise InvalidArgument("run_as_group needs run_as_user or run_as_username")
    user = resolve(source.rootfs, _wanted(source))
    gid = _id(security.run_as_group.value, "run_as_group") if security.HasField("run_as_group") else user.gid
    asked = [_id(group, "supplemental_groups") for group in security.supplemental_groups]
    if security.supplemental_groups_policy not in api.SupplementalGroupsPolicy.values():
        raise InvalidArgument(f"supplemental_groups_policy {security.supplemental_groups_policy} is not known")
    strict = security.supplemental_groups_policy == api.SupplementalGroupsPolicy.Strict
    groups = dict.fromkeys([gid, *(() if strict else user.groups), *asked])
    return User(uid=user.uid, gid=gid, groups=tuple(groups), home=user.home)


def _wanted(source: Source) -> str:
    security = source.security
    if security.HasField("run_as_user"):
        return str(_id(security.run_as_user.value, "run_as_user"))
    if ":" in security.run_as_username:
        raise InvalidArgument(f"run_as_username {security.run_as_username[:64]!r}: want a name without a group")
    return security.run_as_username or image_text(source, "User")


def _id(value: int, field: str) -> int:
    id_number(str(value), field)
    return value
