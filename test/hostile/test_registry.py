"""Registries that lie, break off, stall and steal (hazards: CVE-2020-15157, digest and size, 3.16 to 3.19)."""

import asyncio
import base64
import contextlib
import dataclasses
import gzip
import json
import random

import pytest
from aiohttp import web

from core.errdefs import (
    CrispError,
    DataLoss,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from core.remotes.auth import Credentials
from core.remotes.ranges import Splitting
from core.remotes.retry import Limits
from rig.hostile_registry import (
    answer,
    broken_off,
    endless,
    hostile_registry,
    once_for_ranges,
    redirect,
    silent,
    stalled,
    together,
    wants,
    whole_despite_range,
)
from rig.images import BuiltImage, Layer, artifact, bare, build, files, layer, sha256
from rig.patience import patient
from rig.pulls import QUICK, pull_rig

pytestmark = pytest.mark.root

SECRETS = Credentials(username="user", password="password", identity_token="identity")
PASSWORD = Credentials(username="user", password="password")
BASIC = "Basic " + base64.b64encode(b"user:password").decode()


@pytest.fixture
async def registry():
    async with hostile_registry() as running:
        yield running


@pytest.fixture
async def evil():
    async with hostile_registry() as running:
        yield running


@pytest.fixture
async def rig(tmp_path):
    async with pull_rig(tmp_path, tmp_path / "certs") as running:
        yield running


def some_image(size=300_000):
    return build([layer(files({"data": bytes(range(256)) * (size // 256)}), "")])


def edited(image, edit):
    """`image` with a manifest that `edit` has changed."""
    document = json.loads(image.manifest)
    edit(document)
    return dataclasses.replace(image, manifest=json.dumps(document).encode())


# Credentials


def foreign_image(url, registry):
    """An image whose layer is not in `registry` but at `url`; its name, and its layer's blob."""
    built = some_image()
    blob = sha256(built.layers[0].data)

    def foreign(document):
        document["layers"][0]["urls"] = ["ftp://nowhere/x", url + blob]

    name = registry.add(edited(built, foreign), "test/image", "1")
    return name, blob, registry.blobs.pop(blob)


async def test_urls_of_a_layer_are_not_asked_unless_their_host_is_allowed(tmp_path, rig, registry, evil):
    """CVE-2020-15157."""
    name, _, _ = foreign_image(f"{evil.url}/blobs/", registry)
    with pytest.raises(InvalidArgument, match="foreign_layer_hosts"):
        await rig.puller.pull(name, SECRETS)
    async with pull_rig(tmp_path / "other", foreign=["example.com", "127.0.0.2:*", "127.0.0.1"]) as other:
        with pytest.raises(InvalidArgument, match="foreign_layer_hosts"):
            await other.puller.pull(name, SECRETS)
    assert evil.requests == []


async def test_a_foreign_layer_is_fetched_with_nothing_of_ours(tmp_path, registry, evil):
    name, blob, data = foreign_image(f"{evil.url}/blobs/", registry)
    evil.blobs[blob] = data
    registry.on("/v2/", wants("Basic", BASIC))
    async with pull_rig(tmp_path, foreign=[evil.host]) as rig:
        image = await rig.puller.pull(name, PASSWORD)
        assert len(rig.tree(image)["data"]) > 200_000
    (asked,) = evil.requests
    assert (asked.method, asked.secrets) == ("GET", [])


async def test_a_foreign_host_gets_no_proof_and_leads_nowhere_else(tmp_path, registry, evil):
    name, _, _ = foreign_image(f"{evil.url}/blobs/", registry)
    async with pull_rig(tmp_path, foreign=[evil.host]) as rig:
        evil.on("/blobs/", answer(401, WWW_Authenticate=f'Bearer realm="{evil.url}/token"'))
        with pytest.raises(Unauthenticated):
            await rig.puller.pull(name, SECRETS)
        evil.on("/blobs/", redirect(registry.url + "/internal"))
        with pytest.raises(PermissionDenied, match="foreign_layer_hosts"):
            await rig.puller.pull(name, SECRETS)
        evil.on("/blobs/", answer(200, b"another blob" * 25_000))
        with pytest.raises(DataLoss):
            await rig.puller.pull(name, SECRETS)
        assert rig.leftovers()[1:] == (set(), set())
    assert evil.asked("/token") == []
    assert registry.asked("/internal") == []
    assert all(one.secrets == [] for one in evil.requests)


async def test_credentials_and_headers_do_not_follow_a_redirect(tmp_path, rig, registry, evil):
    built = some_image()
    name = registry.add(built, "test/image", "1")
    registry.on("", wants('Basic realm="x"', BASIC))
    registry.on("/blobs/", redirect(evil.url), method="GET")
    evil.add(built, "test/image", "1")
    directory = tmp_path / "certs" / registry.host
    directory.mkdir(parents=True)
    (directory / "hosts.toml").write_text(f'server = "{registry.url}"\n[header]\nx-secret = "mine"\n')
    await rig.puller.pull(name, PASSWORD)
    assert registry.requests[-1].secrets
    assert len(evil.asked("/blobs/")) == 2
    assert [one.secrets for one in evil.requests] == [[], []]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_target_that_wants_a_password_does_not_get_one(rig, registry, evil, status):
    """CVE-2020-15157."""
    name = registry.add(some_image(), "test/image", "1")
    registry.on("/manifests/", redirect(evil.url, status))
    evil.on("", wants(f'Bearer realm="{evil.url}/token"', BASIC))
    with pytest.raises(Unauthenticated):
        await rig.puller.pull(name, SECRETS)
    assert evil.requests
    assert not any(one.secrets or one.body or "token" in one.path for one in evil.requests)


async def test_a_token_realm_on_another_plain_host_gets_nothing(rig, registry, evil):
    """CVE-2019-10214."""
    name = registry.add(some_image(), "test/image", "1")
    registry.on("", wants(f'Bearer realm="{evil.url}/token",service="x"', "Bearer t"))
    with pytest.raises(PermissionDenied, match="realm"):
        await rig.puller.pull(name, SECRETS)
    assert evil.requests == []


@pytest.mark.parametrize("realm", ["", "/token", "ftp://x/", "http://[", "http://127.0.0.1:99999/", "\x7f"])
async def test_a_token_realm_that_is_no_url_is_refused(rig, registry, realm):
    name = registry.add(some_image(), "test/image", "1")
    registry.on("", wants(f'Bearer realm="{realm}"', "Bearer t"))
    with pytest.raises(CrispError):
        await rig.puller.pull(name, SECRETS)


@pytest.mark.parametrize("server", ["other.example", "https://127.0.0.1:1/", "http://[", "%%%"])
async def test_credentials_for_another_server_stay_here(rig, registry, server):
    name = registry.add(some_image(), "test/image", "1")
    registry.on("", wants('Basic realm="x"', BASIC))
    with pytest.raises(Unauthenticated):
        await rig.puller.pull(name, dataclasses.replace(PASSWORD, server_address=server))
    assert not any(one.secrets for one in registry.requests)


async def test_one_token_serves_a_whole_pull(rig, registry):
    name = registry.add(build([layer(files({str(n): b"1"})) for n in range(4)]), "test/image", "1")
    challenge = f'Bearer realm="{registry.url}/token",service="reg,1",scope="repository:a:pull"'
    registry.on("/v2/", wants(challenge, "Bearer t"))
    registry.on("/token", answer(body=b'{"token": "t"}'))
    await rig.puller.pull(name, PASSWORD)
    (asked,) = registry.asked("/token")
    assert asked.headers["Authorization"] == BASIC
    assert asked.query == "service=reg,1&scope=repository:a:pull"


async def test_an_identity_token_is_exchanged_by_post(rig, registry):
    name = registry.add(some_image(), "test/image", "1")
    registry.on("/v2/", wants(f'Bearer realm="{registry.url}/token"', "Bearer t"))
    registry.on("/token", answer(body=b'{"access_token": "t"}'))
    await rig.puller.pull(name, Credentials(identity_token="identity"))
    (asked,) = registry.asked("/token", "POST")
    assert b"grant_type=refresh_token" in asked.body
    assert b"refresh_token=identity" in asked.body
    assert b"scope=repository%3Atest%2Fimage%3Apull" in asked.body
    assert not asked.secrets


async def test_a_registry_token_is_sent_as_it_is(rig, registry):
    name = registry.add(some_image(), "test/image", "1")
    registry.on("/v2/", wants(f'Bearer realm="{registry.url}/token"', "Bearer given"))
    await rig.puller.pull(name, Credentials(registry_token="given"))
    assert registry.asked("/token") == []


async def test_credentials_as_base64_are_understood(rig, registry):
    name = registry.add(some_image(), "test/image", "1")
    registry.on("/v2/", wants('Basic realm="x"', BASIC))
    auth = base64.b64encode(b"user:password").decode()
    await rig.puller.pull(name, Credentials(auth=auth, server_address=registry.host))


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"token": 1}', b'{"token": "a\\nb"}', b'{"token": null}', b"{" * 100_000]
)
async def test_an_answer_that_is_no_token_is_an_error(rig, registry, body):
    name = registry.add(some_image(), "test/image", "1")
    registry.on("/v2/", wants(f'Bearer realm="{registry.url}/token"', "Bearer t"))
    registry.on("/token", answer(body=body))
    with pytest.raises(CrispError, match="token"):
        await rig.puller.pull(name)


async def test_queries_do_not_show_in_errors(rig, registry, evil, caplog):
    name = registry.add(some_image(), "test/image", "1")
    registry.on("/blobs/", answer(307, Location=f"{evil.url}/signed?signature=hidden"), method="GET")
    evil.on("/signed", answer(403))
    caplog.set_level("DEBUG", "core")
    with pytest.raises(PermissionDenied) as caught:
        await rig.puller.pull(name, PASSWORD)
    for text in (str(caught.value), *(str(record.__dict__) for record in caplog.records if record.name[:4] == "core")):
        assert "hidden" not in text
        assert "password" not in text


# What is served


async def test_another_blob_than_asked_for_is_data_loss_and_leaves_nothing(rig, registry):
    built = some_image()
    name = registry.add(built, "test/image", "1")
    right = built.layers[0].data
    registry.on(sha256(right), answer(body=bytes(len(right))))
    with pytest.raises(DataLoss):
        await rig.puller.pull(name)
    blobs, ingests, snapshots = rig.leftovers()
    assert (sha256(right) in blobs, ingests, snapshots) == (False, set(), set())


@pytest.mark.parametrize("change", [-1, 1, 5000])
async def test_a_blob_of_another_length_is_data_loss_and_leaves_nothing(rig, registry, change):
    built = some_image()
    name = registry.add(built, "test/image", "1")
    right = built.layers[0].data
    registry.on(sha256(right), answer(body=(right + bytes(5000))[: len(right) + change]))
    with pytest.raises(DataLoss, match="bytes"):
        await rig.puller.pull(name)
    assert rig.leftovers()[1:] == (set(), set())


async def test_a_body_without_an_end_is_cut_at_the_size_of_the_descriptor(rig, registry):
    built = some_image()
    name = registry.add(built, "test/image", "1")
    registry.on(sha256(built.layers[0].data), endless())
    with pytest.raises(DataLoss, match="more than"):
        await rig.puller.pull(name)


@pytest.mark.parametrize("path", ["/manifests/", "/blobs/"])
async def test_a_document_without_an_end_is_cut(rig, registry, path):
    name = registry.add(some_image(), "test/image", "1")
    registry.on(path, endless(), method="GET")
    with pytest.raises(DataLoss):
        await rig.puller.pull(name)


async def test_a_manifest_with_another_digest_is_data_loss(rig, registry):
    built = some_image()
    name = registry.add(built, "test/image", "1")
    wrong = answer(body=built.manifest.replace(b"2", b"3"), Content_Type=built.media_type)
    registry.on("/manifests/", wrong, method="GET")
    with pytest.raises(DataLoss, match="digest"):
        await rig.puller.pull(name)
    assert rig.leftovers() == (set(), set(), set())


async def test_a_tag_that_moves_between_head_and_get_gives_what_head_said(rig, registry):
    before, after = some_image(), build([layer(files({"other": b"1"}))])
    name = registry.add(before, "test/image", "1")

    async def move(_registry, _request):
        registry.add(after, "test/image", "1")

    registry.on("/manifests/sha256", move, method="GET")
    assert (await rig.puller.pull(name)).id == before.id


async def test_head_is_not_needed(rig, registry):
    built = some_image()
    name = registry.add(built, "test/image", "1")
    registry.on("/manifests/", answer(405), method="HEAD")
    assert (await rig.puller.pull(name)).id == built.id


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"manifests": []}, InvalidArgument),
        ({"schemaVersion": 1}, Unimplemented),
        ({"layers": None}, InvalidArgument),
        ({"config": None}, InvalidArgument),
        ({"mediaType": "application/vnd.oci.image.index.v1+json"}, InvalidArgument),
        ({"layers": [{"mediaType": "x", "digest": "sha256:../../x", "size": 1}]}, InvalidArgument),
        ({"layers": [{"mediaType": "x", "digest": "md5:" + "0" * 32, "size": 1}]}, InvalidArgument),
        ({"layers": [{"mediaType": "x", "digest": "SHA256:" + "0" * 64, "size": 1}]}, InvalidArgument),
        ({"layers": [{"mediaType": "x", "digest": "sha256:" + "0" * 63, "size": 1}]}, InvalidArgument),
        ({"layers": [{"mediaType": "x", "digest": "sha256:" + "0" * 64 + "\n", "size": 1}]}, InvalidArgument),
        ({"layers": [{"mediaType": "x", "digest": "sha256:" + "0" * 64, "size": -1}]}, InvalidArgument),
        ({"layers": [{"mediaType": "x", "digest": "sha256:" + "0" * 64, "size": 1}] * 501}, InvalidArgument),
        ({"layers": []}, InvalidArgument),
    ],
)
async def test_a_manifest_that_makes_no_sense_is_refused_and_the_next_pull_works(rig, registry, document, error):
    """CVE-2021-21285, CVE-2024-3727."""
    wrong = edited(some_image(), lambda manifest: manifest.update(document))
    with pytest.raises(error):
        await rig.puller.pull(registry.add(wrong, "test/wrong", "1"))
    assert rig.leftovers()[1:] == (set(), set())
    await rig.puller.pull(registry.add(some_image(), "test/right", "1"))


async def test_a_content_type_that_contradicts_the_document_is_refused(rig, registry):
    """GHSA-5j5w-g665-5m35 (CVE-2021-41190)."""
    wrong = dataclasses.replace(some_image(), media_type="application/vnd.oci.image.index.v1+json")
    name = registry.add(wrong, "test/image", "1")
    with pytest.raises(InvalidArgument, match="announced"):
        await rig.puller.pull(name)


async def test_a_manifest_of_five_mebibytes_is_not_read(rig, registry):
    """CVE-2017-14992, and the limit of the peers: 4 * 1048 * 1048 bytes."""
    wrong = edited(some_image(), lambda manifest: manifest.update(annotations={"a": "b" * (5 << 20)}))
    with pytest.raises(InvalidArgument, match="5243"):
        await rig.puller.pull(registry.add(wrong, "test/image", "1"))
    assert registry.asked("/manifests/") == []


async def test_a_config_of_a_gibibyte_is_not_read(rig, registry):
    """CVE-2017-14992."""
    wrong = edited(some_image(), lambda manifest: manifest["config"].update(size=1 << 30))
    with pytest.raises(InvalidArgument, match="config"):
        await rig.puller.pull(registry.add(wrong, "test/image", "1"))
    assert registry.asked("/blobs/") == []


async def test_indexes_that_lead_to_indexes_for_ever_are_refused(rig, registry):
    inner = some_image()
    for _ in range(20):
        entry = {"mediaType": inner.media_type, "digest": inner.digest, "size": len(inner.manifest)}
        kind = "application/vnd.oci.image.index.v1+json"
        raw = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": [entry]}).encode()
        inner = BuiltImage(media_type=kind, manifest=raw, blobs=(), inner=(inner,))
    with pytest.raises(InvalidArgument, match="indexes"):
        await rig.puller.pull(registry.add(inner, "test/image", "1"))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", CrispError),
        (b"garbage", CrispError),
        (gzip.compress(files({"a": b"1"}))[:-20], DataLoss),
        (gzip.compress(files({"a": b"1"})) + b"garbage", DataLoss),
        (gzip.compress(files({"a": b"another content"})), DataLoss),
        (b"\x28\xb5\x2f\xfd\x04\xf8\x00\x00\x00", DataLoss),
    ],
)
async def test_a_layer_that_is_not_what_the_config_says_leaves_no_snapshot_and_no_lock(rig, registry, data, error):
    """CVE-2021-20291."""
    bad = Layer(data=data, diff_id=sha256(files({"a": b"1"})), compression="gzip")
    name = registry.add(build([bad]), "test/bad", "1")
    for _ in range(2):
        with pytest.raises(error):
            await rig.puller.pull(name)
        assert rig.leftovers()[1:] == (set(), set())
    await rig.puller.pull(registry.add(build([layer(files({"a": b"1"}))]), "test/good", "1"))


