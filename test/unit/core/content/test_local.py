import hashlib
import os

import pytest

from core.content.local import LocalContent
from core.errdefs import ResourceExhausted
from core.types import digest


def test_directories_are_for_their_owner_only(tmp_path):
    root = tmp_path / "content"
    LocalContent(str(root))
    assert {os.stat(path).st_mode & 0o777 for path in (root, root / "ingest", root / "blobs" / "sha256")} == {0o700}


def test_an_ingest_that_crashed_before_it_had_a_ref_is_removed_at_the_next_start(tmp_path):
    LocalContent(str(tmp_path))
    (tmp_path / "ingest" / "ab").mkdir()
    LocalContent(str(tmp_path))
    assert os.listdir(tmp_path / "ingest") == []


def test_an_ingest_that_crashed_behind_its_rename_is_empty_and_starts_over(tmp_path):
    store = LocalContent(str(tmp_path))
    writer = store.writer("ref")
    writer.write(b"x")
    os.unlink(writer.path)
    writer.close()
    assert [status.offset for status in store.ingests()] == [0]
    writer = store.writer("ref")
    writer.write(b"y")
    writer.commit(1, digest("sha256:" + hashlib.sha256(b"y").hexdigest()))
    assert list(store.ingests()) == []


def test_a_full_disk_is_resource_exhausted_and_keeps_what_was_written(tmp_path):
    writer = LocalContent(str(tmp_path)).writer("ref")
    writer.write(b"first")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, writer._fd)  # every write from here on fails with ENOSPC
    os.close(full)
    with pytest.raises(ResourceExhausted, match="free some disk space"):
        writer.write(b"x")
    assert writer.offset == len(b"first")
    writer.close()
