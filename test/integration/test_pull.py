"""Pulling from a real registry into real stores."""

import asyncio
import base64
import json
import os

import pytest

from core.content.local import LocalContent
from core.errdefs import NotFound, Unauthenticated, Unavailable
from core.images.progress import Phase
from core.remotes.auth import Credentials
from core.remotes.failures import Unreachable
from core.snapshots.native import NativeSnapshotter
from core.snapshots.overlay import OverlaySnapshotter
from rig.images import artifact, bare, build, busybox, files, index, layer, push, sha256
from rig.pulls import pull_rig
from rig.registry import PASSWORD, USERNAME, free_port, running_registry

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def tls_registry(tmp_path_factory):
    with running_registry(tmp_path_factory.mktemp("tls"), tls=True, auth=True) as running:
        yield running


@pytest.mark.parametrize("kind", ["oci", "docker"])
@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
async def test_a_pulled_image_has_the_files_of_its_layers(tmp_path, registry, kind, compression):
    layers = [
        layer(files({"etc/a": b"lower", "etc/b": b"b", "gone": b"x"}), compression),
        layer(files({"etc/a": b"upper", ".wh.gone": b""}), compression),
    ]
    built = build(layers, kind=kind, config={"Cmd": ["sh"]})
    name = push(built, registry, f"test/{kind}{compression}", "1")
    async with pull_rig(tmp_path) as rig:
        image = await rig.puller.pull(name)
        assert image.id == built.id
        assert image.names == (name, f"{name.removesuffix(':1')}@{built.digest}")
        assert image.config == built.config
        assert image.size == len(built.manifest) + len(built.config) + sum(len(one.data) for one in layers)
        tree = rig.tree(image)
        assert (tree["etc/a"], tree["etc/b"]) == (b"upper", b"b")
        assert rig.images.get(image.id) == image


async def test_the_copying_snapshotter_gets_the_same_files(tmp_path, registry):
    layers = [layer(files({"a": b"1", "gone": b"x"})), layer(files({"a": b"2", ".wh.gone": b""}))]
    name = push(build(layers), registry, "test/native", "1")
    async with pull_rig(tmp_path, snapshotter=NativeSnapshotter) as rig:
        assert rig.tree(await rig.puller.pull(name)) == {"a": b"2"}


@pytest.mark.parametrize("snapshotter", [OverlaySnapshotter, NativeSnapshotter])
async def test_layers_may_leave_directories_out(tmp_path, registry, snapshotter):
    layers = [layer(bare("a/b/lower")), layer(bare("a/b/upper"))]
    name = push(build(layers), registry, "test/bare", "1")
    async with pull_rig(tmp_path, snapshotter=snapshotter) as rig:
        found = rig.tree(await rig.puller.pull(name))
        assert set(found) == {"a", "a/b", "a/b/lower", "a/b/upper"}


async def test_busybox_comes_with_tls_and_a_password(tmp_path, tls_registry):
    name = push(busybox(), tls_registry, "library/busybox", "1")
    tls_registry.trust(tmp_path / "certs")
    async with pull_rig(tmp_path, tmp_path / "certs") as rig:
        image = await rig.puller.pull(name, Credentials(username=USERNAME, password=PASSWORD))
        assert rig.tree(image)["bin/sh"] == "busybox"


async def test_the_nodes_own_credentials_serve_a_pull_that_brings_none(tmp_path, tls_registry):
    name = push(busybox(), tls_registry, "library/busybox", "1")
    tls_registry.trust(tmp_path / "certs")
    auth = base64.b64encode(":".join(tls_registry.credentials).encode()).decode()
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {tls_registry.host: {"auth": auth}}}))
    async with pull_rig(tmp_path, tmp_path / "certs", auth_file=tmp_path / "auth.json") as rig:
        assert (await rig.puller.pull(name)).names[0] == name


