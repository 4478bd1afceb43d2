"""Everything that a pull needs, real, below one directory.

    async with pull_rig(tmp_path, certs_d="") as rig:
        image = await rig.puller.pull("127.0.0.1:5000/test:1")
        rig.content, rig.snapshots, rig.images, rig.remover, rig.collector
"""

import contextlib
import dataclasses
import os
import time
from concurrent.futures import ThreadPoolExecutor

from core.content.local import LocalContent
from core.images.blocking import Blocking
from core.images.gc import Collector
from core.images.holds import Holds
from core.images.places import Places
from core.images.platforms import host_platform
from core.images.pull import Puller
from core.images.remove import Remover
from core.remotes.foreign import ForeignHosts
from core.remotes.keychain import Keychain
from core.remotes.registry import Registry
from core.remotes.retry import Limits
from core.snapshots.native import NativeSnapshotter
from core.snapshots.overlay import OverlaySnapshotter
from core.snapshots.snapshotters import Snapshotters
from core.types import Platform
from core.zygote.process import ZygoteProcess
from rig.image_store import MemoryImages
from rig.patience import patient

AMD64 = Platform(os="linux", architecture="amd64")
QUICK = Limits(first_pause=0.01, longest_pause=0.02, header_timeout=patient(5), no_progress=2)


@dataclasses.dataclass
class PullRig:
    puller: Puller
    remover: Remover
    collector: Collector
    images: object
    content: LocalContent
    snapshots: object
    """The default one."""
    snapshotters: Snapshotters
    places: Places
    holds: Holds

    def tree(self, image):
        """{path: content of a file, target of a link, None for a directory} of a pulled image, without a mount."""
        found = {}
        for lower in reversed(self.snapshots.lowers(image.chain_id)):
            for directory, names, files in os.walk(lower):
                for name in (*names, *files):
                    path = os.path.join(directory, name)
                    key = os.path.relpath(path, lower)
                    if os.path.islink(path):
                        found[key] = os.readlink(path)
                    elif os.path.isdir(path):
                        found.setdefault(key)
                    elif os.path.isfile(path):
                        with open(path, "rb") as file:
                            found[key] = file.read()
        return found

    def leftovers(self):
        """Names of everything that is stored: (blobs, ingests, snapshots)."""
        blobs = {blob.digest for blob in self.content.walk()}
        ingests = {ingest.ref for ingest in self.content.ingests()}
        return blobs, ingests, {snapshot.name for snapshot in self.snapshots.walk()}


@contextlib.asynccontextmanager
async def pull_rig(
    root,
    certs_d="",
    *,
    auth_file="",
    snapshotter=OverlaySnapshotter,
    images=None,
    limits=QUICK,
    splitting=None,
    foreign=(),
    platform=AMD64,
    clock=time.time,
    pinned=(),
):
    images = images if images is not None else MemoryImages()
    content = LocalContent(str(root / "content"))
    snapshots = snapshotter(str(root / "snapshots"))
    snapshotters = Snapshotters({"first": snapshots, "native": NativeSnapshotter(str(root / "native"))})
    zygote = ZygoteProcess()
    await zygote.start()
    try:
        with ThreadPoolExecutor(4) as executor:
            async with Registry(
                config_path=str(certs_d),
                executor=executor,
                keychain=Keychain(str(auth_file)),
                limits=limits,
                splitting=splitting,
                foreign=ForeignHosts(foreign),
            ) as registry:
                blocking, holds = Blocking(executor), Holds()
                places = Places(content, snapshotters, zygote, holds, blocking)
                collector = Collector(
                    images=images,
                    content=content,
                    snapshotters=snapshotters,
                    holds=holds,
                    blocking=blocking,
                    clock=clock,
                    expire=_nothing,
                )
                yield PullRig(
                    puller=Puller(
                        registry=registry,
                        images=images,
                        content=content,
                        places=places,
                        holds=holds,
                        blocking=blocking,
                        platform=platform,
                        clock=clock,
                        pinned=pinned,
                        foreign=ForeignHosts(foreign),
                    ),
                    remover=Remover(images=images, collector=collector, blocking=blocking),
                    collector=collector,
                    images=images,
                    content=content,
                    snapshots=snapshots,
                    snapshotters=snapshotters,
                    places=places,
                    holds=holds,
                )
    finally:
        await zygote.stop()


async def _nothing():
    pass


__all__ = ["AMD64", "QUICK", "PullRig", "host_platform", "pull_rig"]
