"""What every snapshotter does; `test_*` below are the sentences of core/snapshots/snapshotter.py."""

import errno
import os
import threading

import pytest

from core.errdefs import AlreadyExists, FailedPrecondition, NotFound
from core.linux.mount import mount_all, umount_all
from core.snapshots.native import NativeSnapshotter
from core.snapshots.overlay import OverlaySnapshotter
from core.snapshots.snapshotter import Kind, Layering, Snapshotter, Usage
from core.types import Mount

pytestmark = pytest.mark.root


@pytest.fixture(params=[OverlaySnapshotter, NativeSnapshotter], ids=["overlay", "native"])
def reopen(request, tmp_path):
    """Opens the snapshotter again, as after a restart; with another `boot_id`, as after a power cut."""
    return lambda boot_id="boot-1": request.param(str(tmp_path / "snapshots"), boot_id=boot_id)


@pytest.fixture
def snapshots(reopen) -> Snapshotter:
    return reopen()


@pytest.fixture
def mounted(tmp_path):
    """mounted(mounts) performs them and returns the directory."""
    targets = []

    def perform(mounts):
        target = str(tmp_path / f"mounted-{len(targets)}")
        os.mkdir(target)
        mount_all(mounts, target)
        targets.append(target)
        return target

    yield perform
    for target in targets:
        umount_all(target)


