"""Features of OCI runtimes, read from the mounts of a container."""

import pytest

from core.oci.features import Features, all_read_only, probe

ROOT = "20 1 254:0 /rootfs / rw,relatime - ext4 /dev/vda rw\n"
HOST = "21 20 254:0 / /host ro,relatime - ext4 /dev/vda rw\n"
BELOW = "22 21 0:5 / /host/proc {},nosuid - proc proc rw\n"


@pytest.mark.parametrize(
    "mounts,holds",
    [
        (ROOT + HOST + BELOW.format("ro"), True),
        (ROOT + HOST + BELOW.format("rw"), False),
        (ROOT + HOST, False),  # nothing below, so nothing is proven
        ("", False),
    ],
)
def test_every_mount_below_counts(mounts, holds):
    assert all_read_only(mounts, "/host") is holds


async def test_a_runtime_that_is_not_there_has_no_features(tmp_path):
    assert await probe("/no/such/runtime", str(tmp_path / "root"), str(tmp_path / "probe"), users=True) == Features()
