import os

import pytest

from core.errdefs import InvalidArgument, ResourceExhausted
from core.files.read import read_limited


def test_a_file_of_just_the_limit_is_read(tmp_path):
    (tmp_path / "f").write_bytes(b"12345")
    assert read_limited(str(tmp_path / "f"), 5) == b"12345"


def test_a_larger_file_is_refused(tmp_path):
    (tmp_path / "f").write_bytes(b"123456")
    with pytest.raises(ResourceExhausted, match="more than 5 bytes"):
        read_limited(str(tmp_path / "f"), 5)


def test_a_fifo_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "f")
    with pytest.raises(InvalidArgument, match="not a regular file"):
        read_limited(str(tmp_path / "f"), 5)


def test_links_are_followed_inside_the_root_only(tmp_path):
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/real").write_bytes(b"inside")
    (tmp_path / "root/etc/passwd").symlink_to("/../../etc/real")
    assert read_limited("/etc/passwd", 100, root=str(tmp_path / "root")) == b"inside"
