from pathlib import Path

from core.oci.apparmor import profile_text


def test_the_profile_is_pinned_to_what_kernels_mediated_when_it_was_written(tmp_path: Path) -> None:
    before = profile_text(str(tmp_path))
    (tmp_path / "abi").mkdir()
    (tmp_path / "abi/3.0").touch()
    assert profile_text(str(tmp_path)) == f"abi <abi/3.0>,\n{before}"
