"""crispctl pull, and the bars that show how far a pull is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Self, TypedDict

import click
import grpc
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from cri import api
from cri.cli.client import CallFailed, Client
from cri.cli.output import json_option, print_json, printable, short, size

POLL = 0.1
"""Seconds between two looks at a pull's progress."""


class Layer(TypedDict):
    """An element of the list that a verbose ImageStatus has in info key "progress" while a pull runs."""

    digest: str
    size: int
    offset: int
    """Compressed bytes that are here."""
    phase: str
    rate: int
    """Bytes in the last second."""
    host: str
    """That sends them, "" when unknown."""


@click.command()
@click.argument("image")
@json_option
@click.pass_obj
def pull(client: Client, image: str, as_json: bool) -> None:
    """Pull an image and print its id."""
    image_id = pull_image(client, image, Console(stderr=True))
    if as_json:
        print_json({"image": image, "id": image_id})
    else:
        click.echo(image_id)


def pull_image(client: Client, image: str, console: Console) -> str:
    """Pull `image`, with bars when `console` is a terminal; return its id. Takes as long as it takes."""
    call = client.begin("PullImage", api.PullImageRequest(image=api.ImageSpec(image=image)))
    try:
        if console.is_terminal:
            with Bars(image, console) as bars:
                while not _ended(call):
                    bars.show(layers(client, image))
        return str(client.result(call).image_ref)
    finally:
        call.cancel()  # interrupted; of no effect on a call that has ended


def _ended(call: grpc.Future[Any]) -> bool:
    """Whether `call` ends within POLL seconds."""
    try:
        call.exception(timeout=POLL)
    except grpc.FutureTimeoutError:
        return False
    return True


def layers(client: Client, image: str) -> list[Layer]:
    """The layers of an image that is being pulled; none before it is resolved, or when the daemon does not tell."""
    request = api.ImageStatusRequest(image=api.ImageSpec(image=image), verbose=True)
    try:
        found: list[Layer] = json.loads(client.call("ImageStatus", request).info.get("progress", "[]"))
    except CallFailed:  # the pull's own failure is the one to tell
        return []
    return found


def _pace(layer: Layer) -> str:
    """What is being done with it; of one that comes also how fast, and from where."""
    if not layer.get("host"):
        return layer["phase"]
    return printable(f"{layer['phase']} {size(layer['rate'])}/s from {layer['host']}")


class Bars:
    """A bar for the image, which pulses while its size is unknown, and one for each of its layers."""

    def __init__(self, image: str, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TextColumn("{task.fields[phase]}", markup=False),
            console=console,
            auto_refresh=False,  # by `show`: no thread of its own
        )
        self._image = self._progress.add_task(image, total=None, phase="")
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        if failed is None:
            for task in self._progress.tasks:  # the last look was up to POLL before the end
                done = task.total or 1  # 1: it ended before there was anything to see
                self._progress.update(task.id, total=done, completed=done, phase="done", visible=bool(task.total))
        self._progress.stop()

    def show(self, now: Sequence[Layer]) -> None:
        for layer in now:
            self._progress.update(self._task(layer), completed=layer["offset"], phase=_pace(layer))
        if now:
            total, here = (sum(layer[key] for layer in now) for key in ("size", "offset"))
            self._progress.update(self._image, total=total, completed=here)
        self._progress.refresh()

    def _task(self, layer: Layer) -> TaskID:
        if layer["digest"] not in self._tasks:
            task = self._progress.add_task(short(layer["digest"]), total=layer["size"], phase="")
            self._tasks[layer["digest"]] = task
        return self._tasks[layer["digest"]]
