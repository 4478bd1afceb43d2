"""CRI messages as JSON documents, for verbose status."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message


def to_dict(message: Message) -> dict[str, Any]:
    """Field names as in the proto, as containerd's info has them."""
    document: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return document
