import pytest

from core.linux.mount import mount, umount_all


@pytest.fixture
def small_disk(tmp_path):
    """A filesystem of 8 MiB."""
    path = tmp_path / "small"
    path.mkdir()
    mount("tmpfs", str(path), "tmpfs", data="size=8m")
    yield path
    umount_all(str(path))
