import os
import stat

import pytest

from core.files.atomic import write_atomic


def test_write_atomic_replaces_the_file_with_exactly_the_mode(tmp_path):
    path = str(tmp_path / "f")
    old = os.umask(0o077)
    try:
        write_atomic(path, b"one", 0o600)
        write_atomic(path, b"two", 0o644, durable=False)
    finally:
        os.umask(old)
    with open(path, "rb") as file:
        assert file.read() == b"two"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644
    assert os.listdir(tmp_path) == ["f"]


def test_leftover_of_a_crash_is_replaced(tmp_path):
    (tmp_path / ".f.new").write_bytes(b"half")
    write_atomic(str(tmp_path / "f"), b"whole")
    assert os.listdir(tmp_path) == ["f"]


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "f").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomic(str(tmp_path / "f"), b"x")
    assert os.listdir(tmp_path) == ["f"]
