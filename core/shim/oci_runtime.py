"""The OCI runtime's command line, the part that crun and runc share.

The runtime is spawned with posix_spawn(3): vfork semantics, so that not even a page of this process is copied.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from core.errdefs import Internal, NotFound
from core.linux.cgroup import read_file
from core.shim.luggage import Packed
from core.shim.reaper import Process, Reaper

MAX_LOG = 64 << 10
"""Bytes read of the runtime's own log for its error message: the last ones hold it."""

SAVED = "runtime.json"

_ENVIRONMENT = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")}  # NOTIFY_SOCKET, say, is not for crun
_DEFAULTS = [signal.SIGPIPE, signal.SIGXFSZ]  # ignored by Python; a container must not inherit that


@dataclass(frozen=True, slots=True, kw_only=True)
class OciRuntime:
    """One OCI runtime for one container, whose bundle holds its log and pid files."""

    binary: str
    """Its path, or its name on PATH."""
    root: str
    """Its state directory, "" for the runtime's default."""
    systemd_cgroup: bool
    bundle: str
    reaper: Reaper
    io_uid: int = 0
    """Owner of the pipes that processes write to: who opens /dev/stdout anew needs it."""
    io_gid: int = 0

    @classmethod
    def load(cls, bundle: str, reaper: Reaper) -> OciRuntime:
        """What `save` kept. Raises NotFound."""
        try:
            with open(os.path.join(bundle, SAVED), "rb") as file:
                return cls(**json.load(file), bundle=bundle, reaper=reaper)
        except FileNotFoundError as exc:
            raise NotFound(f"{exc.filename}: the container was not created by this runtime") from exc

    def save(self) -> None:
        """Keep in the bundle which runtime the container has."""
        document = {"binary": self.binary, "root": self.root, "systemd_cgroup": self.systemd_cgroup}
        _write(os.path.join(self.bundle, SAVED), json.dumps(document).encode())

    def put_down(self) -> Packed:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "reaper"}

    async def create(self, container_id: str, stdio: Sequence[int], console: str = "") -> Process:
        """`create`: the container's first process, which is returned, waits for `start`.

        `stdio` are descriptors for its stdin, stdout and stderr; with `console`, a socket that receives the pty.
        Raises Internal with the runtime's own words, NotFound when there is no such runtime.
        """
        pid_file = os.path.join(self.bundle, "init.pid")
        arguments = ["create", "--bundle", self.bundle, "--pid-file", pid_file]
        with self.reaper.expecting():
            await self._run([*arguments, *_console(console), container_id], stdio)
            return self.reaper.watch(_read_pid(pid_file))

    async def start(self, container_id: str) -> None:
        await self._run(["start", container_id])

    async def exec(
        self, container_id: str, name: str, process: bytes, stdio: Sequence[int], console: str = ""
    ) -> Process:
        """`exec` OCI `process` (JSON) beside the first one. `name` is unique in the bundle."""
        files = [os.path.join(self.bundle, f"{name}.{kind}") for kind in ("json", "pid", "log")]
        spec, pid_file, log = files
        _write(spec, process)
        arguments = ["exec", "--detach", "--process", spec, "--pid-file", pid_file]
        try:
            with self.reaper.expecting():
                score = json.loads(process).get("oomScoreAdj")
                await self._run([*arguments, *_console(console), container_id], stdio, log, score)
                return self.reaper.watch(_read_pid(pid_file))
        finally:
            for path in files:  # the log too: probes that fail must not fill the tmpfs, nor speak for each other
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    async def kill_all(self, container_id: str, signum: int) -> None:
        """Signal every process in the container's cgroup."""
        await self._run(["kill", "--all", container_id, str(signum)])

    async def delete(self, container_id: str, *, force: bool = False) -> None:
        await self._run(["delete", *(["--force"] if force else []), container_id])

    async def pause(self, container_id: str) -> None:
        await self._run(["pause", container_id])

    async def resume(self, container_id: str) -> None:
        await self._run(["resume", container_id])

    async def update(self, container_id: str, resources: bytes) -> None:
        """Apply OCI LinuxResources (JSON)."""
        path = os.path.join(self.bundle, "resources.json")
        _write(path, resources)
        await self._run(["update", "--resources", path, container_id])

    async def _run(
        self, arguments: Sequence[str], stdio: Sequence[int] = (), log_path: str = "", oom_score: int | None = None
    ) -> None:
        log_path = log_path or os.path.join(self.bundle, "log.json")
        command = [self.binary, "--log", log_path, "--log-format", "json"]
        command += ["--root", self.root] if self.root else []
        command += ["--systemd-cgroup"] if self.systemd_cgroup else []
        self._give_away(stdio)
        with _giving(oom_score):
            pid = _spawn([*command, *arguments], stdio)
        code = await self.reaper.watch(pid).exit
        if code:
            message = _last_error(log_path) or f"exit code {code}"
            raise Internal(f"{os.path.basename(self.binary)} {arguments[0]} failed: {message}")

    def _give_away(self, stdio: Sequence[int]) -> None:
        """As root of a user namespace a container can do nothing with a pipe of the node's root, not even chown it."""
        if self.io_uid or self.io_gid:
            for fd in stdio:
                if stat.S_ISFIFO(os.fstat(fd).st_mode):
                    os.fchown(fd, self.io_uid, self.io_gid)


@contextlib.contextmanager
def _giving(oom_score: int | None) -> Iterator[None]:
    """What is started inside the block begins with this oom_score_adj instead of ours, which spares it as it spares us.

    crun sets it for a container's first process and not for an exec. One of its own may be lower than we can give.
    """
    if oom_score is None:
        yield
        return
    with open("/proc/self/oom_score_adj", "r+b", buffering=0) as file:
        own = file.read()
        with contextlib.suppress(PermissionError):
            file.write(b"%d" % oom_score)
        try:
            yield
        finally:
            file.write(own)


def _spawn(command: list[str], stdio: Sequence[int]) -> int:
    """Start `command` with `stdio` as its descriptors 0, 1 and 2; /dev/null where there are none."""
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
        (os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(stdio)
    ]
    if not stdio:
        actions = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in range(3)]
    try:
        return os.posix_spawnp(
            command[0], command, _ENVIRONMENT, file_actions=actions, setsigmask=[], setsigdef=_DEFAULTS
        )
    except OSError as exc:
        raise NotFound(f"OCI runtime {command[0]}: {exc.strerror}; install it or configure another") from exc


def _write(path: str, data: bytes) -> None:
    """A small file of the bundle, which lies on a tmpfs."""
    with open(path, "wb") as file:
        file.write(data)


def _console(path: str) -> list[str]:
    return ["--console-socket", path] if path else []


def _read_pid(path: str) -> int:
    return int(read_file(path))


def _last_error(path: str) -> str:
    """The last error line of a runtime's JSON log, "" without one."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - MAX_LOG))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return ""
    for line in reversed(lines):
        try:
            entry = json.loads(line)
            if entry.get("level") in ("error", "fatal"):
                return str(entry.get("msg", ""))
        except (ValueError, AttributeError):
            continue
    return ""