@pytest.mark.parametrize("title", ["../x", "/x", "a/../../x", "a//x", ".", "x/", "a\0", "x" * 256, "a/" * 40 + "x"])
async def test_a_file_of_an_artifact_cannot_lead_elsewhere(rig, registry, title):
    def as_artifact(manifest):
        manifest["config"]["mediaType"] = "application/x-model"
        manifest["layers"][0]["annotations"] = {"org.opencontainers.image.title": title}

    with pytest.raises(InvalidArgument, match="title"):
        await rig.puller.pull(registry.add(edited(some_image(), as_artifact), "test/image", "1"))
    assert rig.images.list() == ()
    await rig.collector.collect()
    assert rig.leftovers() == (set(), set(), set())


@pytest.mark.parametrize("titles", [("a", "a/b"), ("a/b", "a")])
async def test_files_of_an_artifact_cannot_be_one_anothers_directory(rig, registry, titles):
    hostile = artifact({title: title.encode() for title in titles})
    with pytest.raises(InvalidArgument, match="artifact: title"):
        await rig.puller.pull(registry.add(hostile, "test/image", "1"))
    assert rig.images.list() == ()
    await rig.collector.collect()
    assert rig.leftovers() == (set(), set(), set())


async def test_layers_that_unpack_at_once_do_not_write_through_each_others_links(rig, registry, tmp_path):
    """CVE-2025-47290: a directory becomes a link in the second layer, and the third one writes through it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    lower = [layer(files({"a/x": b"1"})), layer(files({"a": str(outside)}))]
    names = [
        registry.add(build([*lower, layer(bare("a/f", data))]), f"test/image{number}", "1")
        for number, data in enumerate((b"first", b"second"))
    ]
    for _ in range(5):
        pulled = await asyncio.gather(*map(rig.puller.pull, names))
        assert [rig.tree(image)["a/f"] for image in pulled] == [b"first", b"second"]
        assert list(outside.iterdir()) == []
        for image in pulled:
            await rig.remover.remove(image.id)


async def test_a_config_larger_than_any_document_is_not_read_and_a_long_history_is(rig, registry):
    """An environment of 10 MB, 100,000 steps of a history."""
    large = build([layer(files({"a": b"1"}))], config={"Env": [f"A{n}={'x' * 100_000}" for n in range(100)]})
    with pytest.raises(InvalidArgument, match="config"):
        await rig.puller.pull(registry.add(large, "test/large", "1"))
    assert registry.asked("/blobs/") == []
    long = build([layer(files({"a": b"1"}))], history=[{"empty_layer": True}] * 100_000)
    assert (await rig.puller.pull(registry.add(long, "test/long", "1"))).id == long.id


# How it is served


async def test_a_host_that_never_takes_its_own_token_is_asked_a_few_times(rig, registry):
    name = registry.add(some_image(), "test/image", "1")
    registry.on("/v2/", wants(f'Bearer realm="{registry.url}/token"', "Bearer never"))
    registry.on("/token", answer(body=b'{"token": "t"}'))
    with pytest.raises(Unauthenticated):
        await rig.puller.pull(name, PASSWORD)
    assert len(registry.requests) < 20


async def test_an_error_without_an_end_is_cut(rig, registry):
    """The limit of the peers: 64 KiB of a body that only explains."""
    name = registry.add(some_image(), "test/image", "1")
    registry.on("/manifests/", endless(403), method="GET")
    registry.on("/manifests/", answer(405), method="HEAD")
    with pytest.raises(PermissionDenied, match="403"):
        await rig.puller.pull(name)


async def test_a_transfer_that_breaks_off_goes_on_where_it_was(rig, registry):
    built = some_image()
    name = registry.add(built, "test/image", "1")
    blob = sha256(built.layers[0].data)
    registry.on(blob, broken_off(100_000), times=1)
    assert rig.tree(await rig.puller.pull(name))["data"][:3] == b"\0\1\2"
    first, second = registry.asked(blob)
    assert "Range" not in first.headers
    assert 0 < int(second.headers["Range"].removeprefix("bytes=").removesuffix("-")) <= 100_000


async def test_a_host_that_does_no_ranges_is_read_from_the_start(rig, registry):
    built = some_image()
    name = registry.add(built, "test/image", "1")
    blob = sha256(built.layers[0].data)
    registry.on(blob, whole_despite_range())
    registry.on(blob, broken_off(100_000), times=1)
    await rig.puller.pull(name)
    assert len(registry.asked(blob)) == 2


@pytest.mark.parametrize("content_range", ["", "bytes 0-9/10", "bytes 5-4/3", "bytes */1", "bytes 9" * 99])
async def test_a_range_that_was_not_asked_for_is_data_loss(rig, registry, content_range):
    built = some_image()
    name = registry.add(built, "test/image", "1")
    blob = sha256(built.layers[0].data)
    registry.on(blob, answer(206, built.layers[0].data[100_000:], Content_Range=content_range))
    registry.on(blob, broken_off(100_000), times=1)
    with pytest.raises(DataLoss):
        await rig.puller.pull(name)
    assert rig.leftovers()[1:] == (set(), set())


SPLIT = Splitting(segment=1 << 16, large=1 << 17, fast=1 << 60)
"""Some of our small layers' ranges at once, however fast the registry is."""


