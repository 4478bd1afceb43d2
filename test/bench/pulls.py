"""Pulls: many images that share layers, and one that is much larger than what the daemon may take for it."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from random import Random

from isal import igzip

from bench.daemons import Daemon
from cri import api
from rig.cri_client import CriClient
from rig.images import BuiltImage, Layer, build, files, layer, push, sha256
from rig.memory import pss_of
from rig.registry import RunningRegistry

IMAGES, SHARED = 10, 4
HUGE_MIB = int(os.environ.get("HUGE_MIB", "2048"))
_LAYER_MIB = 256
_MIB = 1 << 20
_LOOK = 0.02  # seconds between two calls, and looks at the memory


def push_sharing(registry: RunningRegistry) -> str:
    """IMAGES of 20 MB, SHARED layers of 4 MB in all and one of 4 MB of their own; the name of the first."""
    random = Random(2)
    base = [_many_files(random, f"shared{number}") for number in range(SHARED)]
    own = (_many_files(random, f"own{number}") for number in range(IMAGES))
    names = [push(build([*base, one]), registry, "library/sharing", str(tag)) for tag, one in enumerate(own)]
    return names[0]


def push_huge(registry: RunningRegistry) -> str:
    """HUGE_MIB of gzip in layers of _LAYER_MIB, which hardly compress."""
    return push(_huge(), registry, "library/huge", "1")


def _huge() -> BuiltImage:
    def one(number: int) -> Layer:
        tar = files({f"huge/{number}": os.urandom(_LAYER_MIB * _MIB)})
        return Layer(data=igzip.compress(tar, 0), diff_id=sha256(tar), compression="gzip")

    return build([one(number) for number in range(HUGE_MIB // _LAYER_MIB)])


def _many_files(random: Random, name: str) -> Layer:
    return layer(files({f"{name}/{index // 50}/{index}": random.randbytes(8000) for index in range(500)}))


def sharing(daemon: Daemon, image: str, _logs: Path) -> dict[str, float]:
    """Seconds until all IMAGES are there, asked for at once."""
    names = [f"{image.rpartition(':')[0]}:{tag}" for tag in range(IMAGES)]
    times = []
    with daemon.client() as client, ThreadPoolExecutor(IMAGES) as pool:
        for _ in range(3):
            started = time.perf_counter()
            list(pool.map(lambda name: client.PullImage(api.PullImageRequest(image=api.ImageSpec(image=name))), names))
            times.append(time.perf_counter() - started)
            for name in names:
                client.RemoveImage(api.RemoveImageRequest(image=api.ImageSpec(image=name)))
    return {f"{IMAGES} images that share layers, s": sorted(times)[1]}


def huge(daemon: Daemon, image: str, _logs: Path) -> dict[str, float]:
    """Seconds of a large pull, by how much the daemon grows meanwhile, and 99 of 100 other calls take less than."""
    spec = api.ImageSpec(image=image)
    with daemon.client() as client, ThreadPoolExecutor(1) as pool:
        before = pss_of({daemon.process.pid})
        started = time.perf_counter()
        pulling = pool.submit(client.PullImage, api.PullImageRequest(image=spec))
        growth = _Growth(daemon.process.pid, before)
        times = _calls(client, pulling)
        pulling.result()
        elapsed = time.perf_counter() - started
        client.RemoveImage(api.RemoveImageRequest(image=spec))
    return {
        f"pull of {HUGE_MIB} MiB, s": elapsed,
        f"MiB more during {HUGE_MIB} MiB": growth.stop() / _MIB,
        "p99 of calls during it, ms": sorted(times)[len(times) * 99 // 100],
        "p50 of calls during it, ms": sorted(times)[len(times) // 2],
    }


def _calls(client: CriClient, pulling: Future[object]) -> list[float]:
    """Milliseconds of calls as the kubelet makes them, one after the other."""
    times = []
    while not pulling.done() or not times:
        began = time.perf_counter()
        client.ListContainers(api.ListContainersRequest())
        times.append((time.perf_counter() - began) * 1e3)
        time.sleep(_LOOK)
    return times


class _Growth:
    """How far above `before` the memory of `pid` gets, until it is stopped."""

    def __init__(self, pid: int, before: int) -> None:
        self._pid = pid
        self._before = before
        self._most = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> int:
        """Bytes."""
        self._stopped.set()
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        while not self._stopped.wait(_LOOK * 10):
            self._most = max(self._most, pss_of({self._pid}) - self._before)
