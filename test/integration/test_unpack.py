"""Layers become files: what image-spec's layer.md asks for, on a real filesystem and through a real overlay."""

import gzip
import hashlib
import os
import stat
import tarfile
import zlib

import pytest
import zstandard
from layers import archive, device, directory, file, in_child, link, settle, symlink, unpack

from core.diff import unpack as unpack_job
from core.errdefs import InvalidArgument
from core.linux.mount import mount_all, umount_all
from core.snapshots.native import NativeSnapshotter
from core.snapshots.overlay import OverlaySnapshotter
from core.snapshots.snapshotter import Layering, Usage

pytestmark = pytest.mark.root

SETGID, SETUID, STICKY = 0o2755, 0o4755, 0o1777


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "layer"
    path.mkdir()
    return path


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def owner(path):
    status = os.lstat(path)
    return status.st_uid, status.st_gid


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_files_have_the_owner_mode_and_time_of_their_entries(target, mask):
    before = os.umask(mask)
    try:
        unpack(
            archive(
                directory("d", STICKY, pax_headers={"mtime": "1.123456789"}),
                file("d/f", b"data", mode=0o666, uid=1000, gid=1001, pax_headers={"mtime": "2.5"}),
                file("d/su", b"#!", mode=SETUID, uid=5),
                file("d/sg", b"#!", mode=SETGID),
                directory("d/e", SETGID, gid=7),
                symlink("d/l", "/f", uid=3, gid=4),
            ),
            target,
        )
    finally:
        os.umask(before)
    d = target / "d"
    assert [mode(path) for path in (d, d / "f", d / "su", d / "sg", d / "e")] == [STICKY, 0o666, SETUID, SETGID, SETGID]
    assert (owner(d / "f"), owner(d / "l"), owner(d / "e"), owner(d / "su")) == ((1000, 1001), (3, 4), (0, 7), (5, 0))
    assert os.lstat(d / "f").st_mtime_ns == 2_500_000_000
    assert os.lstat(d).st_mtime_ns == 1_123_456_789
    assert (d / "f").read_bytes() == b"data"
    assert os.readlink(d / "l") == "/f"


def test_a_setgid_directory_does_not_give_its_group_to_what_is_in_it(target):
    unpack(archive(directory("d", SETGID, gid=50), file("d/f"), directory("d/e"), symlink("d/l", "x")), target)
    assert [owner(target / "d" / name) for name in "fel"] == [(0, 0)] * 3
    assert mode(target / "d" / "e") == 0o755


def test_directory_times_survive_in_any_order_of_entries(target):
    names = [f"d{number}" for number in range(200)]  # more than are kept open
    entries = [directory(name, pax_headers={"mtime": str(number)}) for number, name in enumerate(names)]
    entries += [file(f"{name}/{number}") for number in range(2) for name in names]
    unpack(archive(*entries), target)
    assert [os.stat(target / name).st_mtime_ns for name in names] == [n * 10**9 for n in range(200)]


@pytest.mark.parametrize(
    "compress",
    [
        bytes,
        gzip.compress,
        lambda data: gzip.compress(data[:700]) + gzip.compress(b"") + gzip.compress(data[700:]),
        zstandard.compress,
        lambda data: zstandard.compress(data[:700]) + zstandard.compress(data[700:]),
        lambda data: b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstandard.compress(data) + b"\x5f\x2a\x4d\x18\0\0\0\0",
        lambda data: zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress(data),
    ],
    ids=["plain", "gzip", "gzip members", "zstd", "zstd frames", "zstd skippable", "zstd checksum"],
)
def test_the_result_names_the_uncompressed_bytes(target, compress):
    data = archive(directory("d"), file("d/f", os.urandom(3_000_000)), file("g", b"x" * 5000)) + bytes(5000)
    blob = compress(data)
    result = unpack(blob, target)
    assert result == {
        "diff_id": "sha256:" + hashlib.sha256(data).hexdigest(),
        "read": len(blob),
        "size": (1 + 733 + 2) * 4096,
        "inodes": 3,
        "unsettled": False,
    }
    assert (target / "g").read_bytes() == b"x" * 5000


