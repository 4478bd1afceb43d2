from __future__ import annotations

from pathlib import Path

import pytest

from cri.check import Finding, Level, examine
from cri.config.config import Cni, Config, Runtime


def found(config: Config) -> dict[str, Finding]:
    return {finding.subject: finding for finding in examine(config)}


def runtime(directory: Path, name: str, script: str) -> Runtime:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Runtime(binary=str(path))


@pytest.fixture(autouse=True)
def none_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")


def test_a_runtime_tells_its_version_and_one_that_cannot_is_told(tmp_path: Path) -> None:
    handlers = {
        "good": runtime(tmp_path, "good", "echo good version 1; echo more"),
        "broken": runtime(tmp_path, "broken", "echo broken version 1; exit 1"),
        "missing": Runtime(binary=str(tmp_path / "missing")),
    }
    findings = found(Config(runtimes={"default": "good", **handlers}))
    assert findings["runtime good"] == Finding(level=Level.OK, subject="runtime good", text="good version 1")
    for name in ("broken", "missing"):
        assert findings[f"runtime {name}"].level is Level.LIMITED
        assert f"handler '{name}' cannot start" in findings[f"runtime {name}"].text
    assert "OCI runtime" not in findings


def test_without_any_runtime_no_pod_can_run() -> None:
    config = Config(runtimes={"default": "missing", "missing": Runtime(binary="/nonexistent/crun")})
    assert found(config)["OCI runtime"].level is Level.FATAL


def test_the_network_is_what_the_configuration_says(tmp_path: Path) -> None:
    cni = Cni(conf_dir=str(tmp_path / "net.d"), bin_dirs=[str(tmp_path / "bin")])
    findings = found(Config(cni=cni))
    assert findings["network"].level is findings["CNI plugins"].level is Level.LIMITED
    (tmp_path / "net.d").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "net.d/10-net.conflist").touch()
    findings = found(Config(cni=cni))
    assert findings["network"].level is Level.OK
    assert "CNI plugins" not in findings
    assert found(Config(cni=Cni(builtin=True, conf_dir="/none")))["network"].level is Level.OK


def test_the_node_itself_is_looked_at() -> None:
    findings = found(Config())
    for subject in ("CAP_SYS_RESOURCE", "overlayfs", "cgroups", "AppArmor", "SELinux"):
        assert findings[subject].text
