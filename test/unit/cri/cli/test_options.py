from __future__ import annotations

import click
import pytest

from cri import api
from cri.cli.options import Env, Name, Port, Size, Span, name_for


@pytest.mark.parametrize(
    ("text", "protocol", "address", "host", "container"),
    [
        ("80:8080", "TCP", "", 80, 8080),
        ("127.0.0.1:53:5353/udp", "UDP", "127.0.0.1", 53, 5353),
        ("[::1]:1:65535/sctp", "SCTP", "::1", 1, 65535),
    ],
)
def test_ports(text: str, protocol: str, address: str, host: int, container: int) -> None:
    assert Port().convert(text, None, None) == api.PortMapping(
        protocol=api.Protocol.Value(protocol), host_ip=address, host_port=host, container_port=container
    )


@pytest.mark.parametrize("text", ["", "80", "0:80", "80:65536", "80:80/icmp", "1.2.3.999:80:80", "[x]:1:1", "a:b"])
def test_a_wrong_port_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Port().convert(text, None, None)


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "value")
    assert Env().convert("A=b=c", None, None) == api.KeyValue(key="A", value=b"b=c")
    assert Env().convert("HERE", None, None) == api.KeyValue(key="HERE", value=b"value")
    with pytest.raises(click.BadParameter):
        Env().convert("=x", None, None)


@pytest.mark.parametrize("image", ["docker.io/library/nginx:1.2", "127.0.0.1:5000/a/B_c@sha256:ff", "___", "x" * 99])
def test_a_name_after_an_image_is_a_name(image: str) -> None:
    assert Name().convert(name_for(image), None, None)


@pytest.mark.parametrize("name", ["", "-a", "a_b", "A", "a" * 64, "../x"])
def test_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(click.BadParameter):
        Name().convert(name, None, None)


@pytest.mark.parametrize(
    ("text", "count"), [("1048576", 1 << 20), ("512m", 512 << 20), ("1GiB", 1 << 30), ("2kb", 2048), ("3T", 3 << 40)]
)
def test_sizes_have_units_of_1024(text: str, count: int) -> None:
    assert Size().convert(text, None, None) == count


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86400)])
def test_spans_of_time(text: str, seconds: float) -> None:
    assert Span().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "much", "-1", "1.5g", "5x"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Size().convert(text, None, None)