@pytest.fixture
async def split_rig(tmp_path):
    async with pull_rig(tmp_path, splitting=SPLIT) as running:
        yield running


def start_of(asked):
    return int(asked.headers["Range"].removeprefix("bytes=").partition("-")[0])


def random_image(size=600_000):
    return build([layer(files({"data": random.Random(1).randbytes(size)}))])


async def test_ranges_of_a_large_layer_come_at_the_same_time(split_rig, registry):
    built = random_image()
    name = registry.add(built, "test/image", "1")
    blob = sha256(built.layers[0].data)
    registry.on(blob, together(SPLIT.at_once))  # with fewer at the same time the pull would hang
    assert len(split_rig.tree(await split_rig.puller.pull(name))["data"]) == 600_000
    asked = [one.headers["Range"] for one in registry.asked(blob)]
    assert len(asked) == len(set(asked)) > SPLIT.at_once


@pytest.mark.parametrize(
    "refusal",
    [answer(429), answer(404), answer(200, b"x" * 99), answer(206, b"x", Content_Range="bytes 0-0/1"), broken_off(9)],
)
async def test_a_range_that_is_refused_or_wrong_is_read_again_by_the_main_stream(split_rig, registry, refusal):
    built = random_image()
    name = registry.add(built, "test/image", "1")
    blob = sha256(built.layers[0].data)
    starts = (2 * SPLIT.segment, 3 * SPLIT.segment)  # the stream has those before them
    registry.on(blob, once_for_ranges(starts, refusal))
    assert len(split_rig.tree(await split_rig.puller.pull(name))["data"]) == 600_000
    asked = [one.headers["Range"] for one in registry.asked(blob)]
    assert all(sum(one.startswith(f"bytes={start}-") for one in asked) == 2 for start in starts)


