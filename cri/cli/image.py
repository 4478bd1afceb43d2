"""crispctl image import, export and tag."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import IO

import click
import grpc

from core.api import images_service_pb2 as api
from core.api.descriptor_pb2 import Descriptor as WireDescriptor
from cri.cli.archive.blobs import Store
from cri.cli.archive.documents import Descriptor
from cri.cli.archive.load import Named, load
from cri.cli.archive.save import save
from cri.cli.client import CallFailed, Client
from cri.cli.containerd import Containerd
from cri.cli.names import find_image
from cri.cli.output import json_option, print_json

LIFE = timedelta(hours=24)
"""How long what an import leaves stays when it dies: long enough for the largest one."""


@click.group()
def image() -> None:
    """Bring images in and out without a registry, and name them."""


@image.command("import")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--name", default="", help="for the image in an archive that gives it none, or another one")
@json_option
@click.pass_obj
def import_image(client: Client, file: str, name: str, as_json: bool) -> None:
    """Import an OCI layout or docker save archive (`-`: standard input), verified as by a pull; print the names."""
    containerd = Containerd(client)
    with _source(file) as archive, containerd.lease((datetime.now(UTC) + LIFE).isoformat()):
        names = [_name(containerd, one) for one in load(archive, Store(containerd), name)]
    _tell(names, as_json)


@image.command("export")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@json_option
@click.pass_obj
def export_images(client: Client, file: str, images: tuple[str, ...], as_json: bool) -> None:
    """Write images to an OCI layout archive (`-`: standard output), which `docker load` reads; print their names."""
    containerd = Containerd(client)
    named = [one for reference in images for one in _find(client, containerd, reference)]
    with _sink(file) as archive:
        save(archive, Store(containerd), named)
    if file != "-":
        _tell([one.name for one in named], as_json)


@image.command("tag")
@click.argument("source", metavar="IMAGE")
@click.argument("name", metavar="NAME")
@json_option
@click.pass_obj
def tag_image(client: Client, source: str, name: str, as_json: bool) -> None:
    """Give an image one more name, which another image loses that had it."""
    containerd = Containerd(client)
    target = _find(client, containerd, source)[0].target
    _tell([_name(containerd, Named(name=name, target=target))], as_json)


def _tell(names: list[str], as_json: bool) -> None:
    if as_json:
        print_json(names)
    else:
        click.echo("\n".join(names))


def _name(containerd: Containerd, image: Named) -> str:
    """Make `image.name` stand for `image.target`, whatever it stood for; the full name."""
    target = WireDescriptor(media_type=image.target.media_type, digest=image.target.digest, size=image.target.size)
    wanted = api.Image(name=image.name, target=target)
    try:
        created = containerd.call("Images.Create", api.CreateImageRequest(image=wanted), timeout=None)
    except CallFailed as error:
        if error.code is not grpc.StatusCode.ALREADY_EXISTS:
            raise
        request = api.UpdateImageRequest(image=wanted)
        request.update_mask.paths.append("target")
        created = containerd.call("Images.Update", request, timeout=None)
    return str(created.image.name)


def _find(client: Client, containerd: Containerd, reference: str) -> list[Named]:
    """The image by its name, or under all its tags by its id. Raises Missing."""
    found = find_image(client, reference)
    every = containerd.call("Images.List", api.ListImagesRequest()).images
    targets = {one.name: one.target for one in every}
    names = [reference] if reference in targets else found.repo_tags or found.repo_digests[:1]
    named = []
    for name in names:
        target = targets[name]
        descriptor = Descriptor(media_type=target.media_type, digest=target.digest, size=target.size)
        named.append(Named(name=name, target=descriptor))
    if not named:
        raise click.ClickException(f"image {found.id} has no name: pull it again")
    return named


@contextlib.contextmanager
def _source(path: str) -> Iterator[IO[bytes]]:
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below; its errors alone are about the path
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from error
    with file:
        yield file


@contextlib.contextmanager
def _sink(path: str) -> Iterator[IO[bytes]]:
    """A file that is there whole or not at all."""
    if path == "-":
        yield sys.stdout.buffer
        return
    partial = f"{path}.partial"
    try:
        with open(partial, "wb") as file:
            yield file
        os.replace(partial, path)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
