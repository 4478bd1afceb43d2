"""What this node says of itself: Version, Status, RuntimeConfig."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from importlib.metadata import version as distribution_version
from typing import Any

from core.network.network import Network, NetworkStatus
from core.network.podcidr import PodRanges, write_network
from cri import api

RUNTIME_NAME = "crisp"
API_VERSION = "v1"
KUBELET_API_VERSION = "0.1.0"
"""VersionResponse.version: the version of the kubelet's own API, which has never been another."""


@functools.cache  # it is read from a file
def version() -> str:
    """Of this release."""
    return distribution_version("crispd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    network: Network
    ranges: PodRanges
    problems: Callable[[], Mapping[str, str]]
    """What keeps pods from running now: part to reason; empty when all is well."""
    handlers: Mapping[str, api.RuntimeHandlerFeatures]
    """By runtime handler, "" for the default; filled in while they are found out."""
    systemd_cgroup: bool
    conf_dir: str
    conf_template: str
    """Of the network that UpdateRuntimeConfig writes; "" leaves it to the cluster's network plugin."""
    filesystem: Executor
    info: Mapping[str, Any]
    """For verbose Status: the configuration and what was found on the node."""

    def version(self, _request: api.VersionRequest) -> api.VersionResponse:
        return api.VersionResponse(
            version=KUBELET_API_VERSION,
            runtime_name=RUNTIME_NAME,
            runtime_version=version(),
            runtime_api_version=API_VERSION,
        )

    def status(self, request: api.StatusRequest) -> api.StatusResponse:
        network = self.network.status()
        conditions = [
            self._runtime_condition(),
            api.RuntimeCondition(
                type="NetworkReady", status=network.ready, reason=network.reason, message=network.message
            ),
        ]
        return api.StatusResponse(
            status=api.RuntimeStatus(conditions=conditions),
            runtime_handlers=[api.RuntimeHandler(name=name, features=has) for name, has in self.handlers.items()],
            features=api.RuntimeFeatures(
                supplemental_groups_policy=True,
                user_namespaces_host_network=any(has.user_namespaces for has in self.handlers.values()),
                mount_options=True,
            ),
            info=self._info(network) if request.verbose else None,
        )

    def _info(self, network: NetworkStatus) -> dict[str, str]:
        """The configuration, and what containerd's key tells of CNI's."""
        shown = {key: json.dumps(value) for key, value in self.info.items()}
        return {**shown, "lastCNILoadStatus": "OK" if network.ready else network.message}

    def runtime_config(self) -> api.RuntimeConfigResponse:
        driver = api.CgroupDriver.SYSTEMD if self.systemd_cgroup else api.CgroupDriver.CGROUPFS
        return api.RuntimeConfigResponse(linux=api.LinuxRuntimeConfiguration(cgroup_driver=driver))

    async def update_runtime_config(self, request: api.UpdateRuntimeConfigRequest) -> None:
        """Take the node's pod ranges. They are kept in files, the network that is written for them, too."""
        cidrs = [one.strip() for one in request.runtime_config.network_config.pod_cidr.split(",") if one.strip()]
        if cidrs:
            await asyncio.get_running_loop().run_in_executor(self.filesystem, self._take_ranges, cidrs)

    def _take_ranges(self, cidrs: Sequence[str]) -> None:
        self.ranges.put(cidrs)
        if self.conf_template:
            write_network(self.conf_template, self.conf_dir, cidrs)

    def _runtime_condition(self) -> api.RuntimeCondition:
        problems = self.problems()
        message = "; ".join(f"{part}: {reason}" for part, reason in problems.items())
        reason = "RuntimeNotReady" if problems else ""
        return api.RuntimeCondition(type="RuntimeReady", status=not problems, reason=reason, message=message)
