"""What crun 1.8 and runc 1.1 say of commands that cannot be executed, in one form."""

import pytest

from core.oci.execution import not_executable

SAID = [
    ("crun create failed: executable file `nope` not found in $PATH: No such file or directory", "nope"),
    ("crun exec failed: executable file `/nope` not found in $PATH: No such file or directory", "/nope"),
    ("crun exec failed: open executable: Permission denied", "/etc/passwd"),
    ("crun exec failed: open executable: Not a directory", "/etc/passwd/x"),
    ('runc exec failed: unable to start container process: exec: "nope": executable file not found in $PATH', "nope"),
    ('runc create failed: unable to start container process: exec: "/nope": stat /nope: no such file or directory',
     "/nope"),
    ('runc exec failed: unable to start container process: exec: "/etc/passwd": permission denied', "/etc/passwd"),
    ('runc exec failed: exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory', "/etc/passwd/x"),
]  # fmt: skip
TOLD = {
    "nope": ('exec: "nope": executable file not found in $PATH', 127),
    "/nope": ('exec: "/nope": no such file or directory', 127),
    "/etc/passwd": ('exec: "/etc/passwd": permission denied', 126),
    "/etc/passwd/x": ('exec: "/etc/passwd/x": not a directory', 126),
}


@pytest.mark.parametrize(("said", "command"), SAID)
def test_a_command_that_cannot_be_executed_is_named_with_a_shells_exit_code(said, command):
    told = not_executable(said, command)
    assert (str(told), told.exit_code) == TOLD[command]


@pytest.mark.parametrize(
    "said",
    [
        "crun exec failed: fail startup",
        "crun create failed: chdir `/bin/busybox`: Not a directory",
        "runc create failed: unable to start container process: error during container init: mkdir /x: not a directory",
    ],
)
def test_what_is_not_about_the_command_is_left_as_it_is(said):
    assert not_executable(said, "sh") is None