async def test_a_range_with_wrong_bytes_is_data_loss_and_leaves_nothing(split_rig, registry):
    built = random_image()
    name = registry.add(built, "test/image", "1")
    blob = sha256(built.layers[0].data)
    start, size = 2 * SPLIT.segment, len(built.layers[0].data)
    lie = answer(206, bytes(SPLIT.segment), Content_Range=f"bytes {start}-{start + SPLIT.segment - 1}/{size}")
    registry.on(blob, once_for_ranges([start], lie))
    with pytest.raises(DataLoss):
        await split_rig.puller.pull(name)
    assert split_rig.leftovers()[1:] == (set(), set())


async def test_a_pull_that_is_cut_off_amid_ranges_leaves_the_first_bytes_for_the_next(split_rig, registry):
    built = random_image()
    name = registry.add(built, "test/image", "1")
    blob = sha256(built.layers[0].data)
    registry.on(blob, once_for_ranges([4 * SPLIT.segment], silent()))
    pulling = asyncio.create_task(split_rig.puller.pull(name))
    while not (layers := split_rig.puller.progress(name)) or layers[0].offset < 4 * SPLIT.segment:
        await asyncio.sleep(0.01)
    pulling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await pulling
    (left,) = split_rig.content.ingests()
    assert left.offset == 4 * SPLIT.segment
    registry.requests.clear()
    assert len(split_rig.tree(await split_rig.puller.pull(name))["data"]) == 600_000
    assert min(map(start_of, registry.asked(blob))) == left.offset


