import os

import pytest

from core.files.dirs import remove_tree
from core.files.usage import disk_usage


def test_usage_counts_blocks_and_inodes_and_a_hard_link_once(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/file").write_bytes(b"x" * 10_000)
    os.link(tmp_path / "d/file", tmp_path / "d/again")
    (tmp_path / "link").symlink_to("/usr")
    places = [tmp_path, tmp_path / "d", tmp_path / "d/file", tmp_path / "link"]
    usage = disk_usage(str(tmp_path))
    assert usage.inodes == len(places)
    assert usage.size == sum(os.lstat(place).st_blocks * 512 for place in places)


def test_usage_counts_trees_deeper_than_a_path_can_name(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(60):
        name = "n" * 200
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    before = len(os.listdir("/proc/self/fd"))
    try:
        assert disk_usage(str(tmp_path)).inodes == 61
    finally:
        remove_tree(str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before


def test_usage_of_an_absent_tree_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        disk_usage(str(tmp_path / "absent"))
