from __future__ import annotations

import stat
from pathlib import Path

import pytest

from core.errdefs import InvalidArgument
from cri.container.volumes import MAX_VOLUMES, Volumes, declared_volumes


def volumes(*declared: str, taken: tuple[str, ...] = ()) -> tuple[str, ...]:
    return declared_volumes(dict.fromkeys(declared), taken)


def test_paths_are_clean_each_once_and_parents_come_first() -> None:
    assert volumes("/b/c/", "a", "/b", "/x/../b", "//a") == ("/a", "/b", "/b/c")


def test_what_is_mounted_anyway_needs_no_volume() -> None:
    assert volumes("/data", "/dev/shm", "/sys/fs/cgroup", "/own", taken=("/data/", "/other")) == ("/own",)


@pytest.mark.parametrize("path", ["", "/", "/..", "/proc", "/proc/sys/..", "/sys/kernel", "/dev", "/dev/x", "/a\0b"])
def test_a_place_of_the_runtimes_is_refused(path: str) -> None:
    with pytest.raises(InvalidArgument, match="the runtime's"):
        volumes(path)


def test_more_volumes_than_any_image_has_are_refused() -> None:
    assert len(volumes(*map(str, range(MAX_VOLUMES)))) == MAX_VOLUMES
    with pytest.raises(InvalidArgument, match="more than"):
        volumes(*map(str, range(MAX_VOLUMES + 1)))


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    root = tmp_path / "rootfs"
    (root / "data/deep").mkdir(parents=True)
    (root / "data/deep/file").write_text("of the image")
    (root / "data").chmod(0o1770)
    (root / "file").touch()
    (root / "to-data").symlink_to("/data")
    (root / "loop").symlink_to("loop")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").touch()
    (root / "out").symlink_to("../" * 30 + str(tmp_path / "outside"))
    return root


def test_a_volume_begins_with_what_the_image_has_there(tmp_path: Path, rootfs: Path) -> None:
    made = Volumes(str(tmp_path / "volumes")).make("c1", str(rootfs), ["/data", "/new", "/to-data"])
    assert [target for target, _ in made] == ["/data", "/new", "/to-data"]
    data, new, linked = (Path(directory) for _, directory in made)
    assert (data / "deep/file").read_text() == (linked / "deep/file").read_text() == "of the image"
    assert stat.S_IMODE(data.stat().st_mode) == 0o1770
    assert list(new.iterdir()) == []
    assert stat.S_IMODE((tmp_path / "volumes/c1").stat().st_mode) == 0o700


def test_a_link_leads_nowhere_else_than_inside_the_image(tmp_path: Path, rootfs: Path) -> None:
    ((_, directory),) = Volumes(str(tmp_path / "volumes")).make("c1", str(rootfs), ["/out"])
    assert list(Path(directory).iterdir()) == []


@pytest.mark.parametrize("target", ["/file", "/file/below", "/loop"])
def test_a_volume_where_the_image_has_no_directory_is_refused(tmp_path: Path, rootfs: Path, target: str) -> None:
    with pytest.raises(InvalidArgument, match=target):
        Volumes(str(tmp_path / "volumes")).make("c1", str(rootfs), [target])


def test_volumes_go_with_their_container(tmp_path: Path, rootfs: Path) -> None:
    kept = Volumes(str(tmp_path / "volumes"))
    assert kept.ids() == []
    kept.make("c1", str(rootfs), ["/data"])
    kept.make("c2", str(rootfs), ["/data"])
    kept.remove("c1")
    kept.remove("c1")
    assert kept.ids() == ["c2"]
