"""From the configuration and an open core to what the verbs of CRI work with: the one place in cri that names all."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import msgspec

from core.files.meter import Meter
from core.images.verification import Policy
from core.network.cni import CniConfig
from core.nri.nri import Greeting
from core.nri.service import NriConfig
from core.remotes.reference import Reference
from core.shims.bundle import Runtime as OciRuntime
from core.wiring.config import CoreConfig
from core.wiring.wiring import Core
from cri import api
from cri.config.config import Config, Runtime
from cri.container import status as container_status
from cri.container.bundles import Bundles
from cri.container.deps import ContainerDeps
from cri.container.exits import Exits
from cri.container.remove import remove_containers
from cri.container.spec.source import Facts
from cri.container.stop import end_containers
from cri.container.stopping import Stopping
from cri.container.streams import CriStreams
from cri.container.volumes import Volumes
from cri.events.events import Events
from cri.events.feed import Feed
from cri.image.deps import ImageDeps
from cri.node import RUNTIME_NAME, Node, version
from cri.nri.hooks import Hooks
from cri.sandbox import status as sandbox_status
from cri.sandbox.deps import SandboxDeps
from cri.sandbox.files import PodFiles
from cri.sandbox.port_forward import dial
from cri.stats.collector import Collector
from cri.stats.deps import StatsDeps
from cri.stats.layers import Layers
from cri.stats.metrics.collector import MetricsCollector
from cri.stats.tracking import Tracking
from cri.store import container as container_store
from cri.store import sandbox as sandbox_store
from cri.store.container import Container
from cri.store.locks import Locks
from cri.store.operations import Operations
from cri.store.ready import Ready
from cri.store.sandbox import PodSandbox
from cri.store.store import Store
from cri.streaming.deps import StreamingDeps
from cri.streaming.server import Listen
from cri.streaming.tls import TlsFiles


def core_config(config: Config) -> CoreConfig:
    """What the core needs of the configuration."""
    handlers = {
        name: OciRuntime(
            binary=runtime.binary,
            root=os.path.join(config.state, "runtime", name),
            systemd_cgroup=runtime.systemd_cgroup,
            infra_image=runtime.infra_image,
            shim=runtime.shim,
            snapshotter=runtime.snapshotter,
        )
        for name, runtime in all_handlers(config).items()
    }
    return CoreConfig(
        root=config.root,
        state=config.state,
        handlers=handlers,
        registry_config=config.registry.config_path,
        registry_auth=config.registry.auth_file,
        cni=CniConfig(
            conf_dir=config.cni.conf_dir, bin_dirs=tuple(config.cni.bin_dirs), max_networks=config.cni.max_networks
        ),
        builtin=config.cni.builtin,
        bridge=config.cni.bridge,
        subnet=config.cni.subnet,
        layers_at_once=config.images.max_concurrent_downloads,
        ranges_at_once=config.images.max_concurrent_ranges,
        foreign_hosts=tuple(config.images.foreign_layer_hosts),
        pinned=(*config.images.pinned, *_infra_images(config)),
        nri=_nri_config(config),
        image_policy=Policy(repositories=config.images.policy, bin_dir=config.images.verifier_dir),
    )


def _infra_images(config: Config) -> list[str]:
    """Full names of the images of root containers: the kubelet must not remove them, for it never asks for them."""
    return [str(Reference.parse(runtime.infra_image)) for runtime in config.handlers().values() if runtime.infra_image]


def _nri_config(config: Config) -> NriConfig:
    greeting = Greeting(
        runtime_name=RUNTIME_NAME,
        runtime_version=version(),
        registration_timeout=config.nri.registration_timeout,
        request_timeout=config.nri.request_timeout,
    )
    return NriConfig(
        enable=config.nri.enable,
        socket=config.nri.socket,
        plugin_dir=config.nri.plugin_dir,
        config_dir=config.nri.config_dir,
        greeting=greeting,
    )


def streaming_listen(config: Config) -> Listen:
    """Where the streaming server listens, and with what certificate."""
    streaming = config.streaming
    tls = TlsFiles(certificate=streaming.tls_cert, key=streaming.tls_key) if streaming.tls_cert else None
    return Listen(address=streaming.address, port=streaming.port, tls=tls)


def all_handlers(config: Config) -> dict[str, Runtime]:
    """All handlers, the default one also as \"\", as the kubelet names it."""
    handlers = config.handlers()
    return {"": handlers[config.default_handler()], **handlers}


