"""How much waits for threads."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor


def waiting(executor: Executor) -> int:
    """Calls that no thread has taken yet."""
    assert isinstance(executor, ThreadPoolExecutor)
    return executor._work_queue.qsize()
