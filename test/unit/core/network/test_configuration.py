import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from core.network.blocking import Blocking
from core.network.configuration import Configuration
from core.network.plugin import Plugins


class Slow(ThreadPoolExecutor):
    """Does nothing while its gate is closed."""

    def __init__(self) -> None:
        super().__init__(1)
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Event()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        def when_open() -> Any:
            if not self.gate.is_set():
                self.waiting.set()
                self.gate.wait()
            return fn(*args, **kwargs)

        return super().submit(when_open)


async def test_while_files_are_read_again_what_they_said_before_holds(tmp_path: Path) -> None:
    with Slow() as executor:
        configuration = Configuration(str(tmp_path), 1, Plugins((), {}), Blocking(executor, "configuration"))
        async with asyncio.TaskGroup() as group:
            await configuration.start(group)
            said = configuration.problem
            assert "no network config found" in said
            executor.gate.clear()
            (tmp_path / "README").touch()
            try:
                assert await asyncio.to_thread(executor.waiting.wait, 5)
                assert (configuration.problem, configuration.configured) == (said, False)
            finally:
                executor.gate.set()
                configuration.close()
