from pathlib import Path

import pytest

from core.errdefs import Internal, InvalidArgument, Unavailable
from core.shims.foreign import Endpoint, ForeignShim, binary_name, parse_answer


def shim(directory: Path, script: str) -> ForeignShim:
    binary = directory / "shim"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    return ForeignShim(binary=str(binary), namespace="k8s.io", events="/run/events.sock")


@pytest.mark.parametrize(
    ("answer", "api"),
    [
        (b"unix:///run/containerd/s/1\n", 2),
        (b'{"version":3,"address":"unix:///run/containerd/s/1","protocol":"ttrpc"}', 3),
        (b'{"address":"unix:///run/containerd/s/1"}', 2),
    ],
)
def test_answers_old_and_new_name_the_socket(answer: bytes, api: int) -> None:
    assert parse_answer(answer) == Endpoint(socket="/run/containerd/s/1", task_api=api)


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b"vsock://1:2", b"\xff", b"{", b"{}"),
        b'{"address":"unix:///x","protocol":"grpc"}',
        b'{"address":"unix:///x","version":9}',
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error_with_its_words(answer: bytes) -> None:
    with pytest.raises(Internal, match="answer"):
        parse_answer(answer)


def test_a_type_names_its_binary() -> None:
    assert binary_name("io.containerd.runc.v2") == "containerd-shim-runc-v2"
    assert binary_name("/opt/shims/containerd-shim-own-v9") == "/opt/shims/containerd-shim-own-v9"


@pytest.mark.parametrize("wrong", ["", "runc", "runc.v2", "io.containerd..v2", "io.x/y.runc.v2", "../shim"])
def test_a_type_that_names_no_binary_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidArgument, match="runtime type"):
        binary_name(wrong)


async def test_a_shim_is_started_in_its_bundle_and_told_where_events_go(tmp_path: Path) -> None:
    script = 'echo "$@" > called; echo "$TTRPC_ADDRESS $NAMESPACE" > environment; [ -e log ] && echo unix:///s'
    assert await shim(tmp_path, script).start("pod", str(tmp_path)) == Endpoint(socket="/s", task_api=2)
    called = (tmp_path / "called").read_text()
    assert called.startswith("-namespace k8s.io -address /run/events.sock -publish-binary ")
    assert called.endswith(" -id pod start\n")
    assert (tmp_path / "environment").read_text() == "/run/events.sock k8s.io\n"


async def test_what_the_shim_says_is_the_error(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"start: no kvm here"):
        await shim(tmp_path, "echo no kvm here >&2; exit 1").start("pod", str(tmp_path))
    with pytest.raises(Unavailable, match="No such file"):
        await ForeignShim(binary="/nope", namespace="k8s.io", events="").start("pod", str(tmp_path))


async def test_delete_names_the_container_and_its_bundle(tmp_path: Path) -> None:
    await shim(tmp_path, 'echo "$@" > called').delete("c1", str(tmp_path))
    assert (tmp_path / "called").read_text().endswith(f" -id c1 -bundle {tmp_path} delete\n")
