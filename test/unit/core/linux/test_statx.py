"""Which mount and which kind of device a path is on, by what the kernel knows of itself."""

import os

from core.linux.mountinfo import filesystem_of
from core.linux.statx import mount_of


def test_a_filesystem_without_a_block_device_is_told_by_its_mount():
    fd = os.open("/proc", os.O_PATH)
    try:
        mount, major = mount_of(fd)
    finally:
        os.close(fd)
    assert (filesystem_of(mount), major) == ("proc", 0)


def test_the_device_of_a_file_is_its_own(tmp_path):
    fd = os.open(tmp_path, os.O_PATH)
    try:
        _, major = mount_of(fd)
    finally:
        os.close(fd)
    assert major == os.major(os.stat(tmp_path).st_dev)


def test_a_mount_that_is_not_there_has_no_filesystem():
    assert filesystem_of(0) == ""
