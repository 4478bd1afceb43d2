import os

import pytest

from core.errdefs import FailedPrecondition, InvalidArgument, NotFound
from core.zygote.probe import run_job


def probe(operation: str, path, **args):
    return run_job({"operation": operation, "path": str(path), **args}, (), lambda _: None)


def test_stat_follows_links_and_tells_where_they_lead(tmp_path):
    (tmp_path / "file").touch(0o640)
    (tmp_path / "link").symlink_to("file")
    found = probe("stat", tmp_path / "link")
    assert (found["kind"], found["path"]) == ("file", str(tmp_path / "file"))
    assert found["dev"] == os.stat(tmp_path).st_dev
    assert probe("realpath", tmp_path / "link") == found


def test_lstat_describes_the_link_itself(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    assert probe("lstat", tmp_path / "link")["kind"] == "link"


@pytest.mark.parametrize(("path", "kind"), [("/dev/null", "character"), ("/proc", "directory")])
def test_kinds_have_names(path, kind):
    assert probe("stat", path)["kind"] == kind


def test_mkdir_makes_parents_and_is_content_with_a_directory(tmp_path):
    assert probe("mkdir", tmp_path / "a/b")["kind"] == "directory"
    assert probe("mkdir", tmp_path / "a/b")["path"] == str(tmp_path / "a/b")


def test_mkdir_over_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FailedPrecondition):
        probe("mkdir", tmp_path / "file")


def test_what_is_absent_is_not_found(tmp_path):
    with pytest.raises(NotFound):
        probe("stat", tmp_path / "absent")


def test_unknown_operations_are_refused(tmp_path):
    with pytest.raises(InvalidArgument):
        probe("unlink", tmp_path)
