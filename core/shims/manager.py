"""All shims, by the id of the sandbox that each one serves.

    start ──▶ running ──dies──▶ (its containers are ended, subscribers told)
    adopt ──▶ running │ dead │ not known yet
    remove: running or dead or half made ──▶ nothing left
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
from collections.abc import Callable

from core.errdefs import CrispError, NotFound, Unavailable
from core.failpoint import failpoint
from core.files.dirs import make_dirs
from core.linux.pidfd import ProcessIdentity
from core.log import get_logger
from core.shim.log_counts import LogCounts
from core.shim.rest import FIRST as QUIET
from core.shims.bundle import Runtime, SandboxDir
from core.shims.client import ShimClient
from core.shims.foreign import ForeignShim
from core.shims.foreign_client import ForeignClient
from core.shims.leftovers import end_leftovers
from core.shims.log_totals import LogTotals
from core.shims.shim import Shim, worker_of
from core.shims.strays import end_foreign, end_strays
from core.ttrpc.address import listen
from core.ttrpc.client import Client
from core.types import identifier
from core.zygote.zygote import Zygote

log = get_logger(__name__)

NAMESPACE = "k8s.io"
"""The containerd namespace that kubelets' containers live in; events carry it."""

OnDeath = Callable[[str], None]


class Liveness(enum.Enum):
    ALIVE = "alive"
    DEAD = "dead"
    """For certain: another boot, another process, or an exited one."""
    UNKNOWN = "unknown"
    """The process is there and does not answer."""


