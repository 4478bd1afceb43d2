from pathlib import Path

import pytest

from core.nri import installed
from core.nri.installed import Installed, PluginProcess, installed_plugins


def executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_plugins_are_found_with_their_configuration(tmp_path: Path) -> None:
    for name in ("10-one", "05-two", "one", "1-x", "10-", "10-a b"):
        executable(tmp_path / "bin" / name)
    (tmp_path / "bin/20-data").write_text("not executable")
    (tmp_path / "bin/30-directory").mkdir()
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/one.conf").write_text("of any index")
    (tmp_path / "conf/05-two.conf").write_text("of this one")
    (tmp_path / "conf/two.conf").write_text("not this")
    found = installed_plugins(str(tmp_path / "bin"), str(tmp_path / "conf"))
    assert [(one.index, one.base, one.config) for one in found] == [
        ("05", "two", "of this one"),
        ("10", "one", "of any index"),
    ]


def test_no_directory_is_no_plugin(tmp_path: Path) -> None:
    assert list(installed_plugins(str(tmp_path / "none"), "")) == []


async def test_a_plugin_that_ignores_the_end_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installed, "GRACE", 0.1)
    script = "#!/bin/sh\ntrap '' TERM\nsleep 100 &\necho ready >&3\nwait\nwait\n"
    path = executable(tmp_path / "bin/10-stubborn", script)
    process = PluginProcess(Installed(path=str(path), index="10", base="stubborn", config=""))
    with process.socket:
        assert process.socket.recv(100) == b"ready\n"
        await process.end()
        await process.end()
        assert process.socket.recv(1) == b""  # nobody holds the other end any more
