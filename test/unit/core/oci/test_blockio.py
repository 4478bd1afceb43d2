from pathlib import Path

import pytest

from core.errdefs import InvalidArgument
from core.oci import blockio
from core.oci.blockio import blockio_of_class
from core.oci.rdt import rdt_of_class

CLASSES = """
Classes:
  slow:
    - Weight: 80
    - Devices: [/dev/disk?, /dev/other]
      ThrottleReadBps: 50M
      ThrottleWriteIOPS: 1k
      Weight: 50
    - Devices: [/dev/other]
      ThrottleReadBps: 2Ki
  empty: []
  vague: [{ThrottleReadBps: 5}]
  light: [{Weight: 5}]
  odd: [{Devices: [/dev/other], ThrottleReadBps: fast}]
  gone: [{Devices: ["/dev/none*"], ThrottleReadBps: 5}]
"""
DISKS = {"/dev/disk?": [(8, 0), (8, 16)], "/dev/other": [(9, 1)]}


@pytest.fixture
def classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of classes, on a node with the disks above."""

    def devices(patterns: tuple[str, ...]) -> list[tuple[int, int]]:
        missing = [pattern for pattern in patterns if pattern not in DISKS]
        if missing:
            raise InvalidArgument(f"no block device is {missing[0]!r}")
        return [number for pattern in patterns for number in DISKS[pattern]]

    monkeypatch.setattr(blockio, "_devices", devices)
    (tmp_path / "classes.yaml").write_text(CLASSES)
    return str(tmp_path / "classes.yaml")


def test_a_class_is_weights_and_limits_of_devices_the_last_word_counting(classes: str) -> None:
    assert blockio_of_class("slow", classes) == {
        "weight": 80,
        "weightDevice": [
            {"major": 8, "minor": 0, "weight": 50},
            {"major": 8, "minor": 16, "weight": 50},
            {"major": 9, "minor": 1, "weight": 50},
        ],
        "throttleReadBpsDevice": [
            {"major": 8, "minor": 0, "rate": 50_000_000},
            {"major": 8, "minor": 16, "rate": 50_000_000},
            {"major": 9, "minor": 1, "rate": 2048},
        ],
        "throttleWriteIOPSDevice": [
            {"major": 8, "minor": 0, "rate": 1000},
            {"major": 8, "minor": 16, "rate": 1000},
            {"major": 9, "minor": 1, "rate": 1000},
        ],
    }
    assert blockio_of_class("empty", classes) == {}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fast", "has empty, gone, light, odd, slow, vague"),
        ("vague", "without Devices"),
        ("light", "want 10 to 1000"),
        ("odd", "want a number like 50M"),
        ("gone", "no block device is '/dev/none\\*'"),
    ],
)
def test_what_makes_no_sense_names_class_and_file(classes: str, name: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=f"blockio class '{name}'.*{classes}.*{said}"):
        blockio_of_class(name, classes)


@pytest.mark.parametrize("text", ["Classes: 5", "Classes: {a: [{Throttle: 1}]}", "\t", "- a"])
def test_a_file_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "wrong").write_text(text)
    with pytest.raises(InvalidArgument, match="wrong"):
        blockio_of_class("a", str(tmp_path / "wrong"))


def test_no_file_is_no_class(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"blockio\.class_file"):
        blockio_of_class("slow", "")
    with pytest.raises(InvalidArgument, match="No such file"):
        blockio_of_class("slow", str(tmp_path / "none"))


def test_an_rdt_class_is_a_group_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="not mounted"):
        rdt_of_class("gold", str(tmp_path))
    for group in (".", "gold", "info", "mon_groups"):
        (tmp_path / group).mkdir(exist_ok=True)
        (tmp_path / group / "schemata").write_text("")
    assert rdt_of_class("gold", str(tmp_path)) == {"closID": "gold"}
    for name in ("lead", "info", "mon_groups", "..", "gold/..", ""):
        with pytest.raises(InvalidArgument, match="no such group"):
            rdt_of_class(name, str(tmp_path))
