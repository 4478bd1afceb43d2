"""crispctl images, crispctl rmi."""

from __future__ import annotations

import click

from cri import api
from cri.cli.client import Client
from cri.cli.names import find_image
from cri.cli.output import json_option, print_json, print_table, quiet_option, short, size, to_dict
from cri.cli.several import each


@click.command()
@quiet_option
@json_option
@click.pass_obj
def images(client: Client, quiet: bool, as_json: bool) -> None:
    """List images, one line per name."""
    response = client.call("ListImages", api.ListImagesRequest())
    if as_json:
        return print_json(to_dict(response))
    if quiet:
        return click.echo("".join(f"{image.id}\n" for image in response.images), nl=False)
    return print_table(
        ("IMAGE", "ID", "SIZE", "PINNED"),
        sorted(
            (name, short(image.id), size(image.size), "yes" if image.pinned else "")
            for image in response.images
            for name in (image.repo_tags or image.repo_digests or ["<none>"])
        ),
    )


@click.command("rmi")
@click.argument("image", nargs=-1, required=True)
@json_option
@click.pass_obj
def remove_image(client: Client, image: tuple[str, ...], as_json: bool) -> None:
    """Remove images with all their names."""

    def remove(reference: str) -> str:
        found = find_image(client, reference)
        client.call("RemoveImage", api.RemoveImageRequest(image=api.ImageSpec(image=found.id)))
        return found.id

    each(image, remove, as_json)
