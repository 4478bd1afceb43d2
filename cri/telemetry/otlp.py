"""Calls as spans of OpenTelemetry, in the JSON of OTLP 1.x (opentelemetry-proto, trace.proto; JSON encoding: ids are
hexadecimal, 64 bit numbers are strings). A call continues the trace of its client, told by W3C's `traceparent`."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from core.steps import Call, Step

_INTERNAL, _SERVER = 1, 2
_OK, _ERROR = 1, 2
_PARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The client's span."""

    trace: str
    span: str
    sampled: bool
    """Whether the client's own side is recorded: then ours is wanted, too."""


def parse_parent(header: str) -> Parent | None:
    """From a `traceparent` of version 00; None for any other and for what is none (W3C Trace Context, 3.2)."""
    match = _PARENT.fullmatch(header)
    if match is None or not int(match[1], 16) or not int(match[2], 16):
        return None
    return Parent(trace=match[1], span=match[2], sampled=bool(int(match[3], 16) & 1))


def spans_of(call: Call, parent: Parent | None) -> list[dict[str, Any]]:
    """The call's span and those of its steps. What has not ended ends now."""
    trace = parent.trace if parent else secrets.token_hex(16)
    steps = list(call.steps)  # a thread may add to them
    ids: dict[Step | None, str] = {None: secrets.token_hex(8), **{step: secrets.token_hex(8) for step in steps}}
    now = time.monotonic()

    def span(name: str, started: float, ended: float | None) -> dict[str, Any]:
        first, last = (call.began + round((at - call.started) * 1e9) for at in (started, ended or now))
        return {"traceId": trace, "name": name, "startTimeUnixNano": str(first), "endTimeUnixNano": str(last)}

    root = {
        **span(call.name, call.started, call.ended),
        "spanId": ids[None],
        "parentSpanId": parent.span if parent else "",
        "kind": _SERVER,
        "attributes": attributes({"rpc.system": "grpc", "rpc.method": call.name, "crisp.outcome": call.outcome}),
        "status": {"code": _OK if call.outcome == "OK" else _ERROR},
    }
    return [
        root,
        *(
            {
                **span(step.name, step.started, step.ended),
                "spanId": ids[step],
                "parentSpanId": ids[step.parent],
                "kind": _INTERNAL,
            }
            for step in steps
        ),
    ]


def export_request(spans: Iterable[dict[str, Any]], resource: dict[str, str]) -> dict[str, Any]:
    """An ExportTraceServiceRequest; `resource` says who we are, in OpenTelemetry's names."""
    scope = {"scope": {"name": "crisp"}, "spans": list(spans)}
    return {"resourceSpans": [{"resource": {"attributes": attributes(resource)}, "scopeSpans": [scope]}]}


def attributes(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]
