"""CDI devices of a container (Container Device Interface, SPEC.md 1.0), put into its OCI spec."""

from __future__ import annotations

import os
from collections.abc import Iterable

from core.errdefs import InvalidArgument
from core.oci.cdi import ContainerEdits, DeviceNode, Mount, edits_of
from core.oci.devices import allow, device
from core.oci.runtime import HOOKS, Device, Hook, Spec
from core.oci.runtime import Mount as OciMount
from core.oci.user import User
from cri import api
from cri.container.spec.mounts import clean_target, in_order, is_mounted
from cri.container.spec.source import Source

ANNOTATION_PREFIX = "cdi.k8s.io/"
"""Of the container, by the kubelet for device plugins; values are names with commas (SPEC.md, "Kubernetes")."""
_KINDS = {"c": "c", "u": "c", "b": "b", "p": "p"}


def inject_devices(spec: Spec, source: Source, user: User) -> None:
    """Change `spec` as the files of the devices say that the container asks for. Raises InvalidArgument."""
    inject_named(spec, device_names(source.config), source, user)


def inject_named(spec: Spec, names: Iterable[str], source: Source, user: User) -> None:
    """As above, for devices that somebody else asks for."""
    for edits in edits_of(names, source.cdi_dirs):
        _inject(spec, edits, source, user)


def device_names(config: api.ContainerConfig) -> list[str]:
    """From the field and from annotations, which older kubelets use; each once."""
    annotated = (value for key, value in sorted(config.annotations.items()) if key.startswith(ANNOTATION_PREFIX))
    names = [name.strip() for value in annotated for name in value.split(",")]
    return list(dict.fromkeys([*(one.name for one in config.CDI_devices), *names]))


def _inject(spec: Spec, edits: ContainerEdits, source: Source, user: User) -> None:
    if edits.net_devices:
        raise InvalidArgument("CDI netDevices: the OCI runtimes of this release cannot move network devices")
    process, linux = spec["process"], spec["linux"]
    variables = dict(pair.split("=", 1) for pair in [*process["env"], *edits.env] if "=" in pair)
    process["env"] = [f"{key}={value}" for key, value in variables.items()]
    groups = [gid for gid in edits.additional_gids if gid]
    process["user"]["additionalGids"] = list(dict.fromkeys([*process["user"]["additionalGids"], *groups]))
    for node in edits.device_nodes:
        made = _device(node, user)
        linux["resources"]["devices"].append(allow(made, node.permissions or "rwm"))
        if not is_mounted(source, "/dev"):
            linux["devices"] = [*(one for one in linux["devices"] if one["path"] != made["path"]), made]
    targets = {mount["destination"]: mount for mount in [*spec["mounts"], *map(_mount, edits.mounts)]}
    spec["mounts"] = in_order(targets.values())
    if edits.intel_rdt is not None:
        linux["intelRdt"] = edits.intel_rdt
    if edits.hooks:
        spec["hooks"] = _hooks(spec.get("hooks", {}), edits)


def _device(node: DeviceNode, user: User) -> Device:
    """Of the container's own user unless the file says otherwise, so that others than root can use it."""
    path = clean_target(node.path, "CDI device")
    if node.type:
        if node.type not in _KINDS:
            raise InvalidArgument(f"CDI device {path}: type {node.type[:16]!r}")
        kind = _KINDS[node.type]
        made = Device(path=path, type=kind, major=node.major, minor=node.minor, fileMode=0o666, uid=0, gid=0)
    else:
        made = device(node.host_path or node.path, path)
    if node.file_mode is not None:
        made["fileMode"] = node.file_mode
    made["uid"] = node.uid if node.uid is not None else user.uid or made["uid"]
    made["gid"] = node.gid if node.gid is not None else user.gid or made["gid"]
    return made


def _mount(mount: Mount) -> OciMount:
    bind = mount.type in ("", "bind")
    options = list(mount.options)
    if bind and not {"bind", "rbind"} & set(options):
        options.insert(0, "rbind")
    target = clean_target(mount.container_path, "CDI mount")
    return OciMount(destination=target, type="bind" if bind else mount.type, source=mount.host_path, options=options)


def _hooks(hooks: dict[str, list[Hook]], edits: ContainerEdits) -> dict[str, list[Hook]]:
    for hook in edits.hooks:
        if hook.hook_name not in HOOKS or not os.path.isabs(hook.path):
            raise InvalidArgument(f"CDI hook {hook.hook_name[:64]!r} with path {hook.path[:160]!r}: want an OCI hook")
        one = Hook(path=hook.path, args=list(hook.args), env=list(hook.env))
        if hook.timeout is not None:
            one["timeout"] = hook.timeout
        hooks.setdefault(hook.hook_name, []).append(one)
    return hooks
