import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errdefs import InvalidArgument, Unimplemented
from core.oci.image import (
    DOCKER_MANIFEST,
    MAX_DOCUMENT,
    OCI_INDEX,
    OCI_MANIFEST,
    Index,
    Manifest,
    chain_ids,
    parse_config,
    parse_manifest,
)

DIGEST = "sha256:" + "a" * 64
ENTRY = {"mediaType": "x", "digest": DIGEST, "size": 1}
MANIFEST = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": ENTRY, "layers": [ENTRY]}
PLATFORM = {"os": "linux", "architecture": "arm", "os.version": "1"}
INDEX = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{**ENTRY, "platform": PLATFORM}]}
CONFIG = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [DIGEST]}}


def raw(document, **changes):
    return json.dumps({**document, **changes}).encode()


def test_a_manifest_keeps_its_bytes_and_unknown_fields_do_no_harm():
    data = raw(MANIFEST, subject={"x": [1]}, annotations={"a": "b"})
    manifest = parse_manifest(data, OCI_MANIFEST)
    assert isinstance(manifest, Manifest)
    assert (manifest.raw, manifest.annotations, manifest.layers[0].digest) == (data, {"a": "b"}, DIGEST)


def test_an_index_has_platforms():
    index = parse_manifest(raw(INDEX), OCI_INDEX)
    assert isinstance(index, Index)
    platform = index.manifests[0].platform
    assert (platform.architecture, platform.os_version) == ("arm", "1")


@pytest.mark.parametrize("announced", ["", "application/json", "text/plain; charset=utf-8", f"{OCI_MANIFEST}; x=y"])
def test_a_sender_may_leave_the_type_to_the_document(announced):
    assert parse_manifest(raw(MANIFEST), announced).media_type == OCI_MANIFEST


def test_a_document_may_leave_its_type_to_the_sender():
    data = json.dumps({key: MANIFEST[key] for key in MANIFEST if key != "mediaType"}).encode()
    assert parse_manifest(data, DOCKER_MANIFEST).media_type == DOCKER_MANIFEST
    assert parse_manifest(data, "").media_type == OCI_MANIFEST


@pytest.mark.parametrize(
    ("data", "announced"),
    [
        (raw(MANIFEST, manifests=[]), OCI_MANIFEST),
        (raw(INDEX, layers=[]), OCI_INDEX),
        (raw(INDEX, config=ENTRY), OCI_INDEX),
        (raw(MANIFEST), OCI_INDEX),
        (raw(MANIFEST), DOCKER_MANIFEST),
        (raw(MANIFEST, mediaType=OCI_INDEX), OCI_INDEX),
        (raw(MANIFEST, mediaType="application/x"), "application/x"),
    ],
)
def test_an_ambiguous_document_is_refused(data, announced):
    """GHSA-5j5w-g665-5m35 (CVE-2021-41190)."""
    with pytest.raises(InvalidArgument):
        parse_manifest(data, announced)


SIZES = [-1, 2**63, 10**400, 1.5, "1", None, True, [], {}]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"1",
        b'"x"',
        b"{}",
        b"\xef\xbb\xbf" + raw(MANIFEST),
        raw(MANIFEST).decode().encode("utf-16"),
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"schemaVersion": ' + b"9" * 5000 + b"}",
        b'{"schemaVersion": 2, "config": NaN, "layers": []}',
        b'{"schemaVersion": 2, "layers": [], "layers": []}',
        raw(MANIFEST).replace(b'"size": 1', b'"size": 1, "size": 2'),
        raw(MANIFEST, mediaType="\ud800"),
        raw(MANIFEST, annotations={"\ud800": ""}),
        raw(MANIFEST, annotations={"a": 1}),
        raw(MANIFEST, layers=None),
        raw(MANIFEST, layers={}),
        raw(MANIFEST, layers=[None]),
        raw(MANIFEST, layers=[[]]),
        raw(MANIFEST, layers=[{}]),
        raw(MANIFEST, layers=[ENTRY] * 501),
        raw(MANIFEST, layers=[ENTRY] * 100_000),
        raw(MANIFEST, schemaVersion=3),
        raw(MANIFEST, schemaVersion="2"),
        raw(MANIFEST, schemaVersion=None),
        raw(MANIFEST, mediaType=1),
        *(raw(MANIFEST, layers=[{**ENTRY, "size": size}]) for size in SIZES),
        *(raw(MANIFEST, config={**ENTRY, "digest": d}) for d in (None, 1, "", "sha256:../../x", "SHA256:" + "A" * 64)),
        raw(MANIFEST) + b"x",
        b" " * (MAX_DOCUMENT + 1),
    ],
)
def test_what_is_no_manifest_is_invalid_and_nothing_else(data):
    """CVE-2021-21285."""
    with pytest.raises(InvalidArgument):
        parse_manifest(data, "")


@pytest.mark.parametrize("data", [raw(MANIFEST, schemaVersion=1), b'{"fsLayers": []}', b'{"schemaVersion": 1, "x": 2}'])
def test_schema_1_is_named(data):
    with pytest.raises(Unimplemented, match="schema 1"):
        parse_manifest(data, "")


def test_a_config_may_leave_everything_out_that_is_not_needed():
    config = parse_config(raw(CONFIG, config={"Env": None, "Entrypoint": None, "Cmd": ["a"], "Labels": None}))
    assert (config.diff_ids, config.config.cmd, config.config.env) == ((DIGEST,), ("a",), None)
    assert parse_config(raw(CONFIG, config=None)).config.user == ""


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        raw(CONFIG, rootfs=None),
        raw(CONFIG, rootfs={"type": "magic", "diff_ids": []}),
        raw(CONFIG, rootfs={"type": "layers", "diff_ids": ["md5:1"]}),
        raw(CONFIG, rootfs={"type": "layers", "diff_ids": None}),
        raw(CONFIG, config={"Env": "x"}),
        raw(CONFIG, config={"Cmd": [1]}),
        raw(CONFIG, config=[]),
        raw(CONFIG, os=1),
    ],
)
def test_what_is_no_config_is_invalid(data):
    with pytest.raises(InvalidArgument):
        parse_config(data)


def test_chain_ids_are_those_of_the_specification():
    # OCI image-spec, config.md: ChainID(A|B) = Digest(ChainID(A) + " " + DiffID(B)); sha256sum of that text
    assert chain_ids(()) == ()
    first, second = chain_ids((DIGEST, DIGEST))
    assert first == DIGEST
    assert second == "sha256:9d2cc34dc7dc748dba0ed439e6987c2f2c39ec504fa0c1527531d9bc7d0f1052"


FIELDS = st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "manifests", "digest", "size"])
LEAVES = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(FIELDS, inner)))
def test_any_json_is_a_document_or_refused(value):
    with contextlib.suppress(InvalidArgument, Unimplemented):
        parse_manifest(json.dumps(value).encode(), "")
