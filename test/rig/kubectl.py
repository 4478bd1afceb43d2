"""kubectl exec and attach, over SPDY."""

from __future__ import annotations

import json
from typing import Any

from cri import api
from cri.streaming.spdy.frames import Data
from rig.cri_client import CriClient
from rig.spdy_client import SpdyClient


class Kubectl:
    """A client as client-go is one."""

    def __init__(self, url: str, *kinds: str) -> None:
        self.session = SpdyClient(url, "v4.channel.k8s.io")
        self.ids = {kind: self.session.open(streamtype=kind) for kind in ("error", *kinds)}

    def type(self, data: bytes, *, end: bool = False) -> None:
        self.session.send(Data(stream_id=self.ids["stdin"], data=data, fin=end))

    def resize(self, width: int, height: int) -> None:
        size = json.dumps({"Width": width, "Height": height}).encode()
        self.session.send(Data(stream_id=self.ids["resize"], data=size + b"\n"))

    def shown(self, kind: str = "stdout") -> bytes:
        return bytes(self.session.data[self.ids[kind]])

    def until_shown(self, text: bytes) -> None:
        self.session.until(lambda: text in self.shown())

    def end(self) -> Any:
        """How it ended, after all output."""
        self.session.until_ended(*(stream for kind, stream in self.ids.items() if kind not in ("stdin", "resize")))
        self.session.close()
        return json.loads(self.shown("error"))


def exec_url(client: CriClient, container: str, *command: str, tty: bool = False, stdin: bool = True) -> str:
    request = api.ExecRequest(container_id=container, cmd=command, tty=tty, stdin=stdin, stdout=True, stderr=not tty)
    return str(client.Exec(request).url)


def attach_url(client: CriClient, container: str, *, tty: bool = False) -> str:
    request = api.AttachRequest(container_id=container, tty=tty, stdin=True, stdout=True, stderr=not tty)
    return str(client.Attach(request).url)
