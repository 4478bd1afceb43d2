"""The user's terminal or pipes, and the streams of a process in a container."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import sys
from collections.abc import Callable

import click

from cri.cli.channels import BACKLOG, READ, Channels
from cri.cli.terminal import raw, resizes, size_of

PROTOCOL = "v5.channel.k8s.io"
STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)


Write = Callable[[str, bytes], None]
"""Of a stream's name and of what came there."""


def write_through(stream: str, data: bytes) -> None:
    """To our own stream of that name, at once."""
    ours = sys.stdout.buffer if stream == "stdout" else sys.stderr.buffer
    ours.write(data)
    ours.flush()


def converse(url: str, *, stdin: bool, terminal: bool, write: Write = write_through) -> int:
    """Carry our streams to and from the process behind `url` until it ends; its exit code.

    `terminal`: it has one, and ours, if we have one, becomes its screen and keyboard. Raises ClickException.
    """
    channels = Channels(url, PROTOCOL)
    with contextlib.ExitStack() as undo:
        undo.callback(channels.close)
        ours = sys.stdin.fileno() if stdin else None
        resized = None
        if terminal and ours is not None and os.isatty(ours):
            undo.enter_context(raw(ours))
            resized = undo.enter_context(resizes())
            channels.send(RESIZE, size_of(ours))
        return _exit_code(_Conversation(channels, ours, resized, write).run())


class _Conversation:
    def __init__(
        self, channels: Channels, stdin: int | None, resized: socket.socket | None, write: Write
    ) -> None:
        self._channels = channels
        self._stdin = stdin
        self._resized = resized
        self._write = write
        self._error = b""

    def run(self) -> bytes:
        """Until the server ends it; what came on the error channel."""
        while not self._channels.closed:
            self._channels.flush()
            with selectors.SelectSelector() as selector:  # files, too, can be standard input
                self._register(selector)
                for key, _ in selector.select():
                    self._ready(key.fileobj)
        return self._error

    def _register(self, selector: selectors.BaseSelector) -> None:
        waiting = self._channels.waiting
        selector.register(self._channels, selectors.EVENT_READ | (selectors.EVENT_WRITE if waiting else 0))
        if self._stdin is not None and waiting < BACKLOG:
            selector.register(self._stdin, selectors.EVENT_READ)
        if self._resized:
            selector.register(self._resized, selectors.EVENT_READ)

    def _ready(self, what: object) -> None:
        if what is self._channels:
            for channel, data in self._channels.receive():
                self._received(channel, data)
        elif what is self._resized and self._resized and self._stdin is not None:
            self._resized.recv(READ)
            self._channels.send(RESIZE, size_of(self._stdin))
        elif self._stdin is not None:
            data = os.read(self._stdin, READ)
            if data:
                self._channels.send(STDIN, data)
            else:
                self._channels.finish(STDIN)
                self._stdin = None

    def _received(self, channel: int, data: bytes) -> None:
        if channel == ERROR:
            self._error += data
        elif channel in (STDOUT, STDERR):
            self._write("stdout" if channel == STDOUT else "stderr", data)


def _exit_code(error: bytes) -> int:
    """From a metav1.Status. Raises ClickException when it tells none: the process could not be run or was cut off."""
    try:
        status = json.loads(error)
    except ValueError:
        raise click.ClickException("the stream was cut off: see the daemon's log") from None
    if status.get("status") == "Success":
        return 0
    for cause in status.get("details", {}).get("causes", ()):
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise click.ClickException(str(status.get("message")))