def write(directory, files):
    for name, text in files.items():
        path = os.path.join(directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def read(directory, name):
    with open(os.path.join(directory, name), encoding="utf-8") as file:
        return file.read()


def layer(snapshots, name, parent="", **files):
    snapshots.prepare("extract " + name, parent)
    write(snapshots.upper("extract " + name), files)
    snapshots.commit(name, "extract " + name)


def names(snapshots):
    return [info.name for info in snapshots.walk()]


def test_a_container_sees_all_layers_and_changes_none(snapshots, mounted):
    layer(snapshots, "base", etc="one", keep="base")
    layer(snapshots, "top", "base", etc="two")
    root = mounted(snapshots.prepare("container", "top"))
    assert read(root, "etc") == "two"
    assert read(root, "keep") == "base"
    write(root, {"etc": "three", "dir/new": "x"})
    other = mounted(snapshots.prepare("other", "top"))
    assert read(other, "etc") == "two"
    assert not os.path.exists(os.path.join(other, "dir"))


def test_the_root_directory_of_a_container_is_open_to_all(snapshots, mounted):
    before = os.umask(0o077)
    try:
        layer(snapshots, "base", x="1")
        layer(snapshots, "top", "base", x="2")
        root = mounted(snapshots.prepare("c", "top"))
        assert os.stat(root).st_mode & 0o777 == 0o755
    finally:
        os.umask(before)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_view_is_read_only(snapshots, mounted, depth):
    parent = ""
    for number in range(depth):
        layer(snapshots, f"layer {number}", parent, file=str(number))
        parent = f"layer {number}"
    root = mounted(snapshots.view("view", parent))
    with pytest.raises(OSError, match="Read-only"):
        write(root, {"file": "x"})
    if depth:
        assert read(root, "file") == str(depth - 1)
    assert snapshots.stat("view").kind is Kind.VIEW
    with pytest.raises(FailedPrecondition):
        snapshots.commit("committed", "view")


def test_a_hundred_layers_can_be_mounted(snapshots, mounted):
    parent = ""
    for number in range(100):
        layer(snapshots, f"sha256:{number:064}", parent, **{f"file-{number}": "x"})
        parent = f"sha256:{number:064}"
    root = mounted(snapshots.prepare("container", parent))
    assert len(os.listdir(root)) == 100
    write(root, {"file-0": "changed"})
    assert len(os.listdir(mounted(snapshots.view("view", parent)))) == 100


def test_everything_is_still_there_after_a_restart(snapshots, reopen):
    layer(snapshots, "base", x="1")
    snapshots.prepare("container", "base")
    snapshots.view("view", "base")
    again = reopen()
    assert sorted(names(again)) == ["base", "container", "view"]
    assert again.stat("container") == snapshots.stat("container")
    assert again.mounts("container") == snapshots.mounts("container")
    assert again.usage("base") == snapshots.usage("base")


def test_a_container_can_be_mounted_again(snapshots, mounted):
    layer(snapshots, "base", x="1")
    layer(snapshots, "top", "base", y="1")
    first = mounted(snapshots.prepare("container", "top"))
    write(first, {"x": "2"})
    umount_all(first)
    assert read(mounted(snapshots.mounts("container")), "x") == "2"


def test_names_are_taken_once(snapshots):
    layer(snapshots, "base")
    snapshots.prepare("key", "base")
    for take in (snapshots.prepare, snapshots.view):
        for name in ("key", "base"):
            with pytest.raises(AlreadyExists, match=name):
                take(name, "base")


def test_a_parent_must_be_committed(snapshots):
    snapshots.prepare("active", "")
    for parent in ("active", "nothing"):
        with pytest.raises(NotFound, match=parent):
            snapshots.prepare("key", parent)
    assert names(snapshots) == ["active"]


def test_commit_under_a_taken_name_leaves_the_active(snapshots):
    layer(snapshots, "base", x="1")
    snapshots.prepare("again", "")
    with pytest.raises(AlreadyExists):
        snapshots.commit("base", "again")
    assert snapshots.stat("again").kind is Kind.ACTIVE
    snapshots.remove("again")
    assert names(snapshots) == ["base"]


def test_what_is_not_there_is_not_found(snapshots):
    ask = (snapshots.stat, snapshots.usage, snapshots.mounts, snapshots.upper, snapshots.remove, snapshots.lowers)
    for call in (*ask, lambda key: snapshots.commit("name", key)):
        with pytest.raises(NotFound, match="nothing"):
            call("nothing")


def test_a_parent_cannot_be_removed_before_its_children(snapshots):
    layer(snapshots, "base")
    layer(snapshots, "top", "base")
    snapshots.prepare("container", "top")
    for parent in ("base", "top"):
        with pytest.raises(FailedPrecondition, match="1 children"):
            snapshots.remove(parent)
    for name in ("container", "top", "base"):
        snapshots.remove(name)
    assert names(snapshots) == []


def test_removing_leaves_nothing_on_disk(snapshots, tmp_path):
    layer(snapshots, "base", **{"a/b/c": "x"})
    snapshots.remove("base")
    snapshots.cleanup()
    assert os.listdir(tmp_path / "snapshots") == []


def test_what_cannot_be_deleted_is_in_nobodys_way_and_tried_again(snapshots, tmp_path):
    for name in ("stuck", "free"):
        snapshots.prepare(name, "")
    os.mkdir(os.path.join(snapshots.upper("stuck"), "busy"))
    for name in ("stuck", "free"):
        snapshots.remove(name)
    (busy,) = (tmp_path / "snapshots").glob("*/fs/busy")
    mount_all([Mount(type="tmpfs", source="tmpfs", options=())], str(busy))
    try:
        for left in (2, 1):
            with pytest.raises(OSError, match=f"{errno.EXDEV}|{errno.EBUSY}"):
                snapshots.cleanup()
            assert len(os.listdir(tmp_path / "snapshots")) == left
    finally:
        umount_all(str(busy))
    snapshots.cleanup()
    assert os.listdir(tmp_path / "snapshots") == []


def test_a_filesystem_without_inode_flags_will_do(tmp_path, mounted):
    store = OverlaySnapshotter(f"{mounted([Mount(type='ramfs', source='ramfs', options=())])}/snapshots")
    layer(store, "base", x="1")
    assert names(store) == ["base"]


def test_walk_lists_children_after_their_parents(snapshots):
    layer(snapshots, "z")
    layer(snapshots, "m", "z")
    layer(snapshots, "a", "m")
    snapshots.prepare("0", "a")
    assert names(snapshots) == ["z", "m", "a", "0"]


def test_usage_is_counted_or_taken_as_given(snapshots):
    layer(snapshots, "counted", file="x" * 10_000)
    assert snapshots.usage("counted").inodes == 2
    assert 10_000 <= snapshots.usage("counted").size <= 40_000
    snapshots.prepare("key", "")
    assert snapshots.usage("key").inodes == 1
    snapshots.commit("given", "key", usage=Usage(size=5, inodes=6))
    assert snapshots.usage("given") == Usage(size=5, inodes=6)


def test_lowers_are_the_directories_of_a_committed_snapshot(snapshots):
    layer(snapshots, "base", a="1")
    layer(snapshots, "top", "base", b="2")
    assert snapshots.lowers("") == ()
    lowers = snapshots.lowers("top")
    assert read(lowers[0], "b") == "2"
    assert read(lowers[-1], "a") == "1"
    assert len(lowers) == (2 if snapshots.layering is Layering.STACKED else 1)


def test_layers_prepared_alone_are_committed_onto_their_parents(snapshots, mounted):
    layer(snapshots, "base", a="1")
    snapshots.prepare("alone", "")
    write(snapshots.upper("alone"), {"b": "2"})
    if snapshots.layering is Layering.COPIED:
        with pytest.raises(FailedPrecondition):
            snapshots.commit("top", "alone", parent="base")
        return
    with pytest.raises(NotFound):
        snapshots.commit("top", "alone", parent="nothing")
    snapshots.commit("top", "alone", parent="base")
    assert snapshots.stat("top").parent == "base"
    assert sorted(os.listdir(mounted(snapshots.prepare("container", "top")))) == ["a", "b"]


def test_a_snapshot_cannot_leave_the_parent_it_was_prepared_on(snapshots):
    layer(snapshots, "base")
    layer(snapshots, "other")
    snapshots.prepare("key", "base")
    with pytest.raises(FailedPrecondition):
        snapshots.commit("name", "key", parent="other")
    snapshots.commit("name", "key", parent="base")


def test_a_committed_snapshot_that_was_not_synced_does_not_survive_a_power_cut(snapshots, reopen):
    layer(snapshots, "synced")
    snapshots.sync()
    layer(snapshots, "unsynced", "synced")
    snapshots.prepare("container", "unsynced")
    assert sorted(names(reopen())) == ["container", "synced", "unsynced"]
    again = reopen("boot-2")
    assert names(again) == ["synced"]
    layer(again, "unsynced", "synced")
    again.cleanup()
    assert names(reopen("boot-2")) == ["synced", "unsynced"]


def test_cleanup_removes_what_crashes_left_and_nothing_else(snapshots, reopen, tmp_path):
    layer(snapshots, "base", x="1")
    root = tmp_path / "snapshots"
    before = os.listdir(root)
    for garbage in ("new-1/fs", "rm-1/fs", "nometa/fs", "empty"):
        (root / garbage).mkdir(parents=True)
    again = reopen()
    assert names(again) == ["base"]
    again.cleanup()
    assert os.listdir(root) == before


def test_a_commit_that_crashed_before_its_rename_is_no_snapshot(snapshots, reopen, tmp_path):
    layer(snapshots, "base", x="1")
    snapshots.prepare("key", "")
    directory = os.path.dirname(snapshots.upper("key"))
    snapshots.commit("name", "key")
    os.rename(os.path.dirname(snapshots.upper("name")), directory)
    again = reopen()
    assert names(again) == ["base"]
    again.prepare("key", "base")
    again.commit("name", "key")
    assert sorted(names(again)) == ["base", "name"]


def test_of_many_threads_one_gets_the_name(snapshots):
    layer(snapshots, "base", x="1")
    won = []

    def race():
        for number in range(20):
            try:
                snapshots.prepare(f"key {number}", "base")
            except AlreadyExists:
                continue
            won.append(number)
            snapshots.remove(f"key {number}") if number % 2 else None

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number for number in won if number % 2 == 0) == list(range(0, 20, 2))
    assert len(names(snapshots)) == 11


