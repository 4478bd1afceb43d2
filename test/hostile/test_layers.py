"""Layers that mean harm (hazards §2a, §2d): nothing outside the layer's directory changes, whatever the outcome."""

import gzip
import os
import resource
import stat
import struct
import tarfile

import pytest
import zstandard
from layers import archive, device, directory, entry, file, fixed, header, in_child, link, symlink, unpack

from core.diff import unpack as unpack_job
from core.errdefs import CrispError, DataLoss, InvalidArgument

pytestmark = pytest.mark.root

UP = "../" * 20


class Host:
    """A file and a directory outside, and where a hostile layer can find them."""

    def __init__(self, root):
        self.dir = root / "host"
        self.dir.mkdir()
        self.file = self.dir / "secret"
        self.file.write_text("unbroken")
        self.file.chmod(0o400)
        self.state = self.look()

    def look(self):
        found = []
        for path in (self.dir.parent, self.dir, self.file):
            status = os.lstat(path)
            found.append((status.st_mode, status.st_uid, status.st_gid, status.st_nlink))
            found.append((status.st_mtime_ns, status.st_ctime_ns))
        return found, sorted(os.listdir(self.dir)), self.file.read_text()


@pytest.fixture
def host(tmp_path):
    (tmp_path / "out").mkdir()
    host = Host(tmp_path / "out")
    yield host
    assert host.look() == host.state


@pytest.fixture
def target(tmp_path):
    target = tmp_path / "layer"
    target.mkdir()
    return target


# Each takes the absolute path of the host's directory and gives the entries of one layer.
BREAKOUTS = {
    "dotdot file": lambda h: [file(UP + h + "/f")],
    "dotdot directory": lambda h: [directory(UP + h + "/d")],
    "dotdot in the middle": lambda h: [directory("a"), file("a/../../.." + h + "/f")],
    "exit and re-entry": lambda h: [directory("a"), file("a/../../layer/f")],
    "absolute file": lambda h: [file(h + "/f")],
    "absolute secret": lambda h: [file(h + "/secret", b"broken")],
    "absolute symlink to directory": lambda h: [symlink("l", h), file("l/f")],
    "absolute symlink to file": lambda h: [symlink("l", h + "/secret"), file("l", b"broken")],
    "relative symlink": lambda h: [symlink("l", UP + h[1:]), file("l/f")],
    "symlink to root": lambda h: [symlink("l", "/"), file("l" + h + "/f")],
    "symlink to parent": lambda h: [symlink("l", ".."), file("l/f"), directory("l/l/l/d")],
    "symlink in a directory": lambda h: [directory("a"), symlink("a/l", "../.." + h), file("a/l/f")],
    "two symlinks": lambda h: [symlink("a", h), symlink("b", "a"), file("b/f")],
    "chain through two": lambda h: [symlink("x", ".."), symlink("y", "x/.."), symlink("z", "y" + h), file("z/f")],
    "symlink loop": lambda h: [symlink("a", "b"), symlink("b", "a"), file("a/f")],
    "symlink named dotdot": lambda h: [symlink("..", h), file("../f")],
    "symlink with no name": lambda h: [symlink("", h), file("f")],
    "symlink named dot": lambda h: [symlink(".", h), file("./f")],
    "symlink then directory": lambda h: [symlink("l", h), directory("l", 0o777), file("l/f")],
    "directory then symlink": lambda h: [directory("l"), symlink("l", h), file("l/f")],
    "directory, symlink, directory": lambda h: [
        directory("foo"),
        file("foo/x"),
        symlink("foo", h),
        file("foo/secret", b"broken"),
        directory("foo"),
        file("foo/secret", b"broken"),
    ],
    "directory through symlink changes mode": lambda h: [symlink("l", h), directory("l/", 0o777)],
    "device through symlink": lambda h: [symlink("l", h), device("l/null", 1, 3)],
    "symlink through symlink": lambda h: [symlink("l", h), symlink("l/s", "x")],
    "hard link to secret": lambda h: [link("l", h + "/secret"), file("l", b"broken")],
    "hard link dotdot": lambda h: [link("l", UP + h[1:] + "/secret"), file("l", b"broken")],
    "hard link through symlink": lambda h: [symlink("s", h), link("l", "s/secret"), file("l", b"broken")],
    "hard link to symlink": lambda h: [symlink("s", h + "/secret"), link("l", "s"), file("l", b"broken", mode=0o777)],
    "hard link and chmod": lambda h: [symlink(h + "/x", h + "/secret"), link("l", h + "/x", mode=0o777)],
    "hard link into symlink": lambda h: [symlink("s", h), file("f"), link("s/l", "f")],
    "hard link to the root": lambda h: [link("l", "/"), link("m", "."), link("n", "..")],
    "proc magic link": lambda h: [symlink("l", "/proc/self/root" + h), file("l/f")],
    "proc descriptor": lambda h: [symlink("l", "/proc/self/fd/3"), file("l/f", b"broken")],
    "whiteout dotdot": lambda h: [file(".wh...")],
    "whiteout dotdot in a directory": lambda h: [directory("a"), file("a/.wh...")],
    "whiteout dot": lambda h: [file(".wh..")],
    "whiteout of nothing": lambda h: [file(".wh.")],
    "whiteout through symlink": lambda h: [symlink("l", h), file("l/.wh.secret")],
    "opaque through symlink": lambda h: [symlink("l", h), file("l/.wh..wh..opq")],
    "opaque above the root": lambda h: [file("../../.wh..wh..opq")],
    "long nest of symlinks": lambda h: [
        *(symlink("/".join(["d" * 200] * n) + "/l", "/".join([".."] * n) + h) for n in range(1, 15)),
        file("/".join(["d" * 200] * 14) + "/l/f"),
    ],
    "component of 255": lambda h: [directory("d" * 255), symlink("d" * 255 + "/l", h), file("d" * 255 + "/l/f")],
}


