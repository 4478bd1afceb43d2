import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.diff.tar import TarReader, Type
from core.errdefs import CrispError, DataLoss


def pieces(data, size):
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return lambda: parts.pop(0) if parts else b""


def archive(form, *members, dereference=None):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, data, fields in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def read(data, size=1 << 20):
    reader = TarReader(pieces(data, size))
    return [(entry, b"".join(bytes(piece) for piece in reader.data())) for entry in reader]


LONG = "directory/" * 30 + "name-é"


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
@pytest.mark.parametrize("size", [1, 7, 512, 1 << 20])
def test_what_was_written_is_read_in_pieces_of_any_size(form, size):
    members = [
        ("plain", b"x" * 1500, {"mode": 0o4755, "uid": 1000, "gid": 1001, "mtime": 1_700_000_000}),
        (LONG, b"long", {}),
        ("link", b"", {"type": tarfile.LNKTYPE, "linkname": LONG}),
        ("null", b"", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}),
        ("big", b"", {"uid": 3_000_000_000, "mtime": -5}),
    ]
    entries = read(archive(form, *members), size)
    assert [entry.name.decode() for entry, _ in entries] == [name for name, _, _ in members]
    assert [data for _, data in entries] == [data for _, data, _ in members]
    plain, _, link, null, big = (entry for entry, _ in entries)
    assert (plain.mode, plain.uid, plain.gid, plain.mtime) == (0o4755, 1000, 1001, 1_700_000_000 * 10**9)
    assert link.linkname.decode() == LONG
    assert (null.type, null.major, null.minor) == (Type.CHAR, 1, 3)
    assert (big.uid, big.mtime) == (3_000_000_000, -5 * 10**9)


def test_the_prefix_of_a_ustar_name_is_joined():
    name = "/".join(["directory"] * 15)
    assert read(archive(tarfile.USTAR_FORMAT, (name, b"", {})))[0][0].name.decode() == name


def test_data_that_nobody_reads_is_skipped():
    data = archive(tarfile.GNU_FORMAT, ("a", b"x" * 5000, {}), ("b", b"y" * 5000, {}), ("c", b"z", {}))
    assert [entry.name for entry in TarReader(pieces(data, 700))] == [b"a", b"b", b"c"]


def test_pax_times_have_nanoseconds():
    members = [("f", b"", {"pax_headers": {"mtime": time}}) for time in ("1.5", "0.123456789123", "-2.25", "3")]
    assert [entry.mtime for entry, _ in read(archive(tarfile.PAX_FORMAT, *members))] == [
        1_500_000_000,
        123_456_789,
        -2_250_000_000,
        3_000_000_000,
    ]


def test_extended_attributes_are_bytes():
    headers = {"SCHILY.xattr.user.a": "é=\n", "comment": "no attribute"}
    (entry, _), *_ = read(archive(tarfile.PAX_FORMAT, ("f", b"", {"pax_headers": headers})))
    assert dict(entry.xattrs) == {b"user.a": "é=\n".encode()}


def test_a_long_name_cut_at_a_slash_is_no_directory():
    name = "a/" * 60 + "f"
    (entry, data), *_ = read(archive(tarfile.PAX_FORMAT, (name, b"data", {})))
    assert (entry.type, data) == (Type.REGULAR, b"data")


def test_an_archive_may_end_without_its_end_mark_but_not_inside_an_entry():
    data = archive(tarfile.GNU_FORMAT, ("f", b"x" * 600, {}))
    assert len(read(data[: 3 * 512])) == 1
    for length in (1, 511, 513, 3 * 512 - 500):
        with pytest.raises(DataLoss):
            read(data[:length])


def test_what_follows_the_end_mark_is_drained():
    data = archive(tarfile.GNU_FORMAT, ("f", b"", {})) + b"x" * 5000
    pull = pieces(data, 700)
    reader = TarReader(pull)
    assert len(list(reader)) == 1
    reader.drain()
    assert pull() == b""


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, 6000), st.binary(min_size=1, max_size=20)), max_size=6),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.integers(1, 2000),
)
def test_a_damaged_archive_raises_only_what_is_documented(damage, form, size):
    headers = {"mtime": "1.5", "SCHILY.xattr.user.a": "b"}
    members = [("plain", b"x" * 700, {"pax_headers": headers}), (LONG, b"y", {}), ("l", b"", {"type": tarfile.SYMTYPE})]
    data = bytearray(archive(form, *members))
    for at, junk in damage:
        data[at : at + len(junk)] = junk
        block = at - at % 512
        header = data[block : block + 512]
        if len(header) == 512:  # let the damage pass the checksum
            header[148:156] = b" " * 8
            data[block + 148 : block + 156] = b"%06o\0 " % sum(header)
    try:
        for entry, content in read(bytes(data), size):
            assert entry.size == len(content)
    except CrispError:
        pass
