"""Which container, pod or image the user means: by id, by the start of an id, or by name.

An id wins over the start of one, that over a name. Of several with one name that are attempts at the same thing (a
container of one pod, a pod of one namespace) the newest is meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import click

from cri import api
from cri.cli.client import Client
from cri.cli.output import printable, short

Item = TypeVar("Item", bound=api.Container | api.PodSandbox)


class Missing(click.ClickException):
    """Nothing has that id or name."""


class Ambiguous(click.ClickException):
    """Several things have that name, or an id that begins so."""


def find_container(client: Client, reference: str) -> api.Container:
    """Raises Missing, Ambiguous."""
    listed = _containers(client)
    return _only("container", reference, _by_id(listed, reference) or _containers_named(listed, reference))


def find_previous(client: Client, container: api.Container) -> api.Container:
    """The one that `container` replaced in its pod. Raises Missing."""
    named = [one for one in _containers(client) if one.metadata.name == container.metadata.name]
    pod, before = container.pod_sandbox_id, container.created_at
    older = [one for one in named if one.pod_sandbox_id == pod and one.created_at < before]
    if not older:
        raise Missing(f"container {short(container.id)} is the first of its name in its pod")
    return max(older, key=lambda one: one.created_at)


def find_pod(client: Client, reference: str) -> api.PodSandbox:
    """A name is `name` or `namespace/name`. Raises Missing, Ambiguous."""
    listed = _pods(client)
    return _only("pod", reference, _by_id(listed, reference) or _pods_named(listed, reference))


def find(client: Client, reference: str) -> api.Container | api.PodSandbox:
    """A pod's name wins over a container's: `crispctl run --name web` gives it to both. Raises Missing, Ambiguous."""
    pods, containers = _pods(client), _containers(client)
    everything: list[api.Container | api.PodSandbox] = [*pods, *containers]
    if found := _by_id(everything, reference):
        return _only("container or pod", reference, found)
    if named := _pods_named(pods, reference):
        return _only("pod", reference, named)
    return _only("container or pod", reference, _containers_named(containers, reference))


def find_image(client: Client, reference: str) -> api.Image:
    """Raises Missing."""
    response = client.call("ImageStatus", api.ImageStatusRequest(image=api.ImageSpec(image=reference)))
    if not response.HasField("image"):
        raise Missing(f"there is no image {printable(reference)!r}")
    image: api.Image = response.image
    return image


def _containers(client: Client) -> list[api.Container]:
    return list(client.call("ListContainers", api.ListContainersRequest()).containers)


def _pods(client: Client) -> list[api.PodSandbox]:
    return list(client.call("ListPodSandbox", api.ListPodSandboxRequest()).items)


def _by_id(items: Sequence[Item], reference: str) -> list[Item]:
    exact = [item for item in items if item.id == reference]
    return exact or [item for item in items if reference and item.id.startswith(reference)]


def _containers_named(containers: Sequence[api.Container], name: str) -> list[api.Container]:
    """The newest of each pod."""
    named = [one for one in containers if one.metadata.name == name]
    return list({one.pod_sandbox_id: one for one in sorted(named, key=lambda one: one.created_at)}.values())


def _pods_named(pods: Sequence[api.PodSandbox], name: str) -> list[api.PodSandbox]:
    """The newest of each namespace."""
    named = [one for one in pods if name in (one.metadata.name, f"{one.metadata.namespace}/{one.metadata.name}")]
    return list({one.metadata.namespace: one for one in sorted(named, key=lambda one: one.created_at)}.values())


def _only(kind: str, reference: str, found: Sequence[Item]) -> Item:
    if not found:
        raise Missing(f"there is no {kind} {printable(reference)!r}")
    if len(found) > 1:
        ids = ", ".join(short(item.id) for item in found)
        raise Ambiguous(f"{printable(reference)!r} can be any of {ids}: give more of the id")
    return found[0]