@pytest.mark.parametrize("mode", ["stacked", "copied", "base"])
@pytest.mark.parametrize("name", BREAKOUTS)
def test_no_layer_reaches_the_host(host, target, name, mode):
    """CVE-2014-6407, CVE-2014-9356, CVE-2014-9358, CVE-2021-32760; and those of tarfile: CVE-2007-4559,
    CVE-2024-12718, CVE-2025-4138, CVE-2025-4330, CVE-2025-4435, CVE-2025-4517, cpython#155999."""
    entries = BREAKOUTS[name](str(host.dir))
    try:
        unpack(archive(*entries, form=tarfile.GNU_FORMAT), target, mode)
    except InvalidArgument as exc:
        assert "layer" in str(exc)


def test_two_layers_with_a_link_between_them_do_not_reach_the_host(host, target):
    """CVE-2025-47290: the first layer's directory becomes a link in the second, the third writes through it."""
    for entries in ([directory("a")], [symlink("a", str(host.dir))], [file("a/f")]):
        unpack(archive(*entries), target, "copied")
    assert not os.path.exists(host.dir / "f")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("truncated gzip", gzip.compress(archive(file("f", os.urandom(9000))))[:-3000]),
        ("gzip without its checksum", gzip.compress(archive(file("f", b"x" * 9000)))[:-8]),
        ("gzip with a wrong checksum", gzip.compress(archive(file("f", b"x" * 9000)))[:-8] + b"\1" * 8),
        ("gzip and garbage", gzip.compress(archive(file("f"))) + b"garbage"),
        ("gzip and zeroes", gzip.compress(archive(file("f"))) + bytes(100)),
        ("nothing but a gzip header", b"\x1f\x8b\x08" + bytes(20)),
        ("truncated zstd", zstandard.compress(archive(file("f", os.urandom(9000))))[:-3000]),
        ("zstd and garbage", zstandard.compress(archive(file("f"))) + b"garbage"),
        ("zstd with a window of 2 GiB", b"\x28\xb5\x2f\xfd" + bytes([0x00, (31 - 10) << 3]) + b"\x01\x00\x00"),
        ("truncated tar", archive(file("f", b"x" * 9000))[:-3000]),
        ("half a header", archive(file("f"))[:300]),
        ("not an archive", b"#!/bin/sh\n" * 1000),
        ("zip", b"PK\x03\x04" + bytes(2000)),
    ],
)
def test_a_damaged_layer_is_data_loss(host, target, name, data):
    """CVE-2021-20291: what it leaves is looked at in test_registry.py."""
    with pytest.raises(DataLoss):
        unpack(data, target)


