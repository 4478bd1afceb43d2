"""Archives as tools write them, and as nobody should."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import tarfile
import tracemalloc
from random import Random

import pytest

from cri.cli.archive import entries as module
from cri.cli.archive.documents import Descriptor
from cri.cli.archive.entries import MAX_DOCUMENT, BadArchive
from cri.cli.archive.load import load
from cri.cli.archive.save import save
from rig.images import build, files, layer

IMAGE = build([layer(files({"a": b"1"})), layer(files({"b": b"2"}), "")])
NAME = "example.com/a:1"


class MemoryStore:
    """What Store does, without a daemon."""

    def __init__(self):
        self.blobs = {}

    def put(self, file, size, expected=""):
        data = file.read(size)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert expected in ("", digest)
        self.blobs[digest] = data
        return Descriptor(media_type="application/octet-stream", digest=digest, size=size), data[:4]

    def put_bytes(self, data):
        return self.put(io.BytesIO(data), len(data))[0]

    def get(self, descriptor):
        data = self.blobs[descriptor.digest]
        yield data[:100]
        yield data[100:]


def archive(content, links=()):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return out.getvalue()


def path(data):
    return f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"


def layout(annotations):
    descriptor = {"mediaType": IMAGE.media_type, "digest": IMAGE.digest, "size": len(IMAGE.manifest)}
    index = {"schemaVersion": 2, "manifests": [descriptor | {"annotations": annotations}]}
    blobs = {path(blob): blob for blob in (*IMAGE.blobs, IMAGE.manifest)}
    return {"index.json": json.dumps(index).encode(), "oci-layout": b"{}", **blobs}


def docker(**fields):
    first, second = (one.data for one in IMAGE.layers)
    entry = {"Config": "c.json", "RepoTags": [NAME, "b:2"], "Layers": ["./x/layer.tar", "y/layer.tar"], **fields}
    content = {"c.json": IMAGE.config, "x/layer.tar": first, "z/layer.tar": second}
    return archive({**content, "manifest.json": json.dumps([entry]).encode()}, [("y/layer.tar", "../z/layer.tar")])


def loaded(data, name=""):
    store = MemoryStore()
    return load(io.BytesIO(data), store, name), store


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_an_oci_layout_has_its_blobs_under_their_digests(wrap):
    found, store = loaded(wrap(archive(layout({"io.containerd.image.name": NAME}))))
    assert [(one.name, one.target.digest) for one in found] == [(NAME, IMAGE.digest)]
    assert set(store.blobs) == {f"sha256:{hashlib.sha256(blob).hexdigest()}" for blob in (*IMAGE.blobs, IMAGE.manifest)}


@pytest.mark.parametrize("annotations", [{}, {"org.opencontainers.image.ref.name": "1"}])
def test_an_image_without_a_full_name_needs_one(annotations):
    data = archive(layout(annotations))
    with pytest.raises(BadArchive, match="--name"):
        loaded(data)
    assert loaded(data, NAME)[0][0].name == NAME


def test_docker_save_gets_the_manifest_that_a_registry_would_have():
    found, store = loaded(docker())
    assert [one.name for one in found] == [NAME, "b:2"]
    manifest = json.loads(store.blobs[found[0].target.digest])
    assert found[0].target.media_type == manifest["mediaType"]
    assert manifest["config"]["digest"] == IMAGE.id
    assert [one["digest"] for one in manifest["layers"]] == [
        f"sha256:{hashlib.sha256(one.data).hexdigest()}" for one in IMAGE.layers
    ]
    assert [one["mediaType"].endswith(".gzip") for one in manifest["layers"]] == [True, False]


def test_what_was_saved_is_loaded_again():
    found, store = loaded(archive(layout({"io.containerd.image.name": NAME})))
    out = io.BytesIO()
    save(out, store, found)
    again, copy = loaded(out.getvalue())
    assert [(one.name, one.target.digest) for one in again] == [(NAME, IMAGE.digest)]
    assert copy.blobs == store.blobs
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        (entry,) = json.load(tar.extractfile("manifest.json"))
        assert entry["RepoTags"] == [NAME]
        assert tar.extractfile(entry["Config"]).read() == IMAGE.config


def pax(size):
    """A header that announces `size` bytes of names, and as many as compress to little."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, size
    return info.tobuf() + b"\0" * size


def sparse():
    info = tarfile.TarInfo("blobs/sha256/x")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"00000000000\0" * 2
    header[483:495] = b"77777777777\0"
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    return bytes(header) + b"\0" * 1024


def large_index():
    info = tarfile.TarInfo("index.json")
    info.size = MAX_DOCUMENT + 1
    return info.tobuf() + b" " * (2 << 20)


HOSTILE = {
    "nothing": b"",
    "no tar": b"no tar" * 1000,
    "cut gzip": gzip.compress(docker())[:-20],
    "bad gzip": b"\x1f\x8b\xff" + b"x" * 100,
    "cut": docker()[:700],
    "headers": gzip.compress(pax(64 << 20)),
    "many headers": pax(0) * 1000,
    "sparse": sparse(),
    "large document": large_index(),
    "no documents": archive({"a": b"b"}),
    "no image": archive({"index.json": b'{"manifests": []}'}),
    "deep": archive({"index.json": b"[" * 1_000_000}),
    "strange": archive({"index.json": b'{"manifests": [{"digest": 3}]}'}),
    "negative": archive({"index.json": b'{"manifests": [{"mediaType": "", "digest": "", "size": -1}]}'}),
    "lost layer": docker(Layers=["../../etc/passwd"]),
    "lost config": docker(Config="/etc/passwd"),
    "circle": archive({"manifest.json": b'[{"Config": "a", "Layers": []}]'}, [("a", "b"), ("b", "a")]),
    "many images": archive({"index.json": b'{"manifests": [%s]}' % b",".join(
        [b'{"mediaType": "", "digest": "", "size": 1}'] * 1001
    )}),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_archive_is_refused_in_bounded_memory(data):
    """CVE-2023-25153."""
    tracemalloc.start()
    try:
        with pytest.raises(BadArchive):
            loaded(data)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_a_million_entries_are_too_many(monkeypatch):
    monkeypatch.setattr(module, "MAX_ENTRIES", 10)
    with pytest.raises(BadArchive, match="more than 10 entries"):
        loaded(archive({str(number): b"" for number in range(11)}))


def test_any_damage_ends_in_an_image_or_a_refusal():
    whole = docker()
    random = Random(1)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(random.randint(1, 4)):
            damaged[random.randrange(3072)] = random.choice(os.urandom(1) + b"0 7\0\xff\x80")
        with contextlib.suppress(BadArchive):
            loaded(bytes(damaged))
