"""crispctl df."""

from __future__ import annotations

import os
from collections.abc import Iterator

import click

from cri import api
from cri.cli.client import Client
from cri.cli.output import json_option, print_json, print_table, size, to_dict


@click.command()
@json_option
@click.pass_obj
def df(client: Client, as_json: bool) -> None:
    """Show what images and containers take on disk, and what is left there."""
    response = client.call("ImageFsInfo", api.ImageFsInfoRequest())
    if as_json:
        return print_json(to_dict(response))
    return print_table(("OF", "WHERE", "USED", "INODES", "FREE"), list(_rows(response)))


def _rows(response: api.ImageFsInfoResponse) -> Iterator[tuple[str, ...]]:
    for kind, usages in (("images", response.image_filesystems), ("containers", response.container_filesystems)):
        for one in usages:
            path = one.fs_id.mountpoint
            yield kind, path, size(one.used_bytes.value), str(one.inodes_used.value), _free(path)


def _free(path: str) -> str:
    try:
        found = os.statvfs(path)
    except OSError:  # the daemon has a mount namespace of its own, or the user may not look
        return "-"
    return size(found.f_bavail * found.f_frsize)