def test_an_empty_layer_is_no_layer_but_no_harm(target):
    assert unpack(b"", target)["inodes"] == 0
    assert unpack(archive(), target)["inodes"] == 0


def raw(name="f", data=b"", **changes):
    """A header with fields overwritten: {offset: bytes}."""
    block = header(entry(name)[0], tarfile.USTAR_FORMAT)[:512]
    for offset, value in changes.items():
        at = int(offset[1:])
        block = block[:at] + value + block[at + len(value) :]
    return fixed(block) + data


def pax(*records, name="f"):
    body = b""
    for key, value in records:
        length = len(key) + len(value) + 3
        length += len(str(length + len(str(length))))
        body += b"%d %s=%s\n" % (length, key, value)
    return pax_raw(body, name)


def pax_raw(body, name="f"):
    block = raw("pax", _124=b"%011o\0" % len(body), _156=b"x")
    return block + body + bytes(-len(body) % 512) + raw(name) + bytes(1024)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("8 EiB of data", raw(_124=b"\x80" + (8 << 60).to_bytes(11, "big"))),
        ("negative size", raw(_124=b"\xff" * 12)),
        ("size with underscore", raw(_124=b"0000000001_0")),
        ("size with sign", raw(_124=b"-00000000010")),
        ("size not octal", raw(_124=b"00000000089\0")),
        ("size claims more than there is", raw(_124=b"77777777777\0", data=b"x" * 512)),
        ("negative mode", raw(_100=b"\xff" * 8)),
        ("pax length zero", pax_raw(b"0 path=x\n")),
        ("pax length negative", pax_raw(b"-9 path=x\n")),
        ("pax length huge", pax_raw(b"99999999999999999999 path=x\n")),
        ("pax length of many digits", pax_raw(b"9" * 5000 + b" path=x\n")),
        ("pax length too short", pax_raw(b"3 path=x\n")),
        ("pax without end of line", pax_raw(b"9 path=xx")),
        ("pax without equals", pax_raw(b"8 path x\n")),
        ("pax negative size", pax((b"size", b"-1"))),
        ("pax size of 5000 digits", pax((b"size", b"9" * 5000))),
        ("pax size beyond off_t", pax((b"size", b"9" * 19))),
        ("pax NUL in a name", pax((b"path", b"a\0b"))),
        ("pax NUL in a link", pax((b"linkpath", b"a\0b"))),
        ("pax NUL in an attribute name", pax((b"SCHILY.xattr.user.a\0b", b"x"))),
        ("pax of 1 GiB", raw("pax", _124=b"%011o\0" % (1 << 30), _156=b"x")),
        ("GNU long name of 1 GiB", raw("././@LongLink", _124=b"%011o\0" % (1 << 30), _156=b"L")),
        ("endless long names", raw("././@LongLink", _156=b"L") * 10_000),
        ("endless pax", raw("pax", _156=b"x") * 10_000),
        ("wrong checksum", raw()[:148] + b"0000000\0" + raw()[156:]),
    ],
)
def test_a_header_that_lies_is_data_loss(host, target, name, data):
    """CVE-2019-20907, CVE-2024-6232, CVE-2025-8194."""
    with pytest.raises(DataLoss):
        unpack(data, target)


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("major out of range", [device("d", 4096, 0)]),
        ("minor out of range", [device("d", 1, 1 << 20)]),
        ("uid out of range", [file("f", uid=(1 << 32) - 1)]),
        ("gid out of range", [file("f", gid=1 << 40)]),
        ("vendor type", [entry("f", b"V")]),
        ("GNU sparse", [entry("f", b"S")]),
        ("name beyond PATH_MAX", [file("a/" * 3000 + "f")]),
        ("10,000 directories deep", [directory("a/" * 10_000)]),
        ("component beyond NAME_MAX", [file("a" * 256)]),
        ("file as a directory", [file("f"), file("f/g")]),
        ("hard link to a directory", [directory("d"), link("l", "d")]),
        ("hard link to itself", [file("f"), link("f", "f")]),
        ("symlink to nothing", [symlink("l", "")]),
    ],
)
def test_an_entry_that_cannot_be_is_refused(host, target, name, entries):
    """CVE-2017-14992: depth; hazard "devices/xattrs/modes": numbers of devices."""
    with pytest.raises(InvalidArgument, match="layer entry"):
        unpack(archive(*entries, form=tarfile.GNU_FORMAT), target)


