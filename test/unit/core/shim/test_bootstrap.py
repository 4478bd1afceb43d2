"""How versions of containerd call the binary."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf.any_pb2 import Any

from core.api.bootstrap_pb2 import BootstrapParams, BootstrapResult
from core.api.runc_options_pb2 import Options
from core.errdefs import InvalidArgument
from core.shim.bootstrap import GROUP, SOCKET_DIR, Call, flags, read_call

FLAGS = ["-namespace", "k8s.io", "-address", "/c.sock", "-publish-binary", "/bin/containerd", "-id", "c1"]


def call(stdin: bytes = b"", *more: str, action: str = "start") -> Call:
    return read_call(flags().parse_args([*FLAGS, *more, action]), {"TTRPC_ADDRESS": "/t.sock"}, stdin, "/bundle")


def test_an_older_containerd_gives_flags_and_gets_the_address() -> None:
    got = call(b"", "-debug")
    assert got == Call(
        id="c1", namespace="k8s.io", bundle="/bundle", containerd="/c.sock", events="/t.sock", debug=True
    )
    assert got.answer("/s/x") == b"unix:///s/x"


def test_a_newer_one_gives_a_message_and_gets_one() -> None:
    params = BootstrapParams(
        instance_id="c1",
        namespace="k8s.io",
        containerd_grpc_address="/new.sock",
        containerd_ttrpc_address="/new.ttrpc",
        socket_dir="/sockets",
    )
    got = call(params.SerializeToString())
    assert (got.containerd, got.events, got.socket_dir) == ("/new.sock", "/new.ttrpc", "/sockets")
    result = BootstrapResult.FromString(got.answer("/s/x"))
    assert (result.version, result.address, result.protocol) == (3, "unix:///s/x", "ttrpc")


@pytest.mark.parametrize("stdin", [b"\xff\xff", Any(type_url="containerd.runc.v1.Options", value=b"k8s.io")])
def test_what_an_older_one_has_on_stdin_is_not_taken_for_that_message(stdin: bytes | Any) -> None:
    got = call(stdin if isinstance(stdin, bytes) else stdin.SerializeToString())
    assert (got.bootstrap, got.events, got.socket_dir) == (False, "/t.sock", SOCKET_DIR)


def test_containers_of_a_pod_have_one_socket_and_others_their_own(tmp_path: Path) -> None:
    def bundle(name: str, **annotations: str) -> str:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"annotations": annotations}))
        return str(tmp_path / name)

    def socket(name: str, where: str, namespace: str = "k8s.io", containerd: str = "/c.sock") -> str:
        return Call(id=name, namespace=namespace, bundle=where, containerd=containerd, events="").socket_path()

    pod, inside, alone = bundle("pod", **{GROUP: "pod"}), bundle("in", **{GROUP: "pod"}), bundle("alone")
    assert socket("pod", pod) == socket("in", inside)
    others = [socket("alone", alone), socket("pod", pod, namespace="moby"), socket("pod", pod, containerd="/other")]
    assert len({socket("pod", pod), *others}) == 4
    assert socket("gone", str(tmp_path / "gone")) != socket("alone", alone)


@pytest.mark.parametrize("words", [[], ["start"], ["-id", "c", "-namespace", "n"]])
def test_a_person_who_calls_it_is_told_who_should(words: list[str]) -> None:
    with pytest.raises(InvalidArgument, match="containerd calls this"):
        read_call(flags().parse_args(words), {}, b"", "/")


def test_delete_names_the_bundle() -> None:
    assert call(b"", "-bundle", "/other", action="delete").bundle == "/other"


def test_options_that_are_valid_as_both_messages_differ_by_identity() -> None:
    """Options of runc begin with fields that BootstrapParams has, too."""
    assert not call(Options(binary_name="crun", root="/r").SerializeToString()).bootstrap