def test_a_layer_unpacks_while_it_downloads(tmp_path, target):
    blob = gzip.compress(archive(*(file(f"f{number}", os.urandom(50_000)) for number in range(40))))
    path = tmp_path / "ingest"
    path.write_bytes(b"")
    offsets, announce = os.pipe()

    def download():
        with open(path, "ab", buffering=0) as ingest:
            for at in range(0, len(blob), 99_999):
                ingest.write(blob[at : at + 99_999])
                told = ingest.tell().to_bytes(8, "little")
                os.write(announce, told[:3])
                os.write(announce, told[3:])
        os.close(announce)

    def follow():
        os.close(announce)
        target_fd = os.open(target, os.O_RDONLY)
        blob_fd = os.open(path, os.O_RDONLY)
        return unpack_job.run_job({"mode": "base"}, [blob_fd, target_fd, offsets])

    result = in_child(follow, meanwhile=download)
    os.close(offsets)
    assert result["inodes"] == 40
    assert result["read"] == len(blob)


def test_of_two_entries_for_one_path_the_last_one_counts(target):
    unpack(
        archive(
            file("f", b"one"),
            file("f", b"two", mode=0o600),
            directory("d"),
            file("d/inner"),
            file("d", b"no directory any more"),
            symlink("s", "nowhere"),
            directory("s"),
            file("s/inner"),
            directory("merged", 0o700),
            file("merged/kept"),
            directory("merged", 0o711),
        ),
        target,
    )
    assert (target / "f").read_bytes() == b"two"
    assert mode(target / "f") == 0o600
    assert (target / "d").is_file()
    assert os.listdir(target / "s") == ["inner"]
    assert os.listdir(target / "merged") == ["kept"]
    assert mode(target / "merged") == 0o711


def test_hard_links_share_an_inode(target):
    links = [link("l", "d/f"), link("d/m", "./l"), symlink("s", "f"), link("t", "s")]
    unpack(archive(directory("d"), file("d/f", b"x"), *links), target)
    assert os.stat(target / "l").st_ino == os.stat(target / "d" / "f").st_ino == os.stat(target / "d" / "m").st_ino
    assert os.readlink(target / "t") == "f"


def test_links_on_the_way_lead_to_where_they_lead_inside(target):
    links = [symlink("lib", "/usr/lib"), file("lib/a"), symlink("x", "lib/../y"), file("x/b")]
    unpack(archive(directory("usr"), *links), target)
    assert (target / "usr" / "lib" / "a").is_file()
    assert (target / "usr" / "y" / "b").is_file()


@pytest.fixture(params=[OverlaySnapshotter, NativeSnapshotter], ids=["overlay", "native"])
def image(request, tmp_path):
    """image(layers…) unpacks them as an image is unpacked and returns its mounted root."""
    snapshots = request.param(str(tmp_path / "snapshots"))
    root = str(tmp_path / "root")
    os.mkdir(root)

    def build(*layers):
        parent = ""
        for number, entries in enumerate(layers):
            key, name = f"extract {number}", f"layer {number}"
            stacked = snapshots.layering is Layering.STACKED
            snapshots.prepare(key, "" if stacked else parent)
            result = unpack(archive(*entries), snapshots.upper(key), str(snapshots.layering) if parent else "base")
            usage = Usage(size=result["size"], inodes=result["inodes"])
            if result["unsettled"]:
                settle(snapshots.upper(key), *snapshots.lowers(parent))
            snapshots.commit(name, key, parent=parent if stacked else "", usage=usage)
            parent = name
        mount_all(snapshots.prepare("container", parent), root)
        return root

    yield build
    umount_all(root)


def tree(root):
    found = []
    for directory_path, directories, files in os.walk(root):
        found += [os.path.relpath(os.path.join(directory_path, name), root) for name in directories + files]
    return sorted(found)


BASE = [directory("etc"), file("etc/a"), file("etc/b"), directory("opt"), file("opt/x"), file("top", b"old")]


def test_a_whiteout_hides_a_lower_file_or_directory(image):
    assert tree(image(BASE, [file("etc/.wh.a"), file(".wh.opt"), file(".wh.nothing")])) == ["etc", "etc/b", "top"]


def test_a_whiteout_hides_nothing_of_its_own_layer(image):
    before = [file(".wh.top"), file("top", b"new"), file(".wh.opt"), directory("opt"), file("opt/y")]
    root = image(BASE, before)
    assert tree(root) == ["etc", "etc/a", "etc/b", "opt", "opt/y", "top"]
    with open(os.path.join(root, "top"), encoding="ascii") as top:
        assert top.read() == "new"


def test_a_whiteout_may_come_after_what_replaces_it(image):
    after = [file("top", b"new"), file(".wh.top"), directory("opt"), file("opt/y"), file(".wh.opt")]
    assert tree(image(BASE, after)) == ["etc", "etc/a", "etc/b", "opt", "opt/y", "top"]