@pytest.mark.parametrize("password", ["", "wrong"])
async def test_a_wrong_password_is_unauthenticated_and_leaves_nothing(tmp_path, tls_registry, password):
    name = push(busybox(), tls_registry, "library/busybox", "1")
    tls_registry.trust(tmp_path / "certs")
    async with pull_rig(tmp_path, tmp_path / "certs") as rig:
        with pytest.raises(Unauthenticated, match=tls_registry.host):
            await rig.puller.pull(name, Credentials(username=USERNAME, password=password) if password else None)
        assert rig.leftovers() == (set(), set(), set())


async def test_a_registry_with_an_unknown_certificate_is_unavailable_and_says_what_to_do(tmp_path, tls_registry):
    (tmp_path / "certs" / tls_registry.host).mkdir(parents=True)
    (tmp_path / "certs" / tls_registry.host / "hosts.toml").write_text(f'server = "{tls_registry.url}"')
    async with pull_rig(tmp_path, tmp_path / "certs") as rig:
        with pytest.raises(Unavailable, match=r"hosts\.toml"):
            await rig.puller.pull(f"{tls_registry.host}/library/busybox:1")


async def test_the_manifest_of_our_platform_is_chosen_from_nested_indexes(tmp_path, registry):
    ours = build([layer(files({"ours": b"1"}))])
    arm = build([layer(files({"arm": b"1"}))], platform=("linux", "arm64"))
    inner = index([(ours, "amd64")])
    outer = index([(arm, "arm64"), (inner, "amd64"), (build([]), {"os": "unknown", "architecture": "unknown"})])
    name = push(outer, registry, "test/multi", "1")
    async with pull_rig(tmp_path) as rig:
        image = await rig.puller.pull(name)
        assert (image.id, image.target.digest) == (ours.id, ours.digest)
        assert image.names[1].endswith(outer.digest)


async def test_an_index_without_our_platform_is_not_found_and_says_what_there_is(tmp_path, registry):
    arm = build([layer(files({"arm": b"1"}))], platform=("linux", "arm64"))
    name = push(index([(arm, "arm64")]), registry, "test/arm", "1")
    async with pull_rig(tmp_path) as rig:
        with pytest.raises(NotFound, match="linux/arm64"):
            await rig.puller.pull(name)


async def test_an_image_by_digest_has_no_tag(tmp_path, registry):
    built = build([layer(files({"a": b"1"}))])
    name = push(built, registry, "test/digest")
    async with pull_rig(tmp_path) as rig:
        image = await rig.puller.pull(name)
        assert image.names == (name,)
        assert await rig.puller.pull(name) == image


async def test_an_image_without_layers_has_no_snapshot(tmp_path, registry):
    name = push(build([]), registry, "test/empty", "1")
    async with pull_rig(tmp_path) as rig:
        assert (await rig.puller.pull(name)).chain_id == ""


async def test_a_missing_tag_is_not_found_and_the_error_names_the_host(tmp_path, registry):
    async with pull_rig(tmp_path) as rig:
        with pytest.raises(NotFound, match=f"test/none:1: http://{registry.host}/v2: 404"):
            await rig.puller.pull(f"{registry.host}/test/none:1")


async def test_a_refused_connection_is_registry_unavailable(tmp_path):
    async with pull_rig(tmp_path) as rig:
        with pytest.raises(Unreachable, match="refused"):
            await rig.puller.pull(f"127.0.0.1:{free_port()}/test:1")


async def test_layers_that_are_here_are_not_fetched_again(tmp_path, registry):
    shared = layer(files({"shared": b"1"}))
    first = push(build([shared]), registry, "test/first", "1")
    second = push(build([shared, layer(files({"more": b"2"}))]), registry, "test/second", "1")
    async with pull_rig(tmp_path) as rig:
        await rig.puller.pull(first)
        rig.content.delete(sha256(shared.data))
        image = await rig.puller.pull(second)
        assert rig.tree(image) == {"shared": b"1", "more": b"2"}
        assert sha256(shared.data) not in rig.leftovers()[0]


