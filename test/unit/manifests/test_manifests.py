"""Each file of manifests/ is read by what it is for, or by a parser of its format, and agrees with the others."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.network.confdir import load_networks
from cri.config.config import Config
from cri.config.reading import load

ROOT = Path(__file__).parents[3]
MANIFESTS = ROOT / "manifests"
ENDPOINT = f"unix://{Config().grpc.address}"


def unit(name: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser()
    parsed.optionxform = str  # type: ignore[assignment,method-assign] # systemd's keys have capitals
    parsed.read(MANIFESTS / name)
    return parsed


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((MANIFESTS / name).read_text()))


def test_the_configuration_is_one_that_crispd_reads() -> None:
    config = load(str(MANIFESTS / "config.toml"))
    assert config.default_handler() == "crun"
    assert all(handler.systemd_cgroup for handler in config.handlers().values())
    assert f"unix://{config.grpc.address}" == ENDPOINT


def test_the_network_is_one_that_crispd_takes() -> None:
    (network,) = load_networks(str(MANIFESTS))
    assert [plugin.type for plugin in network.plugins] == ["bridge", "portmap"]


def test_the_unit_keeps_pods_alive() -> None:
    service = unit("crispd.service")["Service"]
    wanted = {"Type": "notify", "KillMode": "process", "Delegate": "yes", "OOMScoreAdjust": "-999", "Restart": "always"}
    assert {key: service[key] for key in wanted} == wanted


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_takes_the_unit_and_the_kubelets_drop_in(tmp_path: Path) -> None:
    text = (MANIFESTS / "crispd.service").read_text().replace("/opt/crisp/bin/crispd", "/bin/true")
    (tmp_path / "crispd.service").write_text(text)
    (tmp_path / "kubelet.service").write_text("[Service]\nExecStart=/bin/true\n")
    (tmp_path / "kubelet.service.d").mkdir()
    shutil.copy(MANIFESTS / "kubelet.service.d/10-crispd.conf", tmp_path / "kubelet.service.d")
    for name in ("crispd.service", "kubelet.service"):
        command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert "crispd.service" in unit("kubelet.service.d/10-crispd.conf")["Unit"]["After"]


def test_kubelet_and_crictl_are_sent_to_the_daemons_socket() -> None:
    (kubelet,) = documents("kubelet.conf.d/10-crisp.conf")
    assert (kubelet["kind"], kubelet["containerRuntimeEndpoint"]) == ("KubeletConfiguration", ENDPOINT)
    (crictl,) = documents("crictl.yaml")
    assert crictl["runtime-endpoint"] == crictl["image-endpoint"] == ENDPOINT


def test_runtime_classes_name_handlers_that_there_are() -> None:
    handlers = load(str(MANIFESTS / "config.toml")).handlers()
    classes = documents("runtimeclasses.yaml")
    assert {one["handler"] for one in classes} == set(handlers)
    assert {one["kind"] for one in classes} == {"RuntimeClass"}


def test_no_file_is_without_a_test() -> None:
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for path in MANIFESTS.rglob("*"):
        assert path.is_dir() or path.name in text or path.suffix == ".conflist"