async def test_a_transfer_that_never_gets_on_ends_and_keeps_what_came(rig, registry):
    built = some_image()
    name = registry.add(built, "test/image", "1")
    blob = sha256(built.layers[0].data)
    registry.on(blob, answer(503))
    registry.on(blob, broken_off(100_000), times=1)
    with pytest.raises(Unavailable, match="503"):
        await rig.puller.pull(name)
    assert rig.leftovers()[1:] == ({f"layer-{blob}"}, set())
    registry.behave()
    await rig.puller.pull(name)
    assert registry.asked(blob)[-1].headers["Range"].startswith("bytes=")
    assert rig.leftovers()[1] == set()


async def test_what_a_host_asks_to_wait_is_waited(rig, registry):
    name = registry.add(some_image(), "test/image", "1")
    registry.on("/manifests/", answer(429, Retry_After="1"), times=1)
    started = asyncio.get_running_loop().time()
    await rig.puller.pull(name)
    assert asyncio.get_running_loop().time() - started >= 1


async def test_a_host_that_is_always_busy_is_given_up(rig, registry):
    name = registry.add(some_image(), "test/image", "1")
    registry.on("/manifests/", answer(503, b'{"errors": [{"code": "DENIED", "message": "go\\naway"}]}'))
    with pytest.raises(Unavailable, match="503 Service Unavailable"):
        await rig.puller.pull(name)
    assert len(registry.requests) == QUICK.attempts


