from __future__ import annotations

from pathlib import Path

import pytest

from cri.check import Finding, Level, examine, has_known_holes
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


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("runc version 1.1.5+ds1", True),
        ("runc version 1.2.7", True),
        ("runc version 1.2.8", False),
        ("runc version 1.3.2", True),
        ("runc version 1.3.3-0ubuntu1", False),
        ("runc version 1.4.0", False),
        ("runc version 2.0.0", False),
        ("crun version 1.8.1", False),
        ("", False),
    ],
)
def test_a_runc_with_known_holes_is_told(tmp_path: Path, version: str, old: bool) -> None:
    """CVE-2025-31133, CVE-2025-52565, CVE-2025-52881."""
    assert has_known_holes(version) == old
    runc = runtime(tmp_path, "runc", f"echo '{version}'")
    finding = found(Config(runtimes={"default": "runc", "runc": runc}))["runtime runc"]
    assert ("CVE-2025-31133" in finding.text) == old
    assert (finding.level is Level.OK) == bool(version and not old)


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
