"""What CreateContainer writes for what the kubelet asks: test/golden/specs, read in review.

`make golden` writes each `config.json` anew. Only commit the changes that you understand.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from core.oci.seccomp import runtime_default
from cri.container.spec.process import granted_capabilities
from cri.container.spec.source import Source
from rig.specs import V1, V2, facts, source, spec

SPECS = Path(__file__).parents[4] / "golden/specs"
REWRITE = "CRISP_REWRITE_GOLDEN"
_FACTS = ("swap", "oom_score_floor", "selinux")
_SOURCE = ("image", "systemd_cgroup", "pod_annotations", "ulimits", "device_ownership", "target_pid", "shm")


@pytest.mark.parametrize("path", sorted(SPECS.glob("*.json")), ids=lambda path: path.stem)
def test_the_spec_is_the_one_that_was_reviewed(path: Path, tmp_path: Path) -> None:
    case = json.loads(path.read_text())
    made = described(case, tmp_path)
    if os.environ.get(REWRITE):
        path.write_text(json.dumps({**case, "config.json": made}, indent=2) + "\n")
        return
    assert made == case["config.json"]


def described(case: dict[str, Any], directory: Path) -> dict[str, Any]:
    found = source_of(case["given"], case["request"], directory)
    made = spec(found, [(target, at) for target, at in case["given"].get("volumes", [])])
    if made["linux"].get("seccomp") == json.loads(bytes(runtime_default(granted_capabilities(found)))):
        made["linux"]["seccomp"] = "RuntimeDefault for these capabilities"  # 400 names: test_seccomp.py reads them
    return made


def source_of(given: dict[str, Any], request: dict[str, Any], directory: Path) -> Source:
    """A pod on a node as `given`: what it leaves out is as in rig.specs."""
    for name, text in given.get("files", {}).items():
        (directory / name.lstrip("/")).parent.mkdir(exist_ok=True)
        (directory / name.lstrip("/")).write_text(text)
    if "cdi" in given:
        (directory / "cdi.json").write_text(json.dumps(given["cdi"]))
    fields = {name: given[name] for name in _SOURCE if name in given}
    if "namespaces" in given:
        fields["namespaces"] = {kind: f"/run/crisp/sandboxes/pod1/ns/{kind}" for kind in given["namespaces"]}
    mounts = request["config"].get("mounts", [])
    paths = {mount["container_path"]: mount.get("host_path", "") for mount in mounts}
    return source(
        request["config"],
        request["sandbox_config"],
        rootfs=str(directory),
        cdi_dirs=(str(directory),),
        paths={**paths, **given.get("paths", {})},
        facts=facts(
            {"v1": V1, "v2": V2}[given.get("cgroup", "v2")], **{name: given[name] for name in _FACTS if name in given}
        ),
        **fields,
    )