async def test_many_pulls_of_images_that_share_layers_end_well(tmp_path, registry):
    shared = [layer(files({f"shared{number}": bytes([number]) * 300_000}), "") for number in range(4)]
    names = []
    for number in range(4):
        own = layer(files({"own": str(number).encode()}))
        names.append(push(build([*shared, own]), registry, f"test/many{number}", "1"))
    async with pull_rig(tmp_path) as rig:
        images = await asyncio.gather(*(rig.puller.pull(name) for name in names * 3))
        for number, image in enumerate(images):
            tree = rig.tree(image)
            assert (len(tree), tree["own"]) == (5, str(number % 4).encode())
        blobs, ingests, snapshots = rig.leftovers()
        assert (len(blobs), ingests, len(snapshots)) == (4 + 4 * 3, set(), 4 + 4)


async def test_a_removed_image_leaves_what_others_need_and_nothing_else(tmp_path, registry):
    shared = layer(files({"shared": b"1"}))
    first = push(build([shared]), registry, "test/first", "1")
    second = push(build([shared, layer(files({"more": b"2"}))]), registry, "test/second", "1")
    async with pull_rig(tmp_path) as rig:
        one, two = await rig.puller.pull(first), await rig.puller.pull(second)
        await rig.remover.remove(two.id)
        assert rig.tree(one) == {"shared": b"1"}
        assert rig.leftovers() == ({one.id, one.target.digest, sha256(shared.data)}, set(), {one.chain_id})
        await rig.remover.remove(one.id)
        assert rig.leftovers() == (set(), set(), set())
        with pytest.raises(NotFound):
            await rig.remover.remove(one.id)
        assert rig.tree(await rig.puller.pull(second)) == {"shared": b"1", "more": b"2"}


async def test_images_that_come_while_others_go_are_whole(tmp_path, registry):
    base = layer(files({f"base{number}": b"0" for number in range(50)}))
    tops = [layer(files({f"top{number}": b"1"})) for number in range(3)]
    built = [build([base, top]) for top in tops]
    names = [push(image, registry, "test/churn", str(number)) for number, image in enumerate(built)]

    async def churn(name, image):
        for _ in range(8):
            pulled = await rig.puller.pull(name)
            assert len(rig.tree(pulled)) == 51
            await rig.remover.remove(image.id)

    async with pull_rig(tmp_path) as rig:
        async with asyncio.TaskGroup() as group:
            for name, image in zip(names, built):
                group.create_task(churn(name, image))
        assert rig.leftovers() == (set(), set(), set())


async def test_layers_of_a_removed_image_stay_while_a_container_stands_on_them(tmp_path, registry):
    name = push(build([layer(files({"a": b"1"}))]), registry, "test/used", "1")
    async with pull_rig(tmp_path) as rig:
        image = await rig.puller.pull(name)
        rig.snapshots.prepare("container", image.chain_id)
        await rig.remover.remove(image.id)
        assert rig.leftovers() == (set(), set(), {image.chain_id, "container"})
        rig.snapshots.remove("container")
        await rig.collector.collect()
        assert rig.leftovers() == (set(), set(), set())


async def test_a_tag_that_moved_takes_its_name_along(tmp_path, registry):
    old = build([layer(files({"old": b"1"}))])
    new = build([layer(files({"new": b"1"}))])
    name = push(old, registry, "test/moving", "1")
    async with pull_rig(tmp_path) as rig:
        before = await rig.puller.pull(name)
        push(new, registry, "test/moving", "1")
        after = await rig.puller.pull(name)
        assert rig.images.get(name).id == after.id == new.id
        assert rig.images.get(before.id).names == (before.names[1],)


