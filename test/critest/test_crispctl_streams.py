"""crispctl exec -it, attach and port-forward against a real daemon, on a real terminal where one is wanted."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import urllib.request
from typing import TYPE_CHECKING

import pytest

from rig.cri_client import CriClient
from rig.crispctl import Crispctl, read_until
from rig.patience import patient

if TYPE_CHECKING:
    from conftest import Node, Pods

pytestmark = pytest.mark.root


@pytest.fixture
def ctl(node: Node) -> Crispctl:
    return Crispctl(node)


def resize(terminal: int, columns: int, lines: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def test_a_shell_on_a_terminal_has_its_size_its_keys_and_its_exit_code(ctl: Crispctl, pods: Pods) -> None:
    _, container = pods.start("sleep 1000")
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    resize(theirs, 91, 33)
    process = ctl.start("exec", "-it", container, "sh", stdin=theirs, stdout=theirs, stderr=theirs)
    with open(ours, "r+b", buffering=0) as terminal:
        read_until(terminal, b"# ")  # what is typed before the terminal is raw is dropped
        terminal.write(b"stty size\n")
        assert b"33 91" in read_until(terminal, b"33 91")
        resize(ours, 70, 20)
        process.send_signal(signal.SIGWINCH)  # the kernel sends it to the terminal's foreground group, which we lead
        terminal.write(b"while test \"$(stty size)\" != '20 70'; do sleep 0.02; done; echo re''sized\n")
        read_until(terminal, b"resized")
        terminal.write(b"sh -c \"echo begi''ns; exec sleep 1000\"\n")
        read_until(terminal, b"begins")  # before, ^C is the shell's: a key like others, or ignored
        terminal.write(b"\x03exit 7\n")
        assert process.wait(timeout=patient(20)) == 7
        assert termios.tcgetattr(theirs) == before
        os.close(theirs)


def test_what_is_piped_in_reaches_its_end_and_all_of_it_comes_back(ctl: Crispctl, pods: Pods) -> None:
    _, container = pods.start("sleep 1000")
    data = os.urandom(3 << 20)
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with ctl.start("exec", "-i", container, "sh", "-c", "cat; echo err >&2; exit 3", **streams) as process:
        out, err = process.communicate(data, timeout=patient(30))
    assert (out == data, err, process.returncode) == (True, b"err\n", 3)
    code, out, err = ctl.run("exec", "-t", container, "/no/such")
    assert (code, "no/such" in out + err) == (127, True)


def test_attach_shows_what_comes_and_passes_on_what_is_typed(ctl: Crispctl, pods: Pods, node: Node) -> None:
    config = node.container("read line; echo got $line; exit 4")
    config.stdin = config.stdin_once = True
    _, container = pods.start("", config=config)
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with ctl.start("attach", "-i", "--json", container, **streams) as process:
        out, _ = process.communicate(b"hello\n", timeout=patient(30))
    assert json.loads(out) == {"stream": "stdout", "text": "got hello\n"}


def test_a_port_of_a_pod_is_reached_from_here(ctl: Crispctl, pods: Pods, client: CriClient) -> None:
    pod, container = pods.start("echo hello > /tmp/index.html; exec httpd -f -p 8080 -h /tmp")
    ctl("exec", container, "sh", "-c", "until wget -q -O- http://127.0.0.1:8080/index.html; do sleep 0.02; done")
    with ctl.start("port-forward", pod, "0:8080", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        where = process.stdout.readline().decode().split()[0]
        for _ in range(2):
            with urllib.request.urlopen(f"http://{where}/index.html", timeout=patient(20)) as answer:
                assert answer.read() == b"hello\n"
        ctl("exec", container, "killall", "httpd")
        process.send_signal(signal.SIGINT)
