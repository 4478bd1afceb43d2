import pytest

from core.linux.mount import MS_BIND, MS_NODEV, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, parse_options


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ((), 0),
        (("ro", "nosuid", "nodev"), MS_RDONLY | MS_NOSUID | MS_NODEV),
        (("ro", "rw"), 0),
        (("rbind", "ro"), MS_BIND | MS_REC | MS_RDONLY),
        (("defaults",), 0),
    ],
)
def test_flags_are_those_of_fstab_and_the_last_one_wins(options, flags):
    assert parse_options(options).flags == flags


def test_unknown_options_are_the_filesystem_s():
    options = parse_options(("size=64m", "rprivate", "rro", "mode=1777"))
    assert options.data == ("size=64m", "mode=1777")
    assert options.propagation == MS_PRIVATE | MS_REC
    assert options.recursive_readonly
