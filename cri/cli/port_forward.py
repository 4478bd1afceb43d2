"""crispctl port-forward."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading

import click

from cri import api
from cri.cli.channels import BACKLOG, READ, Channels
from cri.cli.client import Client
from cri.cli.names import find_pod
from cri.cli.output import json_option, print_json, printable

PROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = 0, 1
_HEAD = 2
"""Bytes with which the server begins each channel: the port."""


@click.command("port-forward")
@click.option("--listen", default="127.0.0.1", show_default=True, help="address to listen at")
@json_option
@click.argument("pod")
@click.argument("port", metavar="[LOCAL:]PORT")
@click.pass_obj
def port_forward(client: Client, listen: str, as_json: bool, pod: str, port: str) -> None:
    """Pass connections to a local port on to a port of a pod, until interrupted. LOCAL 0 takes any that is free."""
    found = find_pod(client, pod)
    local, remote = _ports(port)
    try:
        server = socket.create_server((listen, local))
    except OSError as error:
        raise click.ClickException(f"cannot listen at {listen}:{local}: {error.strerror}") from None
    with server:
        bound = server.getsockname()[1]
        if as_json:
            print_json({"address": listen, "port": bound, "pod": found.id, "podPort": remote})
        else:
            click.echo(f"{listen}:{bound} is port {remote} of pod {found.metadata.name}")
        request = api.PortForwardRequest(pod_sandbox_id=found.id, port=[remote])
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_serve, args=(client, connection, request), daemon=True).start()


def _ports(text: str) -> tuple[int, int]:
    local, _, remote = text.rpartition(":")
    if not remote.isdecimal() or not 0 < int(remote) < 1 << 16 or not (local or remote).isdecimal():
        raise click.BadParameter(f"{text!r}: want PORT or LOCAL:PORT")
    return int(local or remote), int(remote)


def _serve(client: Client, connection: socket.socket, request: api.PortForwardRequest) -> None:
    with connection:
        try:
            channels = Channels(client.call("PortForward", request).url, PROTOCOL)
        except click.ClickException as error:
            click.echo(f"Error: {error.format_message()}", err=True)
            return
        with contextlib.closing(channels), contextlib.suppress(ConnectionError):
            if said := _relay(channels, connection):
                click.echo(f"Error: {printable(said.decode(errors='replace'))}", err=True)


def _relay(channels: Channels, connection: socket.socket) -> bytes:
    """Until either side ends; what the server says went wrong."""
    heads = {DATA: _HEAD, ERROR: _HEAD}
    errors = b""
    while not channels.closed:
        channels.flush()
        waiting = channels.waiting
        with selectors.DefaultSelector() as selector:
            selector.register(channels, selectors.EVENT_READ | (selectors.EVENT_WRITE if waiting else 0))
            if waiting < BACKLOG:
                selector.register(connection, selectors.EVENT_READ)
            ready = {key.fileobj for key, _ in selector.select()}
        if channels in ready:
            for channel, data in channels.receive():
                head = min(heads[channel], len(data))
                heads[channel] -= head
                if channel == ERROR:
                    errors += data[head:]
                else:
                    connection.sendall(data[head:])
        if connection in ready:
            data = connection.recv(READ)
            if not data:
                channels.drain()
                break  # both ways: the channels have no word for the end of one
            channels.send(DATA, data)
    return errors
