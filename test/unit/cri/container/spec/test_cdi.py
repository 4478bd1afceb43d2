from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from core.errdefs import InvalidArgument
from rig.specs import source, spec

DEVICE = "vendor.com/gpu=one"


def with_edits(tmp_path: Path, edits: dict[str, Any], config: dict[str, Any] | None = None) -> dict[str, Any]:
    document = {
        "cdiVersion": "0.6.0",
        "kind": "vendor.com/gpu",
        "devices": [{"name": "one", "containerEdits": edits}],
    }
    (tmp_path / "gpu.json").write_text(json.dumps(document))
    asked = {"CDI_devices": [{"name": DEVICE}], **(config or {})}
    return spec(source(asked, cdi_dirs=(str(tmp_path),)))


def test_every_edit_reaches_the_spec(tmp_path: Path) -> None:
    made = with_edits(
        tmp_path,
        {
            "env": ["HOME=/cdi", "NEW=a=b"],
            "deviceNodes": [
                {"path": "/dev/gpu", "type": "c", "major": 195, "minor": 1, "fileMode": 0o600, "permissions": "rw"},
                {"path": "/dev/renamed", "hostPath": "/dev/null", "uid": 3, "gid": 4},
            ],
            "mounts": [
                {"hostPath": "/usr/lib/gpu.so", "containerPath": "/lib/gpu.so", "options": ["ro", "bind"]},
                {"hostPath": "/etc/other", "containerPath": "/etc/hosts"},
                {"hostPath": "tmpfs", "containerPath": "/scratch", "type": "tmpfs", "options": ["size=1m"]},
            ],
            "hooks": [{"hookName": "createContainer", "path": "/bin/hook", "args": ["hook", "x"], "timeout": 5}],
            "additionalGids": [44, 0],
            "intelRdt": {"closID": "gold"},
        },
        {"linux": {"security_context": {"run_as_user": {"value": 1000}, "run_as_group": {"value": 1001}}}},
    )
    assert {"HOME=/cdi", "NEW=a=b"} < set(made["process"]["env"])
    gpu, renamed = made["linux"]["devices"]
    assert gpu == {
        "path": "/dev/gpu", "type": "c", "major": 195, "minor": 1, "fileMode": 0o600, "uid": 1000, "gid": 1001
    }  # fmt: skip
    assert (renamed["path"], renamed["major"], renamed["minor"], renamed["uid"], renamed["gid"]) == (
        "/dev/renamed",
        1,
        3,
        3,
        4,
    )
    rules = made["linux"]["resources"]["devices"]
    assert rules[1:] == [
        {"allow": True, "type": "c", "major": 195, "minor": 1, "access": "rw"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
    ]
    mounts = {mount["destination"]: mount for mount in made["mounts"]}
    assert mounts["/lib/gpu.so"]["options"] == ["ro", "bind"]
    assert (mounts["/etc/hosts"]["source"], mounts["/etc/hosts"]["options"]) == ("/etc/other", ["rbind"])
    assert mounts["/scratch"]["type"] == "tmpfs"
    assert made["hooks"] == {"createContainer": [{"path": "/bin/hook", "args": ["hook", "x"], "env": [], "timeout": 5}]}
    assert made["process"]["user"]["additionalGids"] == [1001, 44]
    assert made["linux"]["intelRdt"] == {"closID": "gold"}


def test_annotations_name_devices_too(tmp_path: Path) -> None:
    config = {"CDI_devices": [], "annotations": {"cdi.k8s.io/plugin": f"{DEVICE}, {DEVICE}", "other": "x"}}
    assert "A=1" in with_edits(tmp_path, {"env": ["A=1"]}, config)["process"]["env"]


def test_no_node_is_made_in_a_dev_that_the_kubelet_mounts(tmp_path: Path) -> None:
    edits = {"deviceNodes": [{"path": "/dev/gpu", "type": "c", "major": 195}]}
    made = with_edits(tmp_path, edits, {"mounts": [{"container_path": "/dev", "host_path": "/dev"}]})
    assert made["linux"]["devices"] == []
    assert made["linux"]["resources"]["devices"][-1]["major"] == 195


@pytest.mark.parametrize(
    "edits",
    [
        {"deviceNodes": [{"path": "/proc/gpu", "type": "c"}]},
        {"deviceNodes": [{"path": "/dev/gpu", "type": "x"}]},
        {"deviceNodes": [{"path": "/dev/gpu", "type": "c", "permissions": "q"}]},
        {"deviceNodes": [{"path": "/dev/not-on-this-node"}]},
        {"mounts": [{"hostPath": "/x", "containerPath": "/"}]},
        {"hooks": [{"hookName": "often", "path": "/bin/hook"}]},
        {"hooks": [{"hookName": "prestart", "path": "hook"}]},
        {"netDevices": [{"hostInterfaceName": "eth1", "name": "eth1"}]},
    ],
)
def test_what_cannot_be_done_is_refused(tmp_path: Path, edits: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        with_edits(tmp_path, edits)


def test_devices_are_the_users_where_the_handler_says_so() -> None:
    asked = {
        "devices": [{"host_path": "/dev/null", "container_path": "/dev/mine"}],
        "linux": {"security_context": {"run_as_user": {"value": 1000}, "run_as_group": {"value": 1001}}},
    }
    nodes = [spec(source(asked, device_ownership=owned))["linux"]["devices"][0] for owned in (False, True)]
    there = os.stat("/dev/null")
    assert [(node["uid"], node["gid"]) for node in nodes] == [(there.st_uid, there.st_gid), (1000, 1001)]
