import os

import pytest

from core.linux import cap, fs


def test_the_last_capability_of_the_kernel_has_a_name():
    assert cap.last_cap() < len(cap.NAMES)
    assert cap.NUMBERS["CAP_CHECKPOINT_RESTORE"] == 40
    assert cap.NAMES[21] == "CAP_SYS_ADMIN"


def test_statfs_agrees_with_statvfs():
    ours, theirs = fs.statfs("/"), os.statvfs("/")
    assert (ours.f_bsize, ours.f_blocks, ours.f_files) == (theirs.f_bsize, theirs.f_blocks, theirs.f_files)


def test_fallocate_reserves_without_growing(tmp_path):
    with open(tmp_path / "f", "wb") as file:
        fs.fallocate(file.fileno(), fs.FALLOC_FL_KEEP_SIZE, 0, 1 << 20)
        fs.syncfs(file.fileno())
        status = os.fstat(file.fileno())
    assert status.st_size == 0
    assert status.st_blocks * 512 >= 1 << 20


def test_flags_of_an_inode_are_set_and_read(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        before = fs.get_flags(fd)
        fs.set_flags(fd, before | fs.FS_TOPDIR_FL)
        assert fs.get_flags(fd) == before | fs.FS_TOPDIR_FL
    except OSError:
        pytest.skip("this filesystem has no such flag")
    finally:
        os.close(fd)
