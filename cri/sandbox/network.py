"""What a pod asks of the network, from its config."""

from __future__ import annotations

from core.network.network import PodNetwork, PortMapping
from cri import api
from cri.sandbox.check import PROTOCOLS


def pod_network(sandbox_id: str, netns: str, config: api.PodSandboxConfig) -> PodNetwork:
    return PodNetwork(
        id=sandbox_id,
        name=config.metadata.name,
        namespace=config.metadata.namespace,
        uid=config.metadata.uid,
        netns=netns,
        port_mappings=tuple(_mapping(port) for port in config.port_mappings if port.host_port > 0),
        annotations=dict(config.annotations),
        cgroup_parent=config.linux.cgroup_parent,
        dns_servers=tuple(config.dns_config.servers),
        dns_searches=tuple(config.dns_config.searches),
        dns_options=tuple(config.dns_config.options),
    )


def _mapping(port: api.PortMapping) -> PortMapping:
    return PortMapping(
        protocol=PROTOCOLS[port.protocol],
        container_port=port.container_port,
        host_port=port.host_port,
        host_ip=port.host_ip,
    )
