"""One call of one CNI plugin (CNI spec 1.1, section 2): environment, request, answer, error."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import msgspec

from core.errdefs import CrispError, DeadlineExceeded, ResourceExhausted, Unavailable
from core.log import get_logger
from core.network.confdir import find_plugin
from core.process import Completed, execute
from core.steps import step
from core.telemetry import SILENT, Telemetry, timed

log = get_logger(__name__)

MAX_RESULT = 1 << 20  # bytes of stdout; real results have 1 KiB
TIMEOUTS: Mapping[str, float] = MappingProxyType(
    {"ADD": 120.0, "DEL": 60.0, "CHECK": 30.0, "STATUS": 10.0, "GC": 60.0, "VERSION": 10.0}
)
"""Seconds a plugin has for a command. ADD: below the 4 minutes that the kubelet grants RunPodSandbox, DEL included."""

_CONTAINER_UNKNOWN = 3  # spec section 5, Error: "the runtime does not need to perform any container network cleanup"
_MAX_MESSAGE = 2048  # characters of a plugin's words in our error
_MAX_LOG = 512  # characters of what it wrote to stderr beside them
_FULL = re.compile(r"no (IP )?addresses available|no available (IP|addresses)|IP(AM)? pool .*exhausted", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What the spec calls parameters."""

    command: str
    container_id: str = ""
    netns: str = ""
    ifname: str = ""
    args: str = ""
    """CNI_ARGS: `key=value;key=value`."""


class _Error(msgspec.Struct):
    """Spec section 5, Error."""

    code: int = 0
    msg: str = ""
    details: str = ""


class Plugins:
    """The plugins in `bin_dirs`."""

    def __init__(
        self, bin_dirs: Sequence[str], timeouts: Mapping[str, float], telemetry: Telemetry = SILENT
    ) -> None:
        self.bin_dirs = tuple(bin_dirs)
        self._timeouts = timeouts
        self._telemetry = telemetry

    async def run(self, plugin: str, call: Call, request: bytes) -> bytes:
        """Let plugin type `plugin` do `call`; returns what it wrote to stdout.

        When this returns or raises, nothing of a failed plugin's process group runs any more. Raises Unavailable (also
        when it is not installed) or ResourceExhausted with the plugin's own words, DeadlineExceeded.
        """
        with step(f"cni {plugin} {call.command}"), timed(partial(self._telemetry.cni, plugin, call.command)):
            return await self._run(plugin, call, request)

    async def _run(self, plugin: str, call: Call, request: bytes) -> bytes:
        path = find_plugin(plugin, self.bin_dirs)
        seconds = self._timeouts[call.command]
        what = f"CNI plugin {plugin} {call.command}"
        try:
            completed = await execute([path], self._environment(call), request, limit=MAX_RESULT, timeout=seconds)
        except TimeoutError as exc:
            raise DeadlineExceeded(f"{what}: no answer in {seconds:g} s, so its processes were killed") from exc
        except OSError as exc:
            raise Unavailable(f"{what}: {path} cannot be run: {exc}") from exc
        if completed.code == 0 and not completed.truncated:
            if completed.stderr:
                log.debug("plugin wrote", plugin=what, pod=call.container_id, stderr=_last_words(completed.stderr))
            return completed.stdout
        return _failed(what, call, completed)

    def _environment(self, call: Call) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CNI_")}
        return inherited | {
            "CNI_COMMAND": call.command,
            "CNI_CONTAINERID": call.container_id,
            "CNI_NETNS": call.netns,
            "CNI_IFNAME": call.ifname,
            "CNI_ARGS": call.args,
            "CNI_PATH": ":".join(self.bin_dirs),
        }


def _failed(what: str, call: Call, completed: Completed) -> bytes:
    if completed.truncated:
        raise Unavailable(f"{what}: wrote more than {MAX_RESULT} bytes and was killed")
    error = _error(completed)
    if call.command == "DEL" and error.code == _CONTAINER_UNKNOWN:
        log.info("plugin does not know the pod any more", plugin=what, container_id=call.container_id)
        return b""
    said, logged = ": ".join(filter(None, (error.msg, error.details))), _last_words(completed.stderr)
    words = said[:_MAX_MESSAGE] or logged or "no message"
    beside = f"; its log: {logged[-_MAX_LOG:]}" if said and logged else ""
    ended = f"exit code {completed.code}" if completed.code > 0 else f"killed by signal {-completed.code}"
    kind: type[CrispError] = ResourceExhausted if _FULL.search(words) else Unavailable
    raise kind(f"{what}: {words} ({ended}){beside}")


def _error(completed: Completed) -> _Error:
    try:
        return msgspec.json.decode(completed.stdout, type=_Error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Error(msg=_last_words(completed.stdout))


def _last_words(output: bytes) -> str:
    text = output[-_MAX_MESSAGE:].decode(errors="replace").strip()
    return "".join(char if char.isprintable() else " " for char in text)
