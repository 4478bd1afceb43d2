from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import urllib.parse
from pathlib import Path

import pytest

from core.errdefs import FailedPrecondition
from cri.streaming.tls import TlsFiles
from rig.spdy_client import HttpClient, SpdyClient, upgrade
from rig.streaming import streaming

V4 = "v4.channel.k8s.io"
off = asyncio.to_thread


def certificate(directory: Path, name: str) -> TlsFiles:
    """A self-signed one for `name`, in files that are always the same."""
    key, fresh, current = directory / "key.pem", directory / "fresh.pem", directory / "certificate.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command = ["openssl", "req", "-x509", *curve, "-keyout", key, "-out", fresh, "-subj", f"/CN={name}", "-days", "2"]
    subprocess.run(command, check=True, capture_output=True)
    os.replace(fresh, current)
    return TlsFiles(certificate=str(current), key=str(key))


def presented(url: str) -> bytes:
    """The certificate that a new client gets."""
    parts = urllib.parse.urlsplit(url)
    return ssl.get_server_certificate((str(parts.hostname), parts.port or 0)).encode()


async def test_a_renewed_certificate_is_what_the_next_client_gets(tmp_path: Path) -> None:
    files = certificate(tmp_path, "first")
    async with streaming(tls=files) as rig:
        url = rig.exec_url()
        assert url.startswith("https://127.0.0.1:")
        first = await off(presented, url)
        assert first.split() == Path(files.certificate).read_bytes().split()
        certificate(tmp_path, "second")
        second = await off(presented, url)
        assert second != first
        assert second.split() == Path(files.certificate).read_bytes().split()


async def test_a_half_written_certificate_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    files = certificate(tmp_path, "first")
    async with streaming(tls=files) as rig:
        url = rig.exec_url()
        first = await off(presented, url)
        Path(files.certificate).write_text("-----BEGIN")
        assert await off(presented, url) == first


async def test_an_exec_goes_through_tls(tmp_path: Path) -> None:
    async with streaming(tls=certificate(tmp_path, "first")) as rig:

        def client() -> int:
            with SpdyClient(rig.exec_url(), V4) as session:
                return session.open(streamtype="error")

        assert await off(client) == 1


async def test_a_certificate_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    files = TlsFiles(certificate=str(tmp_path / "none"), key=str(tmp_path / "none"))
    with pytest.raises(ExceptionGroup) as failed:
        async with streaming(tls=files):
            pass
    assert failed.group_contains(FailedPrecondition, match="none")


async def test_an_address_in_use_is_told_at_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ExceptionGroup) as failed:
        async with streaming(port=taken.getsockname()[1]):
            pass
    assert failed.group_contains(FailedPrecondition, match="address already in use")


@pytest.mark.parametrize(
    ("address", "host"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::1]")]
)
async def test_urls_lead_to_the_server_from_this_node(address: str, host: str) -> None:
    async with streaming(address=address) as rig:
        url = rig.exec_url()
        assert url.startswith(f"http://{host}:")

        def client() -> int:
            with HttpClient(url) as http:
                return http.ask(upgrade(V4))[0]

        assert await off(client) == 101


async def test_a_token_is_used_up_by_a_client_that_is_refused() -> None:
    async with streaming() as rig:
        url = rig.exec_url()

        def client() -> list[int]:
            answers = []
            for version in ("v9.channel.k8s.io", V4):
                with HttpClient(url) as http:
                    answers.append(http.ask(upgrade(version))[0])
            return answers

        assert await off(client) == [403, 404]


async def test_the_query_of_a_url_is_of_no_meaning() -> None:
    async with streaming() as rig:

        def client() -> int:
            with HttpClient(rig.exec_url()) as http:
                path = urllib.parse.urlsplit(http.url).path
                lines = [f"POST {path}?tty=1 HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in upgrade(V4).items())]
                http.socket.sendall("\r\n".join([*lines, "", ""]).encode())
                return http.answer()[0]

        assert await off(client) == 101


async def test_the_end_of_the_daemon_hangs_up_on_clients() -> None:
    async with streaming() as rig:
        session = await off(SpdyClient, rig.exec_url(), V4)
        hung_up = asyncio.create_task(off(session.closed))
        await rig.server.stop()
        assert await hung_up
        session.close()


async def test_a_client_that_says_nothing_is_hung_up_on() -> None:
    async with streaming(head_timeout=0.1) as rig:

        def client() -> bool:
            with HttpClient(rig.exec_url()) as slow:
                slow.socket.sendall(b"POST /exec/")
                return slow.closed()

        assert await off(client)
        assert not rig.server.strangers