async def test_a_stalled_transfer_ends(tmp_path, registry):
    built = some_image()
    name = registry.add(built, "test/stalled", "1")
    registry.on(sha256(built.layers[0].data), stalled(after=1000))
    async with pull_rig(tmp_path, limits=dataclasses.replace(QUICK, no_progress=0.5)) as rig:
        with pytest.raises(Unavailable, match="no answer in time"):
            await rig.puller.pull(name)


async def test_a_stalled_transfer_disturbs_no_other(tmp_path, registry):
    built = some_image()
    name = registry.add(built, "test/stalled", "1")
    registry.on(sha256(built.layers[0].data), stalled(after=1000))
    other = registry.add(build([layer(files({"other": b"1"}))]), "test/other", "1")
    async with pull_rig(tmp_path, limits=Limits()) as rig:
        slow = asyncio.ensure_future(rig.puller.pull(name))
        await rig.puller.pull(other)
        assert not slow.done()
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow


async def test_a_host_that_answers_nothing_is_given_up_and_the_next_is_asked(tmp_path, registry, evil):
    name = registry.add(some_image(), "test/image", "1")

    async def silent(itself, _request):
        await itself.released.wait()

    evil.on("", silent)
    directory = tmp_path / "certs" / registry.host
    directory.mkdir(parents=True)
    (directory / "hosts.toml").write_text(f'server = "{registry.url}"\n[host."{evil.url}"]\n')
    async with pull_rig(tmp_path, tmp_path / "certs", limits=Limits(header_timeout=0.2)) as rig:
        await rig.puller.pull(name)
    assert evil.requests[0].query == f"ns={registry.host}"


