"""The command line's root: where the daemon is, and which module has which command."""

from __future__ import annotations

import importlib

import click

from cri.cli.client import Client

DEFAULT_ADDRESS = "unix:///run/crisp/crisp.sock"

COMMANDS = {
    "attach": "cri.cli.attach:attach",
    "content": "cri.cli.content:content",
    "df": "cri.cli.disk:df",
    "doctor": "cri.cli.doctor:doctor",
    "events": "cri.cli.events:events",
    "exec": "cri.cli.execute:execute",
    "image": "cri.cli.image:image",
    "images": "cri.cli.images:images",
    "info": "cri.cli.inspection:info",
    "inspect": "cri.cli.inspection:inspect",
    "logs": "cri.cli.logs:logs",
    "port-forward": "cri.cli.port_forward:port_forward",
    "pods": "cri.cli.lists:pods",
    "ps": "cri.cli.lists:ps",
    "pull": "cri.cli.pull:pull",
    "rm": "cri.cli.lifecycle:remove",
    "rmi": "cri.cli.images:remove_image",
    "rmp": "cri.cli.lifecycle:remove_pods",
    "run": "cri.cli.run:run",
    "stats": "cri.cli.stats:stats",
    "stop": "cri.cli.lifecycle:stop",
    "stopp": "cri.cli.lifecycle:stop_pods",
    "top": "cri.cli.top:top",
    "trace": "cri.cli.trace:trace",
    "update": "cri.cli.update:update",
}
"""Command → module:function. A module is imported when its command is used: rich alone takes 60 ms."""


class _Commands(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, function = COMMANDS[name].partition(":")
        command = getattr(importlib.import_module(module), function)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--address",
    envvar="CRISP_ADDRESS",
    default=DEFAULT_ADDRESS,
    show_default=True,
    show_envvar=True,
    help="unix socket of the daemon",
)
@click.version_option(package_name="crispd", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context, address: str) -> None:
    """Work with the pods, containers and images of this node's Crisp.

    Containers and pods are named by id, by the start of an id, or by name. On a Kubernetes node the kubelet stops and
    removes what it did not ask for.

    Exit codes: 0 done, 1 failed, 2 not understood; of `run` and `exec` the command's own.
    """
    context.obj = context.with_resource(Client(address))
