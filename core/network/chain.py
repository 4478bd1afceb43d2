"""The plugins of a network, run one after the other (CNI spec 1.1, section 3)."""

from __future__ import annotations

from typing import Any

import msgspec

from core.errdefs import CrispError
from core.log import get_logger
from core.network.attachments import Attachment, Interface
from core.network.conflist import CHECK_SINCE, GC_SINCE, STATUS_SINCE, NetworkConfig, PluginConfig
from core.network.plugin import Call, Plugins
from core.network.result import check_result

log = get_logger(__name__)


async def add(plugins: Plugins, attachment: Attachment, interface: Interface) -> bytes:
    """Run ADD through the chain; return the last plugin's result.

    Stops at the first plugin that fails, with what `Plugins.run` raises: DEL must follow.
    """
    result = b""
    call = _call("ADD", attachment, interface, attachment.netns)
    for plugin in interface.network.plugins:
        result = await plugins.run(plugin.type, call, _request(attachment, interface.network, plugin, result))
        check_result(result, f"CNI plugin {plugin.type}")
    return result


async def delete(plugins: Plugins, attachment: Attachment, interface: Interface, netns: str) -> None:
    """Run DEL through the chain, last plugin first; `netns` is "" when it is gone.

    Stops at the first plugin that fails, as the spec says; may be called again.
    """
    call = _call("DEL", attachment, interface, netns)
    for plugin in reversed(interface.network.plugins):
        await plugins.run(plugin.type, call, _request(attachment, interface.network, plugin, interface.result))


async def check(plugins: Plugins, attachment: Attachment, interface: Interface) -> None:
    """Ask each plugin whether the attachment is as it made it; raises what `Plugins.run` raises when not."""
    if interface.network.disable_check or not interface.network.speaks(CHECK_SINCE):
        return
    call = _call("CHECK", attachment, interface, attachment.netns)
    for plugin in interface.network.plugins:
        await plugins.run(plugin.type, call, _request(attachment, interface.network, plugin, interface.result))


async def status(plugins: Plugins, network: NetworkConfig) -> None:
    """Ask each plugin whether it could ADD; raises what `Plugins.run` raises when not."""
    if network.speaks(STATUS_SINCE):
        for plugin in network.plugins:
            await plugins.run(plugin.type, Call(command="STATUS"), network.request(plugin, {}))


async def collect(plugins: Plugins, network: NetworkConfig, valid: list[dict[str, str]]) -> None:
    """Let each plugin drop what belongs to no attachment in `valid`; failures are logged, and the rest goes on."""
    if network.disable_gc or not network.speaks(GC_SINCE):
        return
    for plugin in network.plugins:
        request = network.request(plugin, {"cni.dev/valid-attachments": valid})
        try:
            await plugins.run(plugin.type, Call(command="GC"), request)
        except CrispError as exc:
            log.warning("garbage collection failed", network=network.name, error=exc)


def _call(command: str, attachment: Attachment, interface: Interface, netns: str) -> Call:
    return Call(
        command=command,
        container_id=attachment.pod_id,
        netns=netns,
        ifname=interface.ifname,
        args=attachment.args,
    )


def _request(attachment: Attachment, network: NetworkConfig, plugin: PluginConfig, result: bytes) -> bytes:
    wanted = {name: value for name, value in attachment.capability_args.items() if name in plugin.capabilities}
    inserted: dict[str, Any] = {"runtimeConfig": wanted} if wanted else {}
    if result:
        inserted["prevResult"] = msgspec.Raw(result)
    return network.request(plugin, inserted)
