"""crispd as a process: one for each state directory, from its configuration to the signal that ends it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import signal
import time
from collections.abc import Callable, Iterator

from core.errdefs import FailedPrecondition
from core.log import get_logger
from core.wiring.wiring import open_core
from cri import compose
from cri.config.config import Config
from cri.daemon import Daemon
from cri.notify import notify
from cri.reload import reload
from cri.telemetry.open import exposed, make_telemetry

log = get_logger(__name__)


def run(config: Config, read: Callable[[], Config]) -> None:
    """Serve until SIGTERM or SIGINT; on SIGHUP `read` the configuration again.

    Raises FailedPrecondition when another crispd has the state directory.
    """
    os.umask(0o022)
    os.makedirs(config.state, mode=0o711, exist_ok=True)
    with only_one(os.path.join(config.state, "crispd.lock")):
        asyncio.run(_serve(config, read))


@contextlib.contextmanager
def only_one(path: str) -> Iterator[None]:
    """Hold the lock file at `path`. Raises FailedPrecondition when another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as exc:
        raise FailedPrecondition(f"another crispd holds {path}: give this one its own root and state") from exc
    finally:
        os.close(descriptor)


async def _serve(config: Config, read: Callable[[], Config]) -> None:
    address = config.metrics.address
    telemetry = make_telemetry(address)
    async with open_core(compose.core_config(config), telemetry) as core, asyncio.TaskGroup() as group:
        daemon = Daemon(config, core, group, telemetry)
        on_hangup(config, read)
        await daemon.start()
        spare_the_collector()
        async with exposed(address, telemetry, daemon.present()):
            await wait_signal()
        log.info("stopping")
        notify("STOPPING=1")
        await daemon.stop()


def spare_the_collector() -> None:
    """What there is now stays: walking it costs the garbage collector 20 ms each time that it looks at everything, and
    under load a sixth of all processor time."""
    gc.collect()
    gc.freeze()


def on_hangup(config: Config, read: Callable[[], Config]) -> None:
    """Reload at each SIGHUP from now on, and tell systemd (Type=notify-reload)."""

    def hang_up() -> None:
        nonlocal config
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        config = reload(config, read)
        notify("READY=1")

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hang_up)


async def wait_signal() -> None:
    """Return on SIGTERM or SIGINT."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    await asked.wait()
