"""A pod as plugins see it."""

from __future__ import annotations

from core.api.nri_types_pb2 import LinuxNamespace, LinuxPodSandbox
from core.api.nri_types_pb2 import PodSandbox as PodMessage
from cri.nri.limits import from_cri
from cri.store.sandbox import PodSandbox


def pod_message(pod: PodSandbox) -> PodMessage:
    config = pod.request()
    message = PodMessage(
        id=pod.id,
        name=config.metadata.name,
        uid=config.metadata.uid,
        namespace=config.metadata.namespace,
        labels=config.labels,
        annotations=config.annotations,
        runtime_handler=pod.runtime_handler,
        pid=pod.sandbox.pid,
        ips=pod.ips,
        linux=LinuxPodSandbox(
            cgroup_parent=config.linux.cgroup_parent,
            namespaces=[LinuxNamespace(type=kind, path=path) for kind, path in pod.sandbox.namespaces.items()],
        ),
    )
    if config.linux.HasField("overhead"):
        message.linux.pod_overhead.CopyFrom(from_cri(config.linux.overhead))
    if config.linux.HasField("resources"):
        message.linux.pod_resources.CopyFrom(from_cri(config.linux.resources))
    return message
