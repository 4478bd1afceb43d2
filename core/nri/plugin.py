"""One connected plugin."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from core.api import nri_pb2 as api
from core.api.nri_types_pb2 import Container, ContainerUpdate, PodSandbox
from core.errdefs import (
    CrispError,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
)
from core.log import get_logger
from core.nri import mux
from core.nri.batches import batches
from core.nri.nri import Greeting, Runtime
from core.nri.trunk import Trunk
from core.steps import step
from core.ttrpc.client import Client
from core.ttrpc.server import Server

log = get_logger(__name__)

M = TypeVar("M", bound=Message)

PLUGIN_SERVICE = "nri.pkg.api.v1alpha1.Plugin"
NRI_VERSION = "v0.12.2"
"""Of the API that is spoken here: what is newer a plugin must not expect."""
ALL_EVENTS = (1 << (api.LAST - 1)) - 1
MAX_REQUESTS = 4
"""UpdateContainers of one plugin at a time, which can have 4 MiB each; further ones are refused."""

_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,128}")
_INDEX = re.compile("[0-9]{2}")


class Plugin:
    """`index` and `base` are known of those that we start; others tell them, and have no `config`."""

    def __init__(
        self,
        greeting: Greeting,
        runtime: Runtime,
        on_end: Callable[[Plugin], None],
        *,
        index: str = "",
        base: str = "",
        config: str = "",
    ) -> None:
        self.index = index
        self.base = base
        self.turn = asyncio.Lock()
        """Held while the plugin is asked something, and until it is synchronized."""
        self._ours = bool(index)
        self._config = config
        self._greeting = greeting
        self._runtime = runtime
        self._on_end = on_end
        self._events: int | None = None
        self._registered = asyncio.Event()
        self._ended = False
        self._requests = 0
        self._old: set[int] = set()
        self._client = Client(self._lost)
        server = Server()
        server.register(api.DESCRIPTOR.services_by_name["Runtime"], self)
        self.trunk = Trunk({mux.PLUGIN: self._client.protocol, mux.RUNTIME: server.accept()})

    @property
    def name(self) -> str:
        return f"{self.index}-{self.base}" if self.base else "unnamed"

    @property
    def ended(self) -> bool:
        return self._ended

    def wants(self, event: api.Event) -> bool:
        """Whether it asked to be told of `event`; True while it has not said."""
        return self._events is None or bool(self._events & _bit(event))

    async def greet(self) -> None:
        """Wait until it has registered, and configure it. Raises CrispError; then it is of no use."""
        greeting = self._greeting
        try:
            async with asyncio.timeout(greeting.registration_timeout):
                await self._registered.wait()
        except TimeoutError:
            limit = greeting.registration_timeout
            raise DeadlineExceeded(f"it did not register within {limit:g} s") from None
        if self._ended:
            raise Unavailable("it has left")
        request = api.ConfigureRequest(
            config=self._config,
            runtime_name=greeting.runtime_name,
            runtime_version=greeting.runtime_version,
            registration_timeout=round(greeting.registration_timeout * 1000),
            request_timeout=round(greeting.request_timeout * 1000),
            NRI_version=NRI_VERSION,
        )
        reply = await self._ask("Configure", request, api.ConfigureResponse, greeting.request_timeout)
        if reply.events & ~ALL_EVENTS:
            raise InvalidArgument(f"it asks for events that there are not: {reply.events:#x}")
        self._events = reply.events or ALL_EVENTS & ~_bit(api.VALIDATE_CONTAINER_ADJUSTMENT)  # judges say that they are

    async def synchronize(self) -> list[ContainerUpdate]:
        """Tell it what there is; return what it wants changed. Raises as `greet`. The caller has its turn."""
        pods, containers = await self._runtime.state()
        for request in batches(pods, containers):
            limit = self._greeting.registration_timeout
            reply = await self._ask("Synchronize", request, api.SynchronizeResponse, limit)
            if request.more and (reply.update or not reply.more):
                raise FailedPrecondition("it cannot take the state of the node in parts")
        return list(reply.update)

    async def ask(self, event: api.Event, method: str, request: Message, reply: type[M]) -> M | None:
        """Its answer; None when it does not want the event, or is dropped for its silence. Raises what it answers."""
        if self._ended or not self.wants(event):
            return None
        async with self.turn:
            if self._ended or not self.wants(event):
                return None
            try:
                return await self._ask(method, request, reply, self._greeting.request_timeout)
            except (DeadlineExceeded, DecodeError) as exc:
                self.drop(str(exc))
            except CrispError as exc:
                if not self._ended:  # its answer; else it has left
                    raise type(exc)(f"NRI plugin {self.name}: {exc}") from exc
            return None

    async def tell(
        self, event: api.Event, method: str, request: Message, pod: PodSandbox, container: Container | None
    ) -> None:
        """As `ask`, when the answer is empty: older plugins have one method for all of those."""
        if event not in self._old:
            try:
                await self.ask(event, method, request, api.Empty)
            except Unimplemented:
                self._old.add(event)
        if event in self._old:
            change = api.StateChangeEvent(event=event, pod=pod, container=container)
            await self.ask(event, "StateChange", change, api.Empty)

    def drop(self, reason: str) -> None:
        """Hang up on it, and say why. Idempotent."""
        if not self._ended:
            log.warning("NRI plugin dropped", plugin=self.name, reason=reason)
            self._end()
        self.trunk.abort()

    async def register_plugin(self, request: api.RegisterPluginRequest) -> api.Empty:
        if not self._ours:
            if not _NAME.fullmatch(request.plugin_name) or not _INDEX.fullmatch(request.plugin_idx):
                named = f"plugin {request.plugin_name[:64]!r} with index {request.plugin_idx[:8]!r}"
                raise InvalidArgument(f"{named}: want a name of letters, digits and _.+-, and two digits")
            if self._registered.is_set():
                raise FailedPrecondition(f"plugin {self.name} has registered already")
            self.index, self.base = request.plugin_idx, request.plugin_name
        self._registered.set()
        return api.Empty()

    async def update_containers(self, request: api.UpdateContainersRequest) -> api.UpdateContainersResponse:
        if self._events is None:
            raise FailedPrecondition("register first")
        if self._requests >= MAX_REQUESTS:
            raise ResourceExhausted(f"{MAX_REQUESTS} updates are under way: wait for one to end")
        self._requests += 1
        try:
            for one in request.evict:
                await self._runtime.evict(one.container_id)
            failed = [update for update in request.update if not await self._updated(update)]
        finally:
            self._requests -= 1
        return api.UpdateContainersResponse(failed=failed)

    async def _updated(self, update: ContainerUpdate) -> bool:
        try:
            await self._runtime.update(update)
        except CrispError as exc:
            log.warning("NRI update failed", plugin=self.name, container_id=update.container_id, error=exc)
            return update.ignore_failure
        return True

    async def _ask(self, method: str, request: Message, reply: type[M], timeout: float) -> M:
        with step(f"NRI plugin {self.name} {method}"):
            return await self._client.call(PLUGIN_SERVICE, method, request, reply, timeout=timeout)

    def _lost(self) -> None:
        if not self._ended:
            log.info("NRI plugin left", plugin=self.name)
            self._end()

    def _end(self) -> None:
        self._ended = True
        self._events = self._events or 0
        self._registered.set()
        self._on_end(self)


def _bit(event: api.Event) -> int:
    return 1 << (event - 1)
