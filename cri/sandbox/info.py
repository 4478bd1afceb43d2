"""What a verbose PodSandboxStatus tells besides CRI's fields."""

from __future__ import annotations

import json
from typing import Any

from cri import api
from cri.container.info import runtime_info
from cri.documents import to_dict
from cri.sandbox.deps import SandboxDeps
from cri.store.sandbox import PodSandbox

_SUMS = ("overhead", "resources")
_POD_INTERFACE = "eth0"  # that addresses without an interface belong to, as containerd has it


def sandbox_info(deps: SandboxDeps, pod: PodSandbox) -> dict[str, object]:
    """The keys that containerd's verbose status has, since tools read them."""
    config = pod.request()
    runtime = deps.handlers.get(pod.runtime_handler)
    network = cni_result(json.loads(pod.network_result)) if pod.network_result else None
    sums = {name: to_dict(getattr(config.linux, name)) for name in _SUMS if config.linux.HasField(name)}
    return {
        "pid": 0 if pod.stopped else pod.sandbox.pid,
        "processStatus": "deleted" if pod.stopped else "running",
        "netNamespaceClosed": pod.stopped and not pod.host_network,
        "image": runtime.infra_image if runtime else "",
        "runtimeHandler": pod.runtime_handler,
        **runtime_info(deps.handlers, pod.runtime_handler),
        "runtimeSpec": _spec(pod, config),
        "config": to_dict(config),
        "cniResult": network,
        "sandboxMetadata": {"Version": "v1", "Metadata": _metadata(pod, config, network)},
        "namespaces": dict(pod.sandbox.namespaces),
        "createdAt": pod.created_at,
        **{name: {"linux": resources} for name, resources in sums.items()},
    }


def _metadata(pod: PodSandbox, config: api.PodSandboxConfig, network: object) -> dict[str, object]:
    return {
        "ID": pod.id,
        "Name": pod.name,
        "Config": to_dict(config),
        "NetNSPath": pod.sandbox.netns,
        "IP": pod.ips[0] if pod.ips else "",
        "AdditionalIPs": list(pod.ips[1:]),
        "RuntimeHandler": pod.runtime_handler,
        "CNIResult": network,
        "ProcessLabel": "",
    }


def cni_result(document: Any) -> dict[str, object]:
    """A CNI result as containerd shows it: interfaces by name, each with its addresses."""
    interfaces = document.get("interfaces") or []
    shown: dict[str, dict[str, Any]] = {_POD_INTERFACE: _interface({})}
    shown |= {one["name"]: _interface(one) for one in interfaces}
    for address in document.get("ips") or []:
        number = address.get("interface")
        name = _POD_INTERFACE if number is None else interfaces[number]["name"]
        addresses = shown[name]["IPConfigs"] = shown[name]["IPConfigs"] or []
        addresses.append({"IP": address["address"].partition("/")[0], "Gateway": address.get("gateway", "")})
    return {"Interfaces": shown, "DNS": [document.get("dns") or {}], "Routes": document.get("routes")}


def _interface(one: Any) -> dict[str, Any]:
    shown = {key: one.get(name, "") for key, name in (("Mac", "mac"), ("Sandbox", "sandbox"), ("PciID", "pciID"))}
    return {"IPConfigs": None, **shown, "SocketPath": one.get("socketPath", "")}


def _spec(pod: PodSandbox, config: api.PodSandboxConfig) -> dict[str, object]:
    """A pod without a root container has no OCI spec; this is where scripts look for its network namespace."""
    namespaces = [{"type": kind, "path": path} for kind, path in pod.sandbox.namespaces.items()]
    return {"hostname": config.hostname, "linux": {"namespaces": namespaces}}
