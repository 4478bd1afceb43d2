"""What a sandbox config may say, field by field."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from core.errdefs import InvalidArgument
from cri import api
from cri.sandbox.check import check_config

PORT = {"container_port": 80, "host_port": 8080}


def check(**fields: Any) -> None:
    metadata = {"name": "web", "namespace": "default", "uid": "u1"}
    check_config(ParseDict({"metadata": metadata, **fields}, api.PodSandboxConfig()))


def with_linux(sysctls: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    return {"linux": {"sysctls": sysctls or {}, "security_context": {"namespace_options": options}}}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"hostname": "web-1.example"},
        {"hostname": "x" * 64},
        {"dns_config": {"servers": ["10.0.0.10", "fd00::a"], "searches": ["svc.local"], "options": ["ndots:5"]}},
        {"port_mappings": [PORT, {**PORT, "protocol": "UDP"}, {**PORT, "protocol": "SCTP", "host_ip": "fd00::1"}]},
        {"port_mappings": [{**PORT, "host_ip": "10.0.0.1"}, {**PORT, "host_ip": "10.0.0.2", "container_port": 81}]},
        {"port_mappings": [{"container_port": 80}, PORT, PORT]},
        with_linux({"net.ipv4.ip_local_port_range": "1024 65000", "net/ipv4/conf/eth0.100/forwarding": "1"}),
        with_linux({"kernel.shm_rmid_forced": "1", "kernel.msgmax": "8192", "fs.mqueue.msg_max": "5"}),
        with_linux({"kernel.domainname": "example"}),
        with_linux(network="NODE", pid="NODE", ipc="NODE"),
        with_linux(pid="CONTAINER"),
    ],
)
def test_what_makes_sense_is_accepted(fields: dict[str, Any]) -> None:
    check(**fields)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"metadata": {"name": ""}}, "metadata with a name"),
        ({"metadata": {"name": "a\nb"}}, "metadata.name .* control character"),
        ({"metadata": {"name": "a", "uid": "u\x00"}}, "metadata.uid .* control character"),
        ({"hostname": "x" * 65}, "hostname"),
        ({"hostname": "../x"}, "hostname"),
        ({"hostname": "a b"}, "hostname"),
        ({"hostname": "a\n127.0.0.1 b"}, "hostname .* control character"),
        ({"labels": {"k": "v" * 4096}}, "labels"),
        ({"dns_config": {"servers": ["10.0.0.1\noptions x"]}}, "dns_config.servers .* control character"),
        ({"dns_config": {"searches": ["a\rb"]}}, "dns_config.searches .* control character"),
        ({"dns_config": {"options": ["ndots:5\nnameserver 6.6.6.6"]}}, "dns_config.options .* control character"),
        ({"port_mappings": [{**PORT, "protocol": 7}]}, "protocol 7 is not known"),
        ({"port_mappings": [{**PORT, "host_port": 65536}]}, "want ports from 0 to 65535"),
        ({"port_mappings": [{**PORT, "container_port": -1}]}, "want ports from 0 to 65535"),
        ({"port_mappings": [{"host_port": 8080}]}, "want the port in the pod"),
        ({"port_mappings": [{**PORT, "host_ip": "10.0.0"}]}, "host_ip '10.0.0' is no address"),
        ({"port_mappings": [PORT, {**PORT, "container_port": 81}]}, "leads to 80 already"),
        (with_linux({"net.ipv4.ip_forward": "1"}, network="NODE"), "does not belong to a namespace"),
        (with_linux({"kernel.shmmax": "1"}, ipc="NODE"), "does not belong to a namespace"),
        (with_linux({"kernel.hostname": "x"}, network="NODE"), "does not belong to a namespace"),
        (with_linux({"vm.swappiness": "1"}), "does not belong to a namespace"),
        (with_linux({"kernel.core_pattern": "|/x"}), "does not belong to a namespace"),
        (with_linux({"fs.file-max": "1"}), "does not belong to a namespace"),
        (with_linux({"kernel.shm_rmid_forced": "1+net.ipv4.ip_forward=1\n"}), "control character"),
        (with_linux({"net.ipv4..ip_forward": "1"}), "malformed name"),
        (with_linux({"net/../kernel/core_pattern": "x"}), "malformed name"),
        (with_linux({"net": "1"}), "malformed name"),
        (with_linux({"net.ipv4.ip_forward": " 1"}), "malformed name"),
        (with_linux(network="CONTAINER"), "network: a sandbox's is POD or NODE"),
        (with_linux(network="TARGET"), "network: a sandbox's is POD or NODE"),
        (with_linux(ipc="CONTAINER"), "ipc: a sandbox's is POD or NODE"),
        (with_linux(ipc=9), "ipc: a sandbox's is POD or NODE"),
        (with_linux(pid="TARGET", target_id="x"), "pid: a sandbox's is POD, CONTAINER or NODE"),
        (with_linux(pid=9), "pid: a sandbox's is POD, CONTAINER or NODE"),
    ],
)
def test_what_makes_none_is_refused_by_name(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        check(**fields)
