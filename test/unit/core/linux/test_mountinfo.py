from __future__ import annotations

from pathlib import Path

import pytest

from core.linux.mountinfo import Propagation, propagation_of

MOUNTS = r"""
1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 0:5 / /srv rw shared:3 - tmpfs tmpfs rw
3 2 0:6 / /srv/slave rw master:3 - tmpfs tmpfs rw
4 1 0:7 / /with\040space rw shared:5 master:3 - tmpfs tmpfs rw
5 2 0:8 / /srv/top rw shared:7 - tmpfs tmpfs rw
6 5 0:9 / /srv/top rw - tmpfs tmpfs rw
""".lstrip()


@pytest.mark.parametrize(
    ("path", "mount_point", "shared", "slave"),
    [
        ("/", "/", False, False),
        ("/home/srv", "/", False, False),
        ("/srv", "/srv", True, False),
        ("/srv/a/b", "/srv", True, False),
        ("/srv/slave/x", "/srv/slave", False, True),
        ("/srv/slaves", "/srv", True, False),
        ("/with space/x", "/with space", True, True),
        ("/srv/top/x", "/srv/top", False, False),
    ],
)
def test_the_mount_that_a_path_is_on_tells_its_propagation(
    tmp_path: Path, path: str, mount_point: str, shared: bool, slave: bool
) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS)
    found = propagation_of(path, str(tmp_path / "mountinfo"))
    assert found == Propagation(mount_point=mount_point, shared=shared, slave=slave)
