import asyncio

import pytest

from core.network.watch import Watch


@pytest.fixture
async def watch():
    watch = Watch()
    yield watch
    watch.close()


async def changes(watch, directory):
    """A change was told; arm again, as its owner does."""
    async with asyncio.timeout(5):
        await watch.wait_changed()
    watch.arm([str(directory)])


async def silent(watch):
    """Nothing is told, even after the loop has looked for events."""
    for _ in range(3):
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await watch.wait_changed()


async def test_files_that_come_change_and_go_are_told(watch, tmp_path):
    watch.arm([str(tmp_path)])
    (tmp_path / "a").write_text("1")
    await changes(watch, tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    await changes(watch, tmp_path)
    (tmp_path / "b").unlink()
    await changes(watch, tmp_path)
    (tmp_path / "link").symlink_to("b")
    await changes(watch, tmp_path)
    await silent(watch)


async def test_a_directory_that_appears_step_by_step_is_followed(watch, tmp_path):
    directory = tmp_path / "cni" / "net.d"
    watch.arm([str(directory)])
    (tmp_path / "cni").mkdir()
    await changes(watch, directory)
    directory.mkdir()
    await changes(watch, directory)
    (directory / "a").touch()
    await changes(watch, directory)


async def test_a_directory_that_is_removed_and_comes_back_is_followed(watch, tmp_path):
    directory = tmp_path / "net.d"
    directory.mkdir()
    watch.arm([str(directory)])
    directory.rmdir()
    await changes(watch, directory)
    directory.mkdir()
    await changes(watch, directory)
    (directory / "a").touch()
    await changes(watch, directory)


async def test_a_directory_that_is_no_longer_armed_is_silent(watch, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    watch.arm([str(old)])
    watch.arm([str(new)])
    (old / "a").touch()
    await silent(watch)
