from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errdefs import InvalidArgument
from core.oci.cdi import MAX_FILE, edits_of

YAML = """
cdiVersion: "0.6.0"
kind: vendor.com/net
devices:
- name: port0
  containerEdits:
    env: [PORT=0]
    deviceNodes:
    - {path: /dev/port0, hostPath: /dev/real0, permissions: rw, uid: 5}
"""


def describe(directory: Path, name: str, kind: str = "vendor.com/gpu", **devices: str) -> None:
    """A file in which each device sets one variable, and the file another."""
    document = {
        "cdiVersion": "0.6.0",
        "kind": kind,
        "devices": [{"name": key, "containerEdits": {"env": [env]}} for key, env in devices.items()],
        "containerEdits": {"env": [f"FILE={name}"]},
    }
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(json.dumps(document))


def env(names: list[str], *directories: Path) -> list[str]:
    return [word for edits in edits_of(names, [str(one) for one in directories]) for word in edits.env]


def test_a_devices_edits_follow_its_files_which_come_once(tmp_path: Path) -> None:
    describe(tmp_path, "gpu.json", first="GPU=1", second="GPU=2")
    names = ["vendor.com/gpu=second", "vendor.com/gpu=first", "vendor.com/gpu=second"]
    assert env(names, tmp_path) == ["FILE=gpu.json", "GPU=2", "GPU=1"]


def test_yaml_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(YAML)
    (_, edits) = edits_of(["vendor.com/net=port0"], [str(tmp_path)])
    node = edits.device_nodes[0]
    assert (node.path, node.host_path, node.permissions) == ("/dev/port0", "/dev/real0", "rw")
    assert (node.uid, node.gid) == (5, None)


def test_the_last_directory_counts_most(tmp_path: Path) -> None:
    static, dynamic = tmp_path / "static", tmp_path / "dynamic"
    describe(static, "a.json", first="FROM=static", only="FROM=static")
    describe(dynamic, "b.json", first="FROM=dynamic")
    assert env(["vendor.com/gpu=first"], static, dynamic) == ["FILE=b.json", "FROM=dynamic"]
    assert env(["vendor.com/gpu=only"], static, dynamic, tmp_path / "none") == ["FILE=a.json", "FROM=static"]


def test_a_device_that_two_files_describe_is_refused_with_both(tmp_path: Path) -> None:
    describe(tmp_path, "a.json", first="A=1")
    describe(tmp_path, "b.json", first="A=2", second="A=3")
    with pytest.raises(InvalidArgument, match=r"a\.json and in .*b\.json"):
        env(["vendor.com/gpu=first"], tmp_path)
    assert env(["vendor.com/gpu=second"], tmp_path) == ["FILE=b.json", "A=3"]


def test_a_device_that_nobody_describes_is_refused_with_what_could_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "large.json").write_bytes(b" " * (MAX_FILE + 1))
    (tmp_path / "directory.json").mkdir()
    describe(tmp_path, "bad-kind.json", kind="no kind", first="A=1")
    describe(tmp_path, "good.json", first="A=1")
    with pytest.raises(InvalidArgument, match="not described") as caught:
        env(["vendor.com/gpu=none"], tmp_path)
    for name in ("broken.json", "broken.yaml", "large.json", "directory.json", "bad-kind.json"):
        assert name in str(caught.value)
    assert env(["vendor.com/gpu=first"], tmp_path) == ["FILE=good.json", "A=1"]


@pytest.mark.parametrize(
    "name", ["", "gpu", "vendor.com/gpu", "vendor.com/gpu=", "=x", "../x/y=z", "vendor.com/gpu=a b"]
)
def test_what_is_no_device_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgument, match="want vendor"):
        env([name], tmp_path)


def test_nothing_is_read_for_nobody(tmp_path: Path) -> None:
    unreadable: Any = object()
    assert edits_of([], unreadable) == []
