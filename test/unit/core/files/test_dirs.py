import os
import stat

import pytest

from core.files.dirs import make_dirs, remove_tree


def mode(path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def deep_tree(root, depth) -> None:
    """More levels than PATH_MAX can name."""
    fd = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


def test_make_dirs_gives_all_new_directories_the_mode_whatever_the_umask(tmp_path):
    old = os.umask(0o077)
    try:
        make_dirs(str(tmp_path / "a/b"), 0o755)
    finally:
        os.umask(old)
    assert (mode(tmp_path / "a"), mode(tmp_path / "a/b")) == (0o755, 0o755)


def test_make_dirs_corrects_the_mode_of_the_last_directory_only(tmp_path):
    (tmp_path / "a").mkdir(0o755)
    (tmp_path / "a/b").mkdir(0o755)
    make_dirs(str(tmp_path / "a/b"), 0o700)
    assert (mode(tmp_path / "a"), mode(tmp_path / "a/b")) == (0o755, 0o700)


@pytest.mark.parametrize("make", [lambda path: path.touch(), lambda path: path.symlink_to("/tmp")])
def test_make_dirs_refuses_what_is_no_directory(tmp_path, make):
    make(tmp_path / "a")
    with pytest.raises(NotADirectoryError):
        make_dirs(str(tmp_path / "a"), 0o700)


def test_remove_tree_of_an_absent_path_succeeds(tmp_path):
    remove_tree(str(tmp_path / "no/where"))
    remove_tree(str(tmp_path / "nowhere"))


def test_remove_tree_removes_links_and_not_what_they_lead_to(tmp_path):
    (tmp_path / "host").mkdir()
    (tmp_path / "host/file").touch()
    (tmp_path / "t/sub").mkdir(parents=True)
    (tmp_path / "t/sub/link").symlink_to(tmp_path / "host")
    (tmp_path / "alias").symlink_to(tmp_path / "host")
    remove_tree(str(tmp_path / "t"))
    remove_tree(str(tmp_path / "alias"))
    assert os.listdir(tmp_path) == ["host"]
    assert os.listdir(tmp_path / "host") == ["file"]


def test_remove_tree_copes_with_ten_thousand_levels(tmp_path):
    (tmp_path / "t").mkdir()
    deep_tree(tmp_path / "t", 10_000)
    remove_tree(str(tmp_path / "t") + "/")
    assert os.listdir(tmp_path) == []


def test_remove_tree_copes_with_more_names_than_one_batch(tmp_path):
    (tmp_path / "t").mkdir()
    for number in range(9000):
        (tmp_path / f"t/{number}").touch()
    remove_tree(str(tmp_path / "t"))
    assert os.listdir(tmp_path) == []
