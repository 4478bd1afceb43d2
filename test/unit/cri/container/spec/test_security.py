from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errdefs import InvalidArgument
from rig.specs import source, spec


def with_security(**fields: Any) -> dict[str, Any]:
    return spec(source({"linux": {"security_context": fields}}))


def test_a_profile_of_a_kind_that_is_not_known_is_never_no_profile() -> None:
    for field in ("seccomp", "apparmor"):
        with pytest.raises(InvalidArgument, match=f"{field}.profile_type 7"):
            with_security(**{field: {"profile_type": 7}})
    with pytest.raises(InvalidArgument, match="supplemental_groups_policy"):
        with_security(supplemental_groups_policy=7)


@pytest.mark.parametrize("place", ["", "relative.json", "/a/../b.json", "/none.json", "/dev/null", "/tmp"])
def test_a_local_profile_that_cannot_be_read_is_never_no_profile(place: str) -> None:
    """CVE-2023-2431."""
    with pytest.raises(InvalidArgument, match="seccomp"):
        with_security(seccomp={"profile_type": "Localhost", "localhost_ref": place})


def test_a_local_profile_reaches_the_spec_as_it_is(tmp_path: Path) -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "futureField": {"a": 1}}
    (tmp_path / "profile.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW", "futureField": {"a": 1}}')
    for fields in (
        {"seccomp": {"profile_type": "Localhost", "localhost_ref": str(tmp_path / "profile.json")}},
        {"seccomp_profile_path": f"localhost/{tmp_path}/profile.json"},
    ):
        assert with_security(**fields)["linux"]["seccomp"] == profile


@pytest.mark.parametrize(
    "fields", [{"seccomp": {"profile_type": "Unconfined"}}, {"seccomp_profile_path": "unconfined"}]
)
def test_unconfined_is_what_was_asked_for(fields: dict[str, Any]) -> None:
    assert "seccomp" not in with_security(**fields)["linux"]


def test_a_profile_that_the_kernel_cannot_apply_is_refused() -> None:
    """CVE-2023-2431, of AppArmor."""
    for fields in (
        {"apparmor": {"profile_type": "Localhost", "localhost_ref": "mine"}},
        {"apparmor_profile": "localhost/mine"},
    ):
        with pytest.raises(InvalidArgument, match="no AppArmor"):
            with_security(**fields)


def test_a_privileged_container_needs_a_privileged_pod() -> None:
    with pytest.raises(InvalidArgument, match="the sandbox is not"):
        with_security(privileged=True)
