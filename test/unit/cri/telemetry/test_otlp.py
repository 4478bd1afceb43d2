"""Calls as OpenTelemetry's spans."""

from __future__ import annotations

import pytest

from core.steps import Call, Step
from cri.telemetry.otlp import Parent, export_request, parse_parent, spans_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_traceparent_names_trace_and_span_and_whether_they_are_recorded() -> None:
    assert parse_parent(f"00-{TRACE}-{SPAN}-01") == Parent(trace=TRACE, span=SPAN, sampled=True)
    assert parse_parent(f"00-{TRACE}-{SPAN}-00") == Parent(trace=TRACE, span=SPAN, sampled=False)


@pytest.mark.parametrize(
    "header",
    ["", "x", f"01-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE}-{SPAN}-1"],
)
def test_what_is_no_traceparent_is_no_parent(header: str) -> None:
    assert parse_parent(header) is None


def test_a_call_continues_its_clients_trace_and_its_steps_hang_below_it() -> None:
    outer = Step(name="network", parent=None, started=100.5, ended=102)
    inner = Step(name="cni bridge ADD", parent=outer, started=101, ended=102)
    call = Call(name="Run", began=10**18, started=100, ended=103, outcome="OK", steps=[outer, inner])
    root, first, second = spans_of(call, Parent(trace=TRACE, span=SPAN, sampled=True))
    assert {span["traceId"] for span in (root, first, second)} == {TRACE}
    assert root["parentSpanId"] == SPAN
    assert (first["parentSpanId"], second["parentSpanId"]) == (root["spanId"], first["spanId"])
    assert (root["startTimeUnixNano"], root["endTimeUnixNano"]) == (str(10**18), str(10**18 + 3 * 10**9))
    assert (second["startTimeUnixNano"], second["endTimeUnixNano"]) == (str(10**18 + 10**9), str(10**18 + 2 * 10**9))
    assert root["status"] == {"code": 1}
    assert root["name"] == "Run"


def test_a_failed_call_without_a_parent_is_a_trace_of_its_own_with_an_error() -> None:
    call = Call(name="Run", ended=None, outcome="UNAVAILABLE", steps=[Step(name="network", parent=None, started=1e9)])
    root, step = spans_of(call, None)
    assert root["status"] == {"code": 2}
    assert root["parentSpanId"] == ""
    assert len(root["traceId"]) == 32
    assert step["parentSpanId"] == root["spanId"]
    request = export_request([root, step], {"service.name": "crispd"})
    assert request["resourceSpans"][0]["resource"]["attributes"] == [
        {"key": "service.name", "value": {"stringValue": "crispd"}}
    ]
