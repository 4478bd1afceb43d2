"""The calls that are under way, and the last ones of each pod, with their steps: why is it slow?"""

from __future__ import annotations

import contextlib
import functools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from core.steps import Call, calling
from cri import api
from cri.api.call_times import CallTimes, StepTimes
from cri.store.sandbox import sandbox_name

KEPT = 2048
"""Calls: the start of each of 110 pods with three containers is 770. With 10 steps each they take 2.5 MiB."""
SLOW = 2.0
"""Seconds after which a call is worth a look: more than any should take that does not wait for others."""
SLOW_PULL = 60.0
"""The same of a pull, whose pace the log tells anyway."""

_Key = tuple[str, str, str]


class Calls:
    """Of equal calls (one RPC on one object) the last is kept: a probe each second does not push out a pod's start."""

    def __init__(
        self, pod_of: Callable[[str], str] = lambda _: "", on_end: Callable[[Call], None] | None = None
    ) -> None:
        """`pod_of` tells the pod of a container by its id, "" when it has none; `on_end` hears of each call."""
        self._pod_of = pod_of
        self._on_end = on_end
        self._running: dict[Call, _Key] = {}
        self._kept: OrderedDict[_Key, Call] = OrderedDict()

    @contextlib.contextmanager
    def note(self, rpc: str, request: Message, parent: str = "") -> Iterator[Call]:
        """Note the block as the call `rpc`, in the client's trace `parent`. The block sets its outcome."""
        with calling(rpc) as call:
            self._running[call] = key = self._key(rpc, request)
            call.parent, call.patience = parent, _patience(rpc, request)
            try:
                yield call
            finally:
                del self._running[call]
                if call.steps:
                    self._keep(key, call)
                if self._on_end:
                    self._on_end(call)

    def of_pod(self, *subjects: str) -> list[CallTimes]:
        """The calls on the pod, in the order of their starts. `subjects`: its id, its name, its images."""
        return self._times(lambda key, _: key[0] in subjects)

    @property
    def running(self) -> int:
        """How many are under way."""
        return len(self._running)

    def under_way(self) -> list[Call]:
        """Those that are slow and go on, the slowest first."""
        return sorted((call for call in self._running if call.is_slow()), key=lambda call: call.started)

    def _times(self, wanted: Callable[[_Key, Call], bool]) -> list[CallTimes]:
        every = [*self._kept.items(), *((key, call) for call, key in self._running.items() if call.steps)]
        found = sorted((pair for pair in every if wanted(*pair)), key=lambda pair: pair[1].started)
        return [_times_of(key[2], call) for key, call in found]

    def _key(self, rpc: str, request: Any) -> _Key:
        """Subject, RPC, object. A pod is known by its name while it has no id."""
        match _subject(request.DESCRIPTOR):
            case "container_id":
                return self._pod_of(request.container_id), rpc, request.container_id
            case "pod_sandbox_id":
                return request.pod_sandbox_id, rpc, request.config.metadata.name if rpc == "CreateContainer" else ""
            case "image":
                return request.image.image, rpc, request.image.image
        return sandbox_name(request.config.metadata) if rpc == "RunPodSandbox" else "", rpc, ""

    def _keep(self, key: _Key, call: Call) -> None:
        self._kept[key] = call
        self._kept.move_to_end(key)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)


def _patience(rpc: str, request: Any) -> float:
    """A container may take the time that its stop, or its command, was given: any, for the hooks of the kubelet."""
    match rpc:
        case "PullImage":
            return SLOW_PULL
        case "ExecSync" if not request.timeout:
            return math.inf
        case "StopContainer" | "ExecSync":
            return SLOW + float(max(0, request.timeout))
    return SLOW


@functools.cache
def _subject(request: Descriptor) -> str:
    """The field of a request of CRI that names what it is about; "" when there is none."""
    fields = request.fields_by_name if request.file.package == api.RUNTIME_SERVICE.file.package else ()
    return next((name for name in ("container_id", "pod_sandbox_id", "image") if name in fields), "")


def _times_of(object_: str, call: Call) -> CallTimes:
    steps = list(call.steps)  # a thread may add to them
    number = {step: index for index, step in enumerate(steps)}
    return CallTimes(
        rpc=call.name,
        object=object_,
        began=call.began,
        seconds=call.seconds(),
        outcome=call.outcome,
        steps=[
            StepTimes(
                name=step.name,
                parent=number[step.parent] if step.parent else None,
                start=step.started - call.started,
                seconds=step.ended - step.started if step.ended else None,
            )
            for step in steps
        ],
    )
