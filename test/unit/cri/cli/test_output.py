from __future__ import annotations

import json

import pytest

from cri import api
from cri.cli.cri_log import Entry
from cri.cli.events import describe
from cri.cli.logs import Printer
from cri.cli.output import ago, print_json, print_table, printable, short, size, to_dict
from cri.cli.stats import row


def test_columns_are_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A", "LONG"), [("wide cell", "x"), ("y", "")])
    assert capsys.readouterr().out == "A           LONG\nwide cell   x\ny\n"


def test_a_hostile_name_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert printable("a\x1b[31m\x07b\u202e\n") == "a?[31m?b?\n"
    print_table(("NAME",), [("\x1b]0;owned\x07",)])
    assert "\x1b" not in capsys.readouterr().out


def test_json_has_every_field_and_names_as_crictl_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    pod = api.PodSandbox(id="p", state=api.PodSandboxState.SANDBOX_NOTREADY)
    print_json(to_dict(pod))
    printed = json.loads(capsys.readouterr().out)
    assert (printed["id"], printed["state"], printed["runtimeHandler"]) == ("p", "SANDBOX_NOTREADY", "")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (60, "1m"), (7200, "2h"), (86400 * 3, "3d"), (-5, "0s")]
)
def test_ages(seconds: int, text: str) -> None:
    now = 2_000_000_000 * 10**9
    assert ago(now - seconds * 10**9, now) == text
    assert ago(0, now) == "-"


def test_sizes_and_short_ids() -> None:
    assert [size(count) for count in (0, 1023, 1536, 5 << 30, 3 << 40)] == [
        "0 B", "1023 B", "1.5 KiB", "5.0 GiB", "3.0 TiB"
    ]
    assert short("sha256:" + "a" * 64) == "a" * 13


def test_the_parts_of_a_long_line_are_joined_and_stamped_once(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    printer = Printer(timestamps=True)
    for time, stream, text, full in (
        (b"1", b"stdout", b"a", False), (b"2", b"stderr", b"other", True), (b"3", b"stdout", b"b\xff", True)
    ):
        printer.write(Entry(time=time, stream=stream, text=text, full=full))
    out, err = capfdbinary.readouterr()
    assert (out, err) == (b"1 ab\xff\n", b"2 other\n")


def test_an_event_says_when_what_happened_to_whom() -> None:
    pod = api.PodSandboxStatus(id="p" * 64, metadata=api.PodSandboxMetadata(name="web", namespace="default"))
    main = api.ContainerStatus(id="c" * 64, metadata=api.ContainerMetadata(name="main"))
    event = api.ContainerEventResponse(
        container_id=main.id,
        container_event_type=api.ContainerEventType.CONTAINER_STARTED_EVENT,
        created_at=1_700_000_000 * 10**9,
        pod_sandbox_status=pod,
        containers_statuses=[main],
    )
    assert describe(event) == f"2023-11-14T22:13:20Z started {'c' * 13} container main of pod default/web"
    event.container_id = pod.id
    assert describe(event) == f"2023-11-14T22:13:20Z started {'p' * 13} pod default/web"


def test_what_a_container_uses_is_a_row() -> None:
    one = api.ContainerStats(
        attributes=api.ContainerAttributes(id="c" * 64, metadata=api.ContainerMetadata(name="main")),
        cpu=api.CpuUsage(usage_nano_cores=api.UInt64Value(value=125_000_000)),
        memory=api.MemoryUsage(working_set_bytes=api.UInt64Value(value=3 << 20)),
        writable_layer=api.FilesystemUsage(
            used_bytes=api.UInt64Value(value=4096), inodes_used=api.UInt64Value(value=7)
        ),
    )
    assert row(one) == ("c" * 13, "main", "12.5", "3.0 MiB", "4.0 KiB", "7")
    one.ClearField("cpu")
    assert row(one)[2] == "-"