def container_deps(config: Config, core: Core, operations: Operations, group: asyncio.TaskGroup) -> ContainerDeps:
    """`group` runs what follows an exit."""
    containers = Store("container", Container, container_store.list_item, core.records, core.metadata)
    sandboxes = Store("sandbox", PodSandbox, sandbox_store.list_item, core.records, core.metadata)
    bundles = Bundles(
        os.path.join(config.state, "containers"),
        core.snapshotters,
        Volumes(os.path.join(config.root, "volumes")),
    )
    return ContainerDeps(
        containers=containers,
        statuses=Ready(containers, container_status.status_of),
        sandboxes=sandboxes,
        images=core.images.store,
        verifier=core.images.verifier,
        unpack=core.images.puller.unpack,
        tasks=core.tasks,
        bundles=bundles,
        exits=Exits(containers, group),
        stopping=Stopping(),
        removing=set(),
        operations=operations,
        locks=Locks(),
        nri=Hooks(sandboxes, containers, spec=bundles.spec, executor=core.filesystem, group=group),
        zygote=core.zygote,
        handlers=all_handlers(config),
        facts=Facts.read(),
        cdi_dirs=tuple(config.cdi.spec_dirs),
        blockio_file=config.blockio.class_file,
        etc=os.path.join(config.state, "etc"),
        filesystem=core.filesystem,
        new_id=new_id,
        clock=time.time_ns,
    )


def sandbox_deps(config: Config, core: Core, containers: ContainerDeps) -> SandboxDeps:
    return SandboxDeps(
        sandboxes=containers.sandboxes,
        statuses=Ready(containers.sandboxes, sandbox_status.status_of),
        controllers=core.controllers,
        handlers=containers.handlers,
        network=core.network,
        files=PodFiles(os.path.join(config.state, "etc")),
        operations=containers.operations,
        locks=Locks(),
        nri=containers.nri,
        filesystem=core.filesystem,
        end_containers=lambda sandbox_id: end_containers(containers, sandbox_id),
        remove_containers=lambda sandbox_id: remove_containers(containers, sandbox_id),
        new_id=new_id,
        clock=time.time_ns,
    )


def events(containers: ContainerDeps, sandboxes: SandboxDeps) -> Events:
    statuses = sandboxes.statuses, containers.statuses
    return Events(sandboxes.sandboxes, containers.containers, statuses, time.time_ns, Feed())


def stats_deps(config: Config, core: Core, containers: ContainerDeps) -> StatsDeps:
    handlers = containers.handlers
    tracking = Tracking(
        containers.facts.layout,
        lambda handler: handler in handlers and handlers[handler].systemd_cgroup,
        time.monotonic_ns,
    )
    layers = Layers(Meter(time.time_ns), core.snapshotters.upper, config.root)
    return StatsDeps(
        containers=containers.containers,
        sandboxes=containers.sandboxes,
        tracking=tracking,
        layers=layers,
        collector=Collector(tracking, layers, time.time_ns),
        metrics=MetricsCollector(tracking, layers, time.time_ns),
        executor=ThreadPoolExecutor(1, "stats"),
    )


def image_deps(config: Config, core: Core, stats: StatsDeps) -> ImageDeps:
    return ImageDeps(
        images=core.images.store,
        puller=core.images.puller,
        remover=core.images.remover,
        handlers=all_handlers(config),
        filesystem=core.filesystem,
        image_root=config.root,
        space_of_images=core.images.space,
        space_of_containers=lambda: stats.layers.total(stats.containers.list()),
        clock=time.time_ns,
    )


def streaming_deps(config: Config, containers: ContainerDeps, sandboxes: SandboxDeps) -> StreamingDeps:
    return StreamingDeps(
        containers=CriStreams(containers),
        dial=partial(dial, sandboxes),
        idle_timeout=config.streaming.idle_timeout,
    )


def node(config: Config, core: Core, features: Mapping[str, api.RuntimeHandlerFeatures]) -> Node:
    return Node(
        network=core.network,
        ranges=core.ranges,
        problems=core.problems,
        handlers=features,
        systemd_cgroup=all_handlers(config)[""].systemd_cgroup,
        conf_dir=config.cni.conf_dir,
        conf_template=config.cni.conf_template,
        filesystem=core.filesystem,
        info={"config": msgspec.to_builtins(config), "root": config.root, "state": config.state},
    )


def new_id() -> str:
    """64 hex digits, as both peers name sandboxes and containers."""
    return secrets.token_hex(32)
