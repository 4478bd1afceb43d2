"""What happens to files of unpacked layers is found, and the layer made anew, unless somebody stands on it."""

import os
import shutil

import pytest
from layers import archive, device, directory, file, link, symlink

from core.errdefs import FailedPrecondition
from core.images.layers import Layers
from core.images.places import stack_of
from core.images.source import Nowhere
from core.oci.image import parse_config
from rig.hostile_registry import hostile_registry
from rig.images import build, layer
from rig.pulls import pull_rig

pytestmark = pytest.mark.root

LOWER = archive(
    directory("etc"),
    file("etc/passwd", b"root"),
    file("etc/shadow", b"secret", mode=0o600),
    file("etc/twice", b"first"),
    file("etc/twice", b"second"),
    file("gone", b"x"),
    directory("dir"),
    file("dir/inner", b"x"),
    directory("opaque"),
    file("opaque/old", b"x"),
    file("tool", b"run", mode=0o4755, uid=7),
    link("tool-link", "tool"),
    symlink("sym", "etc/passwd"),
    device("null", 1, 3, mode=0o666),
)
UPPER = archive(
    file(".wh.gone"),
    file("dir", b"a file now"),
    directory("opaque"),
    file("opaque/.wh..wh..opq"),
    file("opaque/new", b"y"),
    file("etc/passwd", b"ROOT"),
    link("below", "etc/shadow"),
)


@pytest.fixture(params=["first", "native"])
async def unpacked(request, tmp_path):
    """A pulled image in one of two snapshotters: (rig, layers, stack, name of the snapshotter)."""
    async with hostile_registry() as registry, pull_rig(tmp_path) as rig:
        name = registry.add(build([layer(LOWER), layer(UPPER)]), "test/image", "1")
        image = await rig.puller.pull(name, snapshotter=request.param)
        stack = stack_of(Nowhere(), image, parse_config(image.config).diff_ids)
        yield rig, rig.places.get(request.param).layers, stack, rig.snapshotters.get(request.param)


def place(snapshots, stack, path):
    """Where `path` is on disk: in the copy, or in the topmost layer that has it."""
    return next(one for lower in snapshots.lowers(stack.chain_ids[-1]) if os.path.lexists(one := f"{lower}/{path}"))


async def problems(layers: Layers, stack):
    return [one for depth in layers.mounted(stack) for one in (await layers.difference(stack, depth)).problems]


async def remake(layers, stack):
    for depth in layers.mounted(stack):
        if (await layers.difference(stack, depth)).count:
            await layers.remake(stack, depth)


async def test_what_was_unpacked_is_no_problem(unpacked):
    _, layers, stack, _ = unpacked
    assert await problems(layers, stack) == []


def _same_size(path):
    size = os.stat(path).st_size
    with open(path, "r+b") as file_:
        file_.write(bytes(size))


HARM = {
    "etc/passwd": (os.unlink, "missing"),
    "etc/twice": (lambda path: os.truncate(path, 0), "0 bytes, and not 6"),
    "etc/shadow": (lambda path: os.chmod(path, 0o644), "mode 644, and not 600"),
    "tool": (lambda path: os.chown(path, 0, 0), "of 0:0, and not 7:0"),
    "tool-link": (os.unlink, "missing"),
    "null": (os.unlink, "missing"),
    "sym": (lambda path: (os.unlink(path), os.symlink("/etc/shadow", path)), "leads elsewhere"),
    "dir": (lambda path: (os.unlink(path), os.mkdir(path)), "a 'd', and not regular"),
    "opaque/new": (_same_size, "other bytes"),
    "below": (os.unlink, "missing"),
}


async def test_what_happened_to_files_is_told_and_mended(unpacked):
    _, layers, stack, snapshots = unpacked
    for path, (harm, _) in HARM.items():
        harm(place(snapshots, stack, path))
    assert sorted(await problems(layers, stack)) == sorted(f"{path!r}: {told}" for path, (_, told) in HARM.items())
    await remake(layers, stack)
    assert await problems(layers, stack) == []
    shutil.rmtree(place(snapshots, stack, "etc"))
    told = await problems(layers, stack)
    assert "'etc': missing" in told or "'etc/passwd': missing" in told
    await remake(layers, stack)
    assert await problems(layers, stack) == []


async def test_lost_marks_of_what_a_layer_hides_are_told(unpacked):
    _, layers, stack, snapshots = unpacked
    if len(snapshots.lowers(stack.chain_ids[-1])) == 1:
        return  # copies need no marks
    os.unlink(place(snapshots, stack, "gone"))
    os.removexattr(place(snapshots, stack, "opaque"), "trusted.overlay.opaque")
    told = "what it hides of lower layers shows"
    assert await problems(layers, stack) == [f"'gone': {told}", f"'opaque': {told}"]
    await remake(layers, stack)
    assert await problems(layers, stack) == []


async def test_a_layer_in_use_stays_as_it_is_and_the_error_says_by_whom(unpacked):
    rig, layers, stack, snapshots = unpacked
    snapshots.prepare("a container", stack.chain_ids[-1])
    os.unlink(place(snapshots, stack, "etc/twice"))
    with pytest.raises(FailedPrecondition, match="in use by 'a container'"):
        await remake(layers, stack)
    assert await problems(layers, stack) == ["'etc/twice': missing"]
    assert not [one.name for one in snapshots.walk() if one.name.startswith("extract-")]
    snapshots.remove("a container")
    await remake(layers, stack)
    await rig.collector.collect()
    assert await problems(layers, stack) == []
