"""CRI messages as JSON documents, for verbose status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message


def to_dict(message: Message) -> dict[str, Any]:
    """What is set, as containerd's info has it: field names as in the proto, numbers and enums as numbers, which the
    JSON of protobuf has not."""
    return {field.name: _value(value) for field, value in message.ListFields()}


def _value(value: Any) -> Any:
    if isinstance(value, Message):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {key: _value(one) for key, one in value.items()}
    if isinstance(value, bytes):  # of environment variables: text to everybody else
        return value.decode("utf-8", "replace")
    if isinstance(value, str | int | float):
        return value
    return [_value(one) for one in value]