def test_exchange_gives_a_committed_snapshot_other_files_and_keeps_those_on_it(snapshots, reopen):
    layer(snapshots, "base", kept="old", lost="old")
    layer(snapshots, "child", "base")
    snapshots.sync()
    snapshots.prepare("extract", "")
    write(snapshots.upper("extract"), {"kept": "new"})
    snapshots.exchange("base", "extract")
    (directory,) = snapshots.lowers("base")[:1]
    assert os.listdir(directory) == ["kept"]
    assert read(directory, "kept") == "new"
    assert read(snapshots.upper("extract"), "lost") == "old"
    assert sorted(names(reopen())) == ["base", "child", "extract"]
    assert names(reopen("boot-2")) == ["extract"]  # the others are not on disk, or stand on what is not


def test_what_could_be_mounted_is_not_exchanged(snapshots):
    layer(snapshots, "base", kept="old")
    layer(snapshots, "child", "base")
    snapshots.prepare("extract", "")
    for make in (snapshots.prepare, snapshots.view):
        make("container", "child")
        with pytest.raises(FailedPrecondition, match="'container'"):
            snapshots.exchange("base", "extract")
        snapshots.remove("container")
    with pytest.raises(NotFound):
        snapshots.exchange("base", "nothing")
    with pytest.raises(NotFound):
        snapshots.exchange("extract", "base")
    snapshots.exchange("base", "extract")
