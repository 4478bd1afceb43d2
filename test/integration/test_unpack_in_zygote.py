"""The jobs "unpack" and "settle" as the daemon runs them: forked, chrooted, several at once, killed."""

import asyncio
import os
import tempfile

import pytest
from layers import archive, directory, file

from core.diff.compression import GZIP
from core.errdefs import DataLoss, DeadlineExceeded, InvalidArgument
from core.zygote.process import ZygoteProcess

pytestmark = pytest.mark.root

JOBS = {"unpack": "core.diff.unpack:run_job", "settle": "core.diff.settle:run_job"}


@pytest.fixture
async def zygote():
    zygote = ZygoteProcess(jobs=JOBS)
    await zygote.start()
    yield zygote
    await zygote.stop()


async def unpack(zygote, data, target, mode="stacked"):
    with tempfile.TemporaryFile() as blob:
        blob.write(data)
        blob.flush()
        target_fd = os.open(target, os.O_RDONLY)
        try:
            return await zygote.run("unpack", {"mode": mode}, fds=[blob.fileno(), target_fd], deadline=30)
        finally:
            os.close(target_fd)


async def test_layers_unpack_at_once_and_are_settled(zygote, tmp_path):
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    lower.mkdir()
    upper.mkdir()
    results = await asyncio.gather(
        unpack(zygote, archive(directory("tmp", 0o1777), file("tmp/a", b"x")), lower, "base"),
        unpack(zygote, archive(file("tmp/b", b"y")), upper),
    )
    assert [(result["inodes"], result["unsettled"]) for result in results] == [(2, False), (2, True)]
    upper_fd = os.open(upper, os.O_RDONLY)
    try:
        result = await zygote.run("settle", {"lowers": [str(lower)]}, fds=[upper_fd], deadline=30)
    finally:
        os.close(upper_fd)
    assert result == {"size": 0, "inodes": 0}
    assert os.stat(upper / "tmp").st_mode & 0o7777 == 0o1777
    assert os.listxattr(upper / "tmp") == []


@pytest.mark.parametrize(
    ("data", "error"), [(GZIP + b"no gzip at all", DataLoss), (archive(file(".wh..")), InvalidArgument)]
)
async def test_errors_arrive_as_what_they_are_and_the_next_layer_works(zygote, tmp_path, data, error):
    with pytest.raises(error):
        await unpack(zygote, data, tmp_path)
    assert (await unpack(zygote, archive(file("f")), tmp_path))["inodes"] == 1


async def test_a_layer_whose_download_stops_is_killed_at_its_deadline(zygote, tmp_path):
    offsets, announce = os.pipe()
    target_fd = os.open(tmp_path, os.O_RDONLY)
    with tempfile.TemporaryFile() as blob, pytest.raises(DeadlineExceeded):
        try:
            fds = [blob.fileno(), target_fd, offsets]
            await zygote.run("unpack", {"mode": "base"}, fds=fds, deadline=0.2)
        finally:
            for fd in (offsets, announce, target_fd):
                os.close(fd)
    assert os.listdir(tmp_path) == []
