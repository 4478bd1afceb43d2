import dataclasses
import os
import signal
import subprocess
import sys

import pytest

from core.linux.pidfd import ProcessIdentity, open_pidfd


def test_this_process_is_alive():
    assert ProcessIdentity.of(os.getpid()).alive()


@pytest.mark.parametrize("change", [{"start_time": 1}, {"boot_id": "another"}])
def test_a_reused_pid_is_somebody_else(change):
    stranger = dataclasses.replace(ProcessIdentity.of(os.getpid()), **change)
    assert not stranger.alive()
    with pytest.raises(ProcessLookupError):
        stranger.send_signal(0)


def test_a_killed_process_is_not_alive_even_before_it_is_reaped():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        identity = ProcessIdentity.of(child.pid)
        assert identity.alive()
        identity.send_signal(9)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not identity.alive()
    with pytest.raises(ProcessLookupError):
        identity.open()


def test_a_process_that_does_not_exist_has_no_identity():
    with pytest.raises(ProcessLookupError):
        ProcessIdentity.of(1 << 30)


def test_a_process_whose_session_outlives_it_is_gone():
    """pidfd_open(2) says EINVAL of it before Linux 6.15, as of a shim that was killed and left its pod."""
    script = "import subprocess; print(subprocess.Popen(['sleep', '1000'], stdout=-3).pid, flush=True)"
    command = [sys.executable, "-c", f"{script}; input()"]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, start_new_session=True, **streams) as leader:
        member = int(leader.stdout.readline())
        identity = ProcessIdentity.of(leader.pid)
    try:
        with pytest.raises(ProcessLookupError):
            identity.open()
        with pytest.raises(ProcessLookupError):
            open_pidfd(leader.pid)
        assert not identity.alive()
    finally:
        os.kill(member, signal.SIGKILL)