async def test_redirects_in_a_circle_end(rig, registry):
    name = registry.add(some_image(), "test/image", "1")
    registry.on("/blobs/", redirect(registry.url))
    with pytest.raises(CrispError, match="307"):
        await rig.puller.pull(name)


@pytest.mark.parametrize("location", ["", "http://[", "ftp://127.0.0.1/x", "http://127.0.0.1:99999/", "\x7f:"])
async def test_redirects_to_nowhere_are_errors(rig, registry, location):
    name = registry.add(some_image(), "test/image", "1")
    registry.on("/blobs/", answer(307, Location=location))
    with pytest.raises(CrispError):
        await rig.puller.pull(name)


# Who waits


async def test_two_pulls_of_one_image_fetch_once_and_one_may_leave(rig, registry):
    built = some_image()
    name = registry.add(built, "test/image", "1")
    blob = sha256(built.layers[0].data)
    gate = asyncio.Event()

    async def hold(_registry, _request):
        await gate.wait()

    registry.on(blob, hold)
    leaving, staying = (asyncio.ensure_future(rig.puller.pull(name)) for _ in range(2))
    await _until(lambda: registry.asked(blob))
    leaving.cancel()
    await asyncio.wait([leaving])
    gate.set()
    assert (await staying).id == built.id
    assert len(registry.asked(blob)) == 1


async def test_images_that_share_a_layer_fetch_it_once_and_one_pull_may_leave(rig, registry):
    shared = layer(files({"shared": bytes(300_000)}), "")
    gate = asyncio.Event()

    async def hold(_registry, _request):
        await gate.wait()

    registry.on(sha256(shared.data), hold)
    first = registry.add(build([shared]), "test/first", "1")
    second = registry.add(build([layer(files({"below": b"1"})), shared]), "test/second", "1")
    leaving = asyncio.ensure_future(rig.puller.pull(first))
    await _until(lambda: registry.asked(sha256(shared.data)))
    staying = asyncio.ensure_future(rig.puller.pull(second))
    await _until(lambda: rig.puller.progress(second) and rig.puller.progress(second)[1].phase == "downloading")
    leaving.cancel()
    await asyncio.wait([leaving])
    gate.set()
    assert set(rig.tree(await staying)) == {"below", "shared"}
    assert len(registry.asked(sha256(shared.data))) == 1