@pytest.mark.parametrize("first", [True, False])
def test_an_opaque_directory_keeps_only_its_own_files(image, first):
    entries = [directory("etc"), file("etc/new"), directory("etc/sub"), file("etc/sub/f")]
    entries.insert(1 if first else 4, file("etc/.wh..wh..opq"))
    assert tree(image(BASE, entries)) == ["etc", "etc/new", "etc/sub", "etc/sub/f", "opt", "opt/x", "top"]


def test_a_file_below_a_hidden_directory_makes_a_new_one(image):
    root = image(BASE, [file(".wh.opt"), file("opt/deep/y")])
    assert tree(root) == ["etc", "etc/a", "etc/b", "opt", "opt/deep", "opt/deep/y", "top"]


def test_bookkeeping_of_aufs_is_not_part_of_the_image(image):
    assert tree(image([file("f"), directory(".wh..wh.plnk"), file(".wh..wh.plnk/1.2"), file(".wh..wh.aufs")])) == ["f"]


def test_whiteouts_in_the_lowest_layer_hide_nothing_and_do_not_show(image):
    assert tree(image([file(".wh.x"), directory("d"), file("d/.wh..wh..opq"), file("d/f")])) == ["d", "d/f"]


def test_a_directory_that_a_layer_does_not_describe_keeps_its_attributes(image):
    lower = [directory("tmp", STICKY, uid=1, gid=2, pax_headers={"mtime": "5"}), directory("tmp/in", 0o700, uid=3)]
    root = image(lower, [file("tmp/in/f"), file("fresh/f")], [file("tmp/g")])
    tmp = os.path.join(root, "tmp")
    assert (mode(tmp), owner(tmp)) == (STICKY, (1, 2))
    assert (mode(tmp + "/in"), owner(tmp + "/in")) == (0o700, (3, 0))
    assert mode(os.path.join(root, "fresh")) == 0o755
    assert tree(root) == ["fresh", "fresh/f", "tmp", "tmp/g", "tmp/in", "tmp/in/f"]


def test_a_hard_link_may_lead_into_a_lower_layer(image):
    lower = [directory("bin"), file("bin/busybox", b"#!" * 5000, mode=SETUID, uid=9)]
    links = [link("bin/sh", "bin/busybox"), link("bin/ls", "bin/sh"), link("x", "/bin/busybox")]
    root = image(lower, [file("other")], [directory("bin"), *links])
    names = [os.path.join(root, name) for name in ("bin/sh", "bin/ls", "x")]
    for name in names:
        assert (mode(name), owner(name), os.stat(name).st_size) == (SETUID, (9, 0), 10_000)
    assert len({os.stat(name).st_ino for name in names}) == 1
    assert os.stat(os.path.join(root, "bin/busybox")).st_size == 10_000


@pytest.mark.parametrize("target_name", ["nothing", "../../etc/passwd", "etc", "whited"])
def test_a_hard_link_to_no_file_is_refused(image, target_name):
    with pytest.raises(InvalidArgument, match=r"layer entry b'.*l': "):
        image([*BASE, file("whited")], [file(".wh.whited"), file("y")], [link("l", target_name)])


def test_replacing_a_file_by_a_directory_hides_the_lower_directory(image):
    root = image(BASE, [symlink("etc", "opt"), directory("etc"), file("etc/c")])
    assert tree(root) == ["etc", "etc/c", "opt", "opt/x", "top"]


def test_the_estimate_of_disk_usage_is_close(target):
    entries = [directory("d"), *(file(f"d/{n}", b"x" * n * 1000) for n in range(1, 50))]
    result = unpack(archive(*entries), target)
    counted = sum(os.lstat(os.path.join(target, name)).st_blocks * 512 for name in tree(target))
    assert abs(result["size"] - counted) <= counted // 10
    assert result["inodes"] == 50


def test_devices_have_their_mode_and_owner(target):
    unpack(archive(device("null", 1, 3, mode=0o666, uid=1), device("s", 8, 0, tarfile.BLKTYPE, mode=0o4660)), target)
    assert (mode(target / "null"), owner(target / "null"), mode(target / "s")) == (0o666, (1, 0), 0o4660)


def test_gzip_of_zlib_and_of_igzip_are_both_read(target):
    compressor = zlib.compressobj(9, wbits=31)
    unpack(compressor.compress(archive(file("f", b"x" * 100_000))) + compressor.flush(), target)
    assert (target / "f").stat().st_size == 100_000