@pytest.mark.parametrize("now", [9e9, 0.0], ids=["long after", "long before"])
async def test_a_crash_leaves_what_the_next_daemon_collects(tmp_path, registry, now):
    """Whatever the clock says since (hazards 3.4, 3.26)."""
    name = push(build([layer(files({"a": b"1"}))]), registry, "test/crash", "1")
    snapshots = OverlaySnapshotter(str(tmp_path / "snapshots"))
    snapshots.prepare("extract-1 sha256:none", "")
    content = LocalContent(str(tmp_path / "content"))
    content.writer("layer-old").close()
    async with pull_rig(tmp_path, clock=lambda: now) as rig:
        image = await rig.puller.pull(name)
        await rig.collector.collect()
        assert rig.leftovers()[1:] == (set(), {image.chain_id})


async def test_what_a_crash_left_of_snapshots_is_collected(tmp_path):
    for name in ("new-prepared", "rm-removed"):
        (tmp_path / "snapshots" / name / "fs").mkdir(parents=True)
    async with pull_rig(tmp_path) as rig:
        await rig.collector.collect()
    assert list((tmp_path / "snapshots").iterdir()) == []


async def test_images_are_pinned_by_patterns_of_their_names(tmp_path, registry):
    pinned = push(build([layer(files({"a": b"p"}))]), registry, "pin/infra-a", "1")
    other = push(build([layer(files({"a": b"q"}))]), registry, "pin/other", "1")
    async with pull_rig(tmp_path, pinned=["docker.io/*", f"{registry.host}/pin/[hi]nfra-?:*"]) as rig:
        assert (await rig.puller.pull(pinned)).pinned
        assert not (await rig.puller.pull(other)).pinned
        assert (await rig.puller.pull(pinned)).pinned


async def test_an_artifact_is_the_files_that_its_titles_name(tmp_path, registry):
    model, card = os.urandom(1 << 20), b"card"
    built = artifact({"dir/model": model, "": card})
    name = push(built, registry, "test/artifact", "1")
    async with pull_rig(tmp_path) as rig:
        pulled = await rig.puller.pull(name)
        assert (pulled.id, pulled.artifact_type) == (built.digest, "application/x-config")
        assert rig.tree(pulled) == {"dir": None, "dir/model": model, sha256(card).partition(":")[2]: card}
        assert await rig.puller.pull(name) == pulled
        await rig.collector.collect()
        assert rig.leftovers()[0] == {pulled.id, *map(sha256, built.blobs)}
        await rig.remover.remove(pulled.id)
        assert rig.leftovers() == (set(), set(), set())


async def test_progress_ends_with_the_pull(tmp_path, registry):
    name = push(build([layer(files({"a": bytes(1 << 20)}), "")]), registry, "test/progress", "1")
    async with pull_rig(tmp_path) as rig:
        pulling = asyncio.ensure_future(rig.puller.pull(name))
        seen = set()
        while not pulling.done():
            seen.update(one.phase for one in rig.puller.progress(name))
            await asyncio.sleep(0)
        await pulling
        assert Phase.DOWNLOADING in seen
        assert rig.puller.progress(name) == ()


async def test_a_mirror_is_asked_first_and_the_registry_when_it_has_nothing(tmp_path, registry):
    with running_registry(tmp_path_of(tmp_path, "mirror")) as mirror:
        name = push(build([layer(files({"a": b"1"}))]), registry, "test/mirrored", "1")
        directory = tmp_path / "certs" / registry.host
        directory.mkdir(parents=True)
        refused = f"http://127.0.0.1:{free_port()}"
        (directory / "hosts.toml").write_text(
            f'server = "{registry.url}"\n[host."{refused}"]\n[host."{mirror.url}"]\ncapabilities = ["pull"]\n'
        )
        async with pull_rig(tmp_path, tmp_path / "certs") as rig:
            assert rig.tree(await rig.puller.pull(name)) == {"a": b"1"}
            with pytest.raises(NotFound, match=rf"{refused}/v2: .*refused.*; {registry.url}/v2: 404"):
                await rig.puller.pull(f"{registry.host}/test/mirrored:2")


def tmp_path_of(tmp_path, name):
    (tmp_path / name).mkdir()
    return tmp_path / name