async def test_what_a_lying_registry_left_does_not_spoil_the_next_pull(rig, registry, evil):
    built = some_image()
    blob = sha256(built.layers[0].data)
    lying = evil.add(built, "test/image", "1")
    evil.on(blob, answer(503))
    evil.on(blob, broken_off(100_000), times=1)
    evil.blobs[blob] = bytes(len(built.layers[0].data))
    with pytest.raises(Unavailable):
        await rig.puller.pull(lying)
    assert rig.leftovers()[1] == {f"layer-{blob}"}
    assert rig.tree(await rig.puller.pull(registry.add(built, "test/image", "1")))["data"][:3] == b"\0\1\2"
    assert rig.leftovers()[1] == set()


@pytest.mark.parametrize("below", [0, 1], ids=["one snapshot", "one blob"])
async def test_a_pull_does_not_fail_with_the_registry_of_another_that_it_shares_a_layer_with(
    rig, registry, evil, below
):
    shared = layer(files({"shared": bytes(300_000)}), "")
    gate = asyncio.Event()

    async def fail(_registry, _request):
        await gate.wait()
        return web.Response(status=403)

    evil.on(sha256(shared.data), fail)
    failing = asyncio.ensure_future(rig.puller.pull(evil.add(build([shared]), "test/image", "1")))
    await _until(lambda: evil.asked(sha256(shared.data)))
    name = registry.add(build([layer(files({"below": b"1"}))] * below + [shared]), "test/image", "1")
    pulling = asyncio.ensure_future(rig.puller.pull(name))
    await _until(lambda: rig.puller.progress(name) and rig.puller.progress(name)[-1].phase == "downloading")
    gate.set()
    assert "shared" in rig.tree(await pulling)
    with pytest.raises(PermissionDenied):
        await failing


async def test_a_cancelled_pull_leaves_its_ingest_and_the_next_goes_on(rig, registry):
    built = some_image()
    name = registry.add(built, "test/image", "1")
    blob = sha256(built.layers[0].data)
    registry.on(blob, stalled(after=100_000), times=1)
    pulling = asyncio.ensure_future(rig.puller.pull(name))
    await _until(lambda: any(layer.offset for layer in rig.puller.progress(name)))
    pulling.cancel()
    await asyncio.wait([pulling])
    assert pulling.cancelled()
    assert rig.leftovers()[1:] == ({f"layer-{blob}"}, set())
    await rig.puller.pull(name)
    assert registry.asked(blob)[-1].headers["Range"] == "bytes=100000-"


async def test_a_pull_right_after_a_cancelled_one_waits_for_its_end(rig, registry):
    built = some_image()
    name = registry.add(built, "test/image", "1")
    registry.on(sha256(built.layers[0].data), stalled(after=100_000), times=1)
    pulling = asyncio.ensure_future(rig.puller.pull(name))
    await _until(lambda: any(layer.offset for layer in rig.puller.progress(name)))
    pulling.cancel()
    await asyncio.sleep(0)  # it hears of it, and has not ended yet
    assert not pulling.done()
    assert (await rig.puller.pull(name)).id == built.id


async def test_other_credentials_do_not_share_a_pull(rig, registry):
    built = some_image()
    name = registry.add(built, "test/image", "1")
    registry.on("/v2/", wants('Basic realm="x"', BASIC))
    good, bad = await asyncio.gather(
        rig.puller.pull(name, PASSWORD), rig.puller.pull(name, None), return_exceptions=True
    )
    assert good.id == built.id
    assert isinstance(bad, Unauthenticated)


async def test_removing_another_image_takes_nothing_from_a_running_pull(rig, registry):
    lower = layer(files({"lower": b"1"}))
    upper = layer(files({"upper": bytes(300_000)}), "")
    gate = asyncio.Event()

    async def hold(_registry, _request):
        await gate.wait()

    registry.on(sha256(upper.data), hold)
    old = await rig.puller.pull(registry.add(build([lower]), "test/old", "1"))
    pulling = asyncio.ensure_future(rig.puller.pull(registry.add(build([lower, upper]), "test/new", "1")))
    await _until(lambda: registry.asked(sha256(upper.data)))
    await rig.remover.remove(old.id)
    gate.set()
    assert set(rig.tree(await pulling)) == {"lower", "upper"}
    with pytest.raises(NotFound):
        rig.images.get(old.id)


async def _until(condition):
    async with asyncio.timeout(patient(10)):
        while not condition():
            await asyncio.sleep(0.005)
