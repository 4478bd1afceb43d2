"""Mounts and namespaces against the running kernel."""

import errno
import os

import pytest

from core.files.dirs import remove_tree
from core.files.usage import disk_usage
from core.linux import ns, overlay
from core.linux.mount import MAX_DATA, mount, mount_all, parse_options, umount_all
from core.types import Mount

pytestmark = pytest.mark.root


def mounts_at(path) -> list[str]:
    with open("/proc/self/mountinfo") as file:
        return [line for line in file if line.split()[4].startswith(str(path))]


@pytest.fixture
def place(tmp_path):
    (tmp_path / "m").mkdir()
    yield str(tmp_path / "m")
    umount_all(str(tmp_path / "m"))
    assert mounts_at(tmp_path) == []


@pytest.fixture
def layers(tmp_path):
    """Options of an overlay that does not fit into a page."""
    for name in ("u", "w"):
        (tmp_path / name).mkdir()
    lower = []
    for number in range(150):
        directory = tmp_path / f"{number:03}{'x' * 40}"
        directory.mkdir()
        (directory / f"file{number}").touch()
        lower.append(str(directory))
    options = (f"lowerdir={':'.join(lower)}", f"upperdir={tmp_path}/u", f"workdir={tmp_path}/w")
    assert len(",".join(options)) > MAX_DATA
    return options


def test_an_overlay_of_150_layers_is_mounted(place, layers):
    mount_all([Mount(type="overlay", source="overlay", options=(*layers, "nosuid"))], place)
    assert len(os.listdir(place)) == 150
    assert "nosuid" in mounts_at(place)[0]


def test_an_overlay_of_150_layers_is_mounted_on_an_old_kernel_too(place, layers):
    with overlay.layers_by_descriptor(layers) as shorter:
        mount("overlay", place, "overlay", 0, ",".join(shorter))
    assert len(os.listdir(place)) == 150


def test_the_kernel_s_own_words_reach_the_error(place):
    with pytest.raises(OSError, match="Unknown parameter 'bogus'"):
        overlay.mount_by_layer(["lowerdir=/", "bogus=1"], place)


def test_a_read_only_bind_is_read_only(place, tmp_path):
    (tmp_path / "source").mkdir()
    mount_all([Mount(type="bind", source=str(tmp_path / "source"), options=("rbind", "ro", "rprivate"))], place)
    with pytest.raises(OSError, match="Read-only"):
        os.mkdir(f"{place}/x")


def test_recursive_read_only_reaches_the_mounts_below(place, tmp_path):
    mount("tmpfs", place, "tmpfs")
    os.mkdir(f"{place}/sub")
    mount("tmpfs", f"{place}/sub", "tmpfs")
    (tmp_path / "copy").mkdir()
    try:
        mount_all([Mount(type="bind", source=place, options=("rbind", "rro"))], str(tmp_path / "copy"))
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir(tmp_path / "copy/sub/x")
        os.mkdir(f"{place}/sub/x")
    finally:
        umount_all(str(tmp_path / "copy"))


def test_a_failed_mount_takes_the_earlier_ones_off(place):
    with pytest.raises(OSError) as caught:
        mount_all([Mount(type="tmpfs", source="tmpfs"), Mount(type="nosuchfs", source="none")], place)
    assert caught.value.errno == errno.ENODEV
    assert mounts_at(place) == []


def test_a_target_inside_never_leads_outside(place, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    mount("tmpfs", place, "tmpfs")
    os.symlink(outside, f"{place}/link")
    with pytest.raises(FileNotFoundError):
        mount_all([Mount(type="tmpfs", source="tmpfs", target="link")], place)
    os.makedirs(f"{place}{outside}")
    mount_all([Mount(type="tmpfs", source="tmpfs", target="link")], place)
    assert not os.path.ismount(outside)
    assert os.path.ismount(f"{place}{outside}")


def test_umount_all_takes_off_a_stack_and_succeeds_without_one(place, tmp_path):
    for _ in range(3):
        mount("tmpfs", place, "tmpfs")
    umount_all(place)
    umount_all(place)
    umount_all(str(tmp_path / "absent"))
    assert mounts_at(place) == []


def test_remove_tree_stops_at_a_mount_and_spares_its_content(place, tmp_path):
    (tmp_path / "host").mkdir()
    (tmp_path / "host/file").touch()
    os.makedirs(f"{place}/inner/deep")
    mount(str(tmp_path / "host"), f"{place}/inner/deep", "", parse_options(("bind",)).flags)
    try:
        with pytest.raises(OSError) as caught:
            remove_tree(place)
        assert caught.value.errno in {errno.EXDEV, errno.EBUSY}
        assert os.listdir(tmp_path / "host") == ["file"]
        assert disk_usage(place).inodes == 3
    finally:
        umount_all(f"{place}/inner/deep")


def test_a_pinned_namespace_is_unpinned_whole_or_half_done(tmp_path):
    target = str(tmp_path / "net")
    ns.pin("/proc/self/ns/net", target)
    assert ns.is_pinned(target)
    assert os.stat(target).st_ino == os.stat("/proc/self/ns/net").st_ino
    ns.unpin(target)
    ns.unpin(target)
    (tmp_path / "net").touch()
    assert not ns.is_pinned(target)
    ns.unpin(target)
    assert os.listdir(tmp_path) == []