class ShimManager:
    def __init__(self, state: str, zygote: Zygote, group: asyncio.TaskGroup, *, quiet: float = QUIET) -> None:
        """`group` runs what follows a shim's death; `quiet` in seconds, see core/shim/rest.py."""
        self.events_address = os.path.join(state, "events.sock")
        self._root = os.path.join(state, "sandboxes")
        self._zygote = zygote
        self._group = group
        self._quiet = quiet
        self._shims: dict[str, Shim] = {}
        self._subscribers: list[OnDeath] = []
        self._totals = LogTotals()
        make_dirs(self._root, 0o711)

    def subscribe(self, on_death: OnDeath) -> None:
        """Call `on_death` with the sandbox id when a shim has died unasked and its containers have been ended."""
        self._subscribers.append(on_death)

    def directory(self, sandbox_id: str) -> SandboxDir:
        """Where the sandbox lives, made or not. Raises InvalidArgument when it can name no directory."""
        return SandboxDir(path=os.path.join(self._root, identifier(sandbox_id, "sandbox id")))

    def get(self, sandbox_id: str) -> Shim:
        """Raises Unavailable when no shim is known to run."""
        try:
            return self._shims[sandbox_id]
        except KeyError:
            raise Unavailable(f"the shim of sandbox {sandbox_id} does not run") from None

    async def start(
        self, sandbox_id: str, runtime: Runtime, *, group: int | None = None, bundle: str = ""
    ) -> Shim:
        """Fork the shim of a new sandbox; `group` may pass through its directory. It answers calls at once. One that
        is not ours is started in `bundle`, the root container's.

        Raises AlreadyExists, Unavailable, DeadlineExceeded. After a failure or a crash `remove` undoes what there is.
        """
        directory = self.directory(sandbox_id)
        directory.make(runtime, group)
        failpoint("shim.start.directory")
        if runtime.shim:
            return await self._start_foreign(sandbox_id, directory, runtime, bundle)
        args = {
            "id": sandbox_id,
            "dir": directory.path,
            "events": self.events_address,
            "namespace": NAMESPACE,
            "quiet": self._quiet,
        }
        with listen(directory.socket) as listener:  # the shim's alone from then on: a dead one refuses connections
            pid = await self._zygote.detach("shim", args, fds=[listener.fileno()])
        failpoint("shim.start.forked")
        try:
            return self._watch(sandbox_id, directory, runtime, ProcessIdentity.of(pid))
        except ProcessLookupError as exc:
            raise Unavailable(f"the shim of sandbox {sandbox_id} died as it started: see the daemon's log") from exc

    async def _start_foreign(self, sandbox_id: str, directory: SandboxDir, runtime: Runtime, bundle: str) -> Shim:
        endpoint = await self._foreign(runtime).start(sandbox_id, bundle)
        failpoint("shim.start.foreign")
        client = ForeignClient(await Client.connect(endpoint.socket), endpoint.task_api)
        try:
            identity = ProcessIdentity.of(await client.pid(sandbox_id))
        except ProcessLookupError as exc:
            raise Unavailable(f"the shim of sandbox {sandbox_id} died as it started") from exc
        finally:
            client.close()
        directory.write_shim(identity, endpoint)
        return self._watch(sandbox_id, directory, runtime, identity)

    def _foreign(self, runtime: Runtime) -> ForeignShim:
        return ForeignShim(binary=runtime.shim, namespace=NAMESPACE, events=self.events_address)

    async def adopt(self, sandbox_id: str) -> Liveness:
        """Find the shim that an earlier daemon started; what a dead one left running is ended. Idempotent."""
        shim = self._shims.get(sandbox_id) or self._find(sandbox_id)
        if shim is None:
            await self._end_leftovers(sandbox_id, self.directory(sandbox_id))
            if not self.directory(sandbox_id).exists():
                await asyncio.to_thread(end_strays, sandbox_id)
            return Liveness.DEAD
        try:
            await (await shim.client()).ping(sandbox_id)
        except CrispError as exc:
            log.warning("shim does not answer", sandbox_id=sandbox_id, error=exc)
            return Liveness.UNKNOWN  # should it be dying, then subscribers will hear of it
        return Liveness.ALIVE

    async def kill(self, sandbox_id: str) -> None:
        """Kill the shim, if one is known to run, as if it had died by itself: subscribers hear of it."""
        if shim := self._shims.get(sandbox_id):
            await shim.kill()

    async def remove(self, sandbox_id: str) -> None:
        """End the shim and what it ran, and remove the sandbox's directory. Success when gone; a crash in between
        leaves a directory to remove."""
        directory = self.directory(sandbox_id)
        shim = self._shims.pop(sandbox_id, None) or self._find(sandbox_id)
        if shim is not None:
            self._shims.pop(sandbox_id, None)
            await shim.end()
            shim.leave()
        else:
            await _end_unknown(sandbox_id, directory)
        failpoint("shim.remove.ended")
        await self._end_leftovers(sandbox_id, directory)
        failpoint("shim.remove.swept")
        await asyncio.to_thread(directory.remove)

    def serves(self, sandbox_id: str) -> bool:
        """Whether a shim of this sandbox is known to run."""
        return sandbox_id in self._shims

    @property
    def running(self) -> int:
        """How many shims are known to run."""
        return len(self._shims)

    def pids(self) -> list[int]:
        """Of the shims that are known to run, and of their workers."""
        keepers = [shim.pid for shim in tuple(self._shims.values())]
        return [*keepers, *filter(None, map(worker_of, keepers))]

    def logged(self) -> LogCounts:
        """What all shims have written into logs. It reads a file for each."""
        running = tuple(self._shims.values())
        return self._totals.look({shim.sandbox_id: shim.directory.path for shim in running})

    def ids(self) -> list[str]:
        """The sandboxes that have a directory."""
        return os.listdir(self._root)

    def leave(self) -> None:
        """Hang up on all shims, which go on without us."""
        for shim in self._shims.values():
            shim.leave()
        self._shims.clear()

    def _find(self, sandbox_id: str) -> Shim | None:
        """The shim that the directory names, watched from now on; None when it is dead."""
        directory = self.directory(sandbox_id)
        try:
            return self._watch(sandbox_id, directory, directory.runtime(), directory.shim())
        except (NotFound, ProcessLookupError) as exc:
            log.info("shim is dead", sandbox_id=sandbox_id, reason=exc)
            return None

    def _watch(self, sandbox_id: str, directory: SandboxDir, runtime: Runtime, identity: ProcessIdentity) -> Shim:
        shim = self._shims[sandbox_id] = Shim(sandbox_id, directory, runtime, identity, self._exited)
        return shim

    def _exited(self, shim: Shim) -> None:
        if self._shims.get(shim.sandbox_id) is shim:  # else it was asked to go
            del self._shims[shim.sandbox_id]
            self._group.create_task(self._mourn(shim))

    async def _mourn(self, shim: Shim) -> None:
        log.error("shim died", sandbox_id=shim.sandbox_id)
        try:
            await end_leftovers(shim.directory, shim.runtime, self._foreign(shim.runtime))
        except Exception:  # nobody waits for this task: it must not take the daemon along
            log.exception("leftovers not ended", sandbox_id=shim.sandbox_id)
        for on_death in self._subscribers:
            on_death(shim.sandbox_id)

    async def _end_leftovers(self, sandbox_id: str, directory: SandboxDir) -> None:
        try:
            runtime = directory.runtime()
        except NotFound:
            return  # a crash came before the shim was forked
        if runtime.shim:
            await asyncio.to_thread(end_foreign, sandbox_id, runtime.shim)
        await end_leftovers(directory, runtime, self._foreign(runtime))


async def _end_unknown(sandbox_id: str, directory: SandboxDir) -> None:
    """End a shim whose pid nobody was told, since its zygote was killed as it forked: it listens where it was to."""
    with contextlib.suppress(CrispError):
        client = ShimClient(await Client.connect(directory.socket))
        try:
            await client.shutdown_sandbox(sandbox_id)
        finally:
            client.close()
