"""A pull can be watched while it runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

import grpc
import pytest

from core.api import crisp_events_pb2 as events
from core.api import events_service_pb2 as service
from core.api.types_pb2 import Envelope
from cri import api
from rig.cri_client import CriClient
from rig.hostile_registry import held_up, hostile_registry
from rig.images import build, files, layer, sha256
from rig.patience import patient

if TYPE_CHECKING:
    from conftest import Node

pytestmark = pytest.mark.root


async def test_each_step_is_an_event_and_in_the_verbose_status(node: Node, client: CriClient) -> None:
    built = build([layer(files({"a": os.urandom(1 << 20)}))])
    digest = sha256(built.layers[0].data)
    address = f"unix:{node.base}/run/crisp.sock"
    async with hostile_registry() as registry, grpc.aio.insecure_channel(address) as channel:
        name = registry.add(built, "test/progress", "1")
        registry.on(f"/blobs/{digest}", held_up(after=1 << 19), times=1)
        subscription = subscribe(channel)
        await subscription.initial_metadata()
        request = api.PullImageRequest(image=api.ImageSpec(image=name))
        pulling = asyncio.create_task(asyncio.to_thread(client.PullImage, request))
        told = await until(subscription, lambda event: event.layers and event.layers[0].offset == 1 << 19)
        (one,) = told.layers
        assert (told.image, one.digest, one.phase, one.size) == (name, digest, "downloading", len(built.layers[0].data))
        assert one.host == registry.host
        status = api.ImageStatusRequest(image=api.ImageSpec(image=name), verbose=True)
        info = await asyncio.to_thread(client.ImageStatus, status)
        (shown,) = json.loads(info.info["progress"])
        assert (shown["offset"], shown["host"]) == (1 << 19, registry.host)
        registry.released.set()
        await pulling
        await until(subscription, lambda event: event.ended)
        await asyncio.to_thread(node.end, signal.SIGTERM)
        assert await subscription.read() is grpc.aio.EOF


def subscribe(channel: grpc.aio.Channel) -> grpc.aio.UnaryStreamCall[service.SubscribeRequest, Envelope]:
    call = channel.unary_stream(
        "/containerd.services.events.v1.Events/Subscribe",
        request_serializer=service.SubscribeRequest.SerializeToString,
        response_deserializer=Envelope.FromString,
    )
    request = service.SubscribeRequest(filters=['topic=="/images/pull"'])
    return call(request, metadata=[("containerd-namespace", "k8s.io")])


async def until(subscription, condition) -> events.PullProgress:
    async with asyncio.timeout(patient(30)):
        while True:
            envelope = await subscription.read()
            assert (envelope.topic, envelope.namespace) == ("/images/pull", "k8s.io")
            assert envelope.event.type_url == "crisp.events.v1.PullProgress"
            event = events.PullProgress.FromString(envelope.event.value)
            if condition(event):
                return event
