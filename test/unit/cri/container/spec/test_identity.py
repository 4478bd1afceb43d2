"""Groups in the order in which Kubernetes expects them of a status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cri.container.spec.identity import effective_user
from rig.specs import source


@pytest.mark.parametrize(
    ("policy", "groups"), [({}, (1000, 50000, 60000)), ({"supplemental_groups_policy": "Strict"}, (1000, 60000))]
)
def test_groups_are_the_primary_one_those_of_the_image_and_those_asked_for(
    tmp_path: Path, policy: dict[str, Any], groups: tuple[int, ...]
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("app:x:1000:1000::/home:/bin/sh\n")
    (tmp_path / "etc/group").write_text("app:x:1000:\nteam:x:50000:app\n")
    security = {"run_as_user": {"value": 1000}, "supplemental_groups": [60000], **policy}
    asked = source({"linux": {"security_context": security}}, rootfs=str(tmp_path))
    assert effective_user(asked).groups == groups
