import hashlib
from pathlib import Path

from core.content.local import LocalContent
from core.images.space import space_of_images
from core.snapshots.native import NativeSnapshotter
from core.snapshots.overlay import OverlaySnapshotter
from core.snapshots.snapshotter import Usage
from core.snapshots.snapshotters import Snapshotters
from core.types import Digest


def test_blobs_and_committed_layers_are_added_up_as_they_are_known(tmp_path: Path) -> None:
    content, snapshots = LocalContent(str(tmp_path / "content")), OverlaySnapshotter(str(tmp_path / "snapshots"))
    native = NativeSnapshotter(str(tmp_path / "native"))
    snapshotters = Snapshotters({"overlayfs": snapshots, "native": native})
    assert space_of_images(content, snapshotters) == Usage(size=0, inodes=0)
    data = b"blob"
    writer = content.writer("ref")
    writer.write(data)
    writer.commit(len(data), Digest(f"sha256:{hashlib.sha256(data).hexdigest()}"))
    for name, parent in (("sha256:1", ""), ("sha256:2", "sha256:1")):
        snapshots.prepare(f"extract {name}", parent)
        snapshots.commit(name, f"extract {name}", usage=Usage(size=1000, inodes=10))
    snapshots.prepare("container", "sha256:2")
    native.prepare("extract", "")
    native.commit("sha256:1", "extract", usage=Usage(size=500, inodes=5))
    assert space_of_images(content, snapshotters) == Usage(size=2504, inodes=26)
