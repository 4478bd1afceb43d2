"""The plugins of a network, run one after the other (CNI spec 1.1, section 3)."""

from __future__ import annotations

from typing import Any

import msgspec

from core.errdefs import CrispError, InvalidArgument
from core.log import get_logger
from core.network.attachments import Attachment, Interface
from core.network.capabilities import FIRST_ONLY
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
        result = await plugins.run(plugin.type, call, _request(attachment, interface, plugin, result))
        check_result(result, f"CNI plugin {plugin.type}")
    return result


async def delete(plugins: Plugins, attachment: Attachment, interface: Interface, netns: str) -> None:
    """Run DEL through the chain, last plugin first; `netns` is "" when it is gone.

    Stops at the first plugin that fails, as the spec says; may be called again.
    """
    call = _call("DEL", attachment, interface, netns)
    for plugin in reversed(interface.network.plugins):
        await plugins.run(plugin.type, call, _request(attachment, interface, plugin, interface.result))


async def check(plugins: Plugins, attachment: Attachment, interface: Interface) -> None:
    """Ask each plugin whether the attachment is as it made it; raises what `Plugins.run` raises when not."""
    if interface.network.disable_check or not interface.network.speaks(CHECK_SINCE):
        return
    call = _call("CHECK", attachment, interface, attachment.netns)
    for plugin in interface.network.plugins:
        await plugins.run(plugin.type, call, _request(attachment, interface, plugin, interface.result))


async def negotiate(plugins: Plugins, network: NetworkConfig) -> NetworkConfig:
    """The network in the highest of its versions that all its plugins speak (spec section 1, "Version considerations").

    Where there is a choice the plugins are asked; one that does not answer is taken to speak all. Raises
    InvalidArgument, with the plugin that speaks none of what the others do.
    """
    for type_ in dict.fromkeys(plugin.type for plugin in network.plugins):
        if len(network.versions) > 1 and (spoken := await _versions(plugins, type_, network.version)):
            try:
                network = network.among(spoken)
            except InvalidArgument as exc:
                raise InvalidArgument(f"CNI plugin {type_} speaks {', '.join(sorted(spoken))}, not {exc}") from exc
    return network.among({network.version})


async def _versions(plugins: Plugins, type_: str, version: str) -> frozenset[str]:
    try:
        answer = await plugins.run(type_, Call(command="VERSION"), msgspec.json.encode({"cniVersion": version}))
        return frozenset(msgspec.json.decode(answer, type=_Versions).supported)
    except (CrispError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        log.info("plugin does not tell its versions", plugin=type_, error=exc)
        return frozenset()


class _Versions(msgspec.Struct):
    """Spec section 5, VERSION Success."""

    supported: list[str] = msgspec.field(name="supportedVersions")


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


def _request(attachment: Attachment, interface: Interface, plugin: PluginConfig, result: bytes) -> bytes:
    first = interface.ifname == attachment.interfaces[0].ifname
    offered = plugin.capabilities if first else plugin.capabilities - FIRST_ONLY
    wanted = {name: value for name, value in attachment.capability_args.items() if name in offered}
    inserted: dict[str, Any] = {"runtimeConfig": wanted} if wanted else {}
    if result:
        inserted["prevResult"] = msgspec.Raw(result)
    return interface.network.request(plugin, inserted)
