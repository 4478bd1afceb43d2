"""The process of a container: command, environment, user, capabilities."""

from __future__ import annotations

import os

from core.errdefs import InvalidArgument
from core.oci import capabilities
from core.oci.user import User, number, resolve
from cri import api
from cri.container.spec.source import Document, Source

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def process(source: Source, user: User) -> Document:
    security = source.security
    granted = granted_capabilities(source)
    asked_ambient = capabilities.grant(security.capabilities.add_ambient_capabilities, (), base=())
    return {
        "terminal": source.config.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "args": command(source),
        "env": environment(source),
        "cwd": working_directory(source),
        "capabilities": capabilities.sets(granted | asked_ambient, asked_ambient, root=user.uid == 0),
        "noNewPrivileges": security.no_new_privs,
        "oomScoreAdj": max(source.config.linux.resources.oom_score_adj, source.facts.oom_score_floor),
    }


def command(source: Source) -> list[str]:
    """CRI's command replaces the image's entrypoint (and its cmd with it), CRI's args the image's cmd.

    Raises InvalidArgument when nothing is left to run.
    """
    entrypoint = list(source.config.command) or _strings(source, "Entrypoint")
    args = list(source.config.args)
    if not source.config.command and not args:
        args = _strings(source, "Cmd")
    if not entrypoint + args:
        raise InvalidArgument(f"container {source.config.metadata.name}: neither it nor its image names a command")
    return entrypoint + args


def environment(source: Source) -> list[str]:
    """The image's, then CRI's; a later value replaces an earlier one. PATH and HOSTNAME are always there."""
    variables = {"PATH": DEFAULT_PATH, "HOSTNAME": source.pod_config.hostname or os.uname().nodename}
    if source.config.tty:
        variables["TERM"] = "xterm"
    for pair in _strings(source, "Env"):
        key, separator, value = pair.partition("=")
        if key and separator:
            variables[key] = value
    for variable in source.config.envs:
        key, value = variable.key, _text(variable.value, f"envs[{variable.key[:64]!r}]")
        if not key or "=" in key or "\0" in key + value:
            raise InvalidArgument(f"envs: key {key[:64]!r} is empty, or has '=' or NUL")
        variables[key] = value
    return [f"{key}={value}" for key, value in variables.items()]


def _text(value: bytes, what: str) -> str:
    """CRI has environment values as bytes, config.json has text. Raises InvalidArgument for what is not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError as exc:
        raise InvalidArgument(f"{what}: the value is not UTF-8, which an OCI spec cannot carry") from exc


def working_directory(source: Source) -> str:
    """CRI's, the image's, or /. Never one through /proc, where descriptors of the runtime show (CVE-2024-21626)."""
    path = source.config.working_dir or str(source.image_config.get("WorkingDir") or "") or "/"
    if not path.startswith("/"):
        path = "/" + path
    clean = os.path.normpath(path).replace("//", "/")
    if clean.startswith("/proc/"):
        raise InvalidArgument(f"working_dir {path[:160]!r} lies in /proc")
    return clean


def granted_capabilities(source: Source) -> frozenset[str]:
    """What the security context grants; everything for a privileged container."""
    if source.security.privileged:
        return capabilities.available()
    asked = source.security.capabilities
    return capabilities.grant(asked.add_capabilities, asked.drop_capabilities)


def effective_user(source: Source) -> User:
    """Who the process is: CRI's user over the image's, with groups by policy. Raises InvalidArgument."""
    security = source.security
    if security.HasField("run_as_group") and not (security.HasField("run_as_user") or security.run_as_username):
        raise InvalidArgument("run_as_group needs run_as_user or run_as_username")
    wanted = _wanted_user(source)
    user = resolve(source.rootfs, wanted)
    gid = security.run_as_group.value if security.HasField("run_as_group") else user.gid
    number(str(gid), "run_as_group")
    asked = [*source.security.supplemental_groups]
    for group in asked:
        number(str(group), "supplemental_groups")
    strict = security.supplemental_groups_policy == api.SupplementalGroupsPolicy.Strict
    groups = dict.fromkeys([gid, *asked, *(() if strict else user.groups)])
    return User(uid=user.uid, gid=gid, groups=tuple(groups), home=user.home)


def _wanted_user(source: Source) -> str:
    security = source.security
    if security.HasField("run_as_user"):
        return str(security.run_as_user.value)
    return security.run_as_username or str(source.image_config.get("User") or "")


def _strings(source: Source, key: str) -> list[str]:
    """A list of strings of the image's config, which anybody may have written."""
    value = source.image_config.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidArgument(f"image {source.image.id}: config.{key} is not a list of strings")
    return value
