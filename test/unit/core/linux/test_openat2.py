import errno
import os

import pytest

from core.linux.openat2 import open_beneath, open_in_root


@pytest.fixture
def root_fd(tmp_path):
    (tmp_path / "root/sub").mkdir(parents=True)
    (tmp_path / "root/target").write_text("inside")
    (tmp_path / "target").write_text("outside")
    (tmp_path / "root/absolute").symlink_to("/target")
    (tmp_path / "root/climbing").symlink_to("../../../target")
    (tmp_path / "root/magic").symlink_to("/proc/self/root")
    fd = os.open(tmp_path / "root", os.O_PATH)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("path", ["target", "/target", "absolute", "climbing", "../../target", "sub/../target"])
def test_open_in_root_never_leaves_the_root(root_fd, path):
    with open(open_in_root(root_fd, path, os.O_RDONLY)) as file:
        assert file.read() == "inside"
        assert not os.get_inheritable(file.fileno())


@pytest.mark.parametrize("path", ["../target", "/target", "absolute", "climbing"])
def test_open_beneath_refuses_links_and_climbing(root_fd, path):
    with pytest.raises(OSError) as caught:
        open_beneath(root_fd, path, os.O_RDONLY)
    assert caught.value.errno in {errno.ELOOP, errno.EXDEV}
    assert caught.value.filename == path