def test_sparse_files_are_refused(target):
    with pytest.raises(InvalidArgument, match="sparse"):
        unpack(pax((b"GNU.sparse.major", b"1")), target)


def test_attributes_that_steer_the_host_are_dropped_and_file_capabilities_kept(target):
    """Hazard "devices/xattrs/modes"."""
    capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    headers = {
        "SCHILY.xattr.security.capability": capability.decode("latin-1"),
        "SCHILY.xattr.user.note": "kept",
        "SCHILY.xattr.security.selinux": "x",
        **{f"SCHILY.xattr.user.overlay.{key}": "y" for key in ("opaque", "redirect", "metacopy")},
        **{f"SCHILY.xattr.trusted.overlay.{key}": "y" for key in ("opaque", "redirect", "metacopy")},
    }
    records = [(key.encode(), value.encode("latin-1")) for key, value in headers.items()]
    unpack(pax(*records), target)
    assert sorted(os.listxattr(target / "f")) == ["security.capability", "user.note"]
    assert os.getxattr(target / "f", "security.capability") == capability


def test_a_bomb_meets_a_full_disk_and_little_memory(small_disk):
    """CVE-2017-14992."""
    bomb = gzip.compress(archive(file("zeroes", bytes(64 << 20))))
    with pytest.raises(CrispError, match="No space left"):
        unpack(bomb, small_disk)


def test_deep_nesting_is_unpacked_and_replaced(target):
    deep = "a/" * 1500
    unpack(archive(directory(deep), file(deep + "f", b"x"), file("a", b"flat")), target)
    assert (target / "a").read_text() == "flat"


def test_devices_are_made_but_belong_to_the_image(target):
    unpack(archive(device("mem", 1, 1), device("sda", 8, 0, tarfile.BLKTYPE), entry("fifo", tarfile.FIFOTYPE)), target)
    assert stat.S_ISCHR(os.lstat(target / "mem").st_mode)
    assert os.lstat(target / "sda").st_rdev == os.makedev(8, 0)
    assert stat.S_ISFIFO(os.lstat(target / "fifo").st_mode)


def peak_memory(blob_path, target):
    """Unpack here, in a child: return by how many bytes the peak of memory rose."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open(blob_path, "rb") as blob:
        unpack_job.run_job({"mode": "stacked"}, [blob.fileno(), os.open(target, os.O_RDONLY)])
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("one big file", [file("zeroes", bytes(300 << 20))]),
        ("many directories", [directory(f"d{number}/e") for number in range(20_000)]),
        ("many replaced files", [file("f", uid=number) for number in range(20_000)]),
        ("many hard links", [file("f0"), *(link(f"f{number}", "f0") for number in range(1, 20_000))]),
    ],
)
def test_memory_stays_small_whatever_a_layer_holds(tmp_path, target, name, entries):
    """CVE-2017-14992."""
    (tmp_path / "blob").write_bytes(zstandard.compress(archive(*entries)))
    assert in_child(peak_memory, tmp_path / "blob", target) < 24 << 20
