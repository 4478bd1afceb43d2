"""What crispctl says without a daemon."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from cri.cli import main
from cri.cli.content import content
from cri.cli.group import COMMANDS
from cri.cli.image import image
from cri.cli.pull import Bars

GROUPS = {"content": content, "image": image}


def crispctl(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_a_daemon_that_is_down_is_said_with_what_helps(tmp_path: Path) -> None:
    result = crispctl("--address", f"unix://{tmp_path}/none.sock", "ps")
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: no daemon at {tmp_path}/none.sock: No such file or directory; start crispd, or give --address\n"
    )


def test_every_command_is_listed_and_has_help_and_json() -> None:
    overview = crispctl("--help").output
    for name in COMMANDS:
        assert f"  {name} " in overview
        words = [(name, verb) for verb in GROUPS[name].commands] if name in GROUPS else [(name,)]
        assert all("--json" in crispctl(*each, "--help").output for each in words)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--address", "tcp://1.2.3.4", "ps"],
        ["nonsense"],
        ["logs"],
        ["logs", "--tail", "-1", "c"],
        ["logs", "--since", "yesterday", "c"],
        ["run", "-p", "99999:1", "image"],
        ["run", "--rm", "-d", "image"],
        ["run", "--pod", "p", "-p", "1:1", "image"],
        ["run", "--name", "Not A Name", "image"],
        ["exec", "c"],
        ["stop", "-t", "soon", "c"],
        ["update", "c"],
        ["update", "-m", "much", "c"],
        ["ps", "-l", "label"],
    ],
)
def test_what_is_not_understood_is_exit_code_2(arguments: list[str]) -> None:
    result = crispctl(*arguments)
    assert (result.exit_code, "Error: " in result.stderr) == (2, True)


def test_a_pull_shows_a_bar_for_each_layer_and_one_for_all() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, color_system=None)
    with Bars("[b]image", console) as bars:
        bars.show([])
        bars.show(
            [
                {"digest": "sha256:" + "a" * 64, "size": 2048, "offset": 1024, "phase": "downloading"},
                {"digest": "sha256:" + "b" * 64, "size": 2048, "offset": 2048, "phase": "unpacking"},
            ]
        )
    shown = out.getvalue()
    assert "[b]image" in shown
    assert "1.0/2.0 KiB downloading" in shown
    assert "2.0/2.0 KiB unpacking" in shown
    assert "3.0/4.0 KiB" in shown
    assert shown.rstrip("\x1b[?25h\n").count("done") >= 3
