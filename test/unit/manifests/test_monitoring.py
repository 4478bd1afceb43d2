"""Prometheus' rules and Grafana's dashboard are made of nothing but what the endpoint tells."""

import json
import re
from pathlib import Path

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from cri.telemetry.open import Present
from cri.telemetry.prometheus import PrometheusTelemetry

MANIFESTS = Path(__file__).parents[3] / "manifests"
NAME = re.compile(r"\b(?:crisp|process)_[a-z_]+\b")
GAUGES = ("pods_ready", "containers_running", "containers", "images", "shims", "shims_memory_bytes", "network_ready")


def test_rules_and_dashboard_use_only_what_is_told():
    telemetry = PrometheusTelemetry()
    telemetry.watch(
        Present(
            gauges={f"crisp_{name}": ("Help.", lambda: 1) for name in GAUGES},
            logged=lambda: {"bytes": 1, "lines": 1, "split": 1, "dropped_bytes": 1},
            queues=lambda: {"metadata": 1},
            pulling=dict,
            problems=lambda: {"zygote": "died"},
        )
    )
    telemetry.cri_call("Status", "OK", 0.004)
    telemetry.pull("ok", 3)
    telemetry.fetched("127.0.0.1:5000", 1)
    telemetry.cni("bridge", "ADD", "ok", 0.2)
    telemetry.collected("ok", 0.01)
    families = text_string_to_metric_families(telemetry.exposition().decode())
    told = {sample.name for family in families for sample in family.samples}
    rules = msgspec.yaml.decode((MANIFESTS / "prometheus/crisp.rules.yaml").read_bytes())["groups"][0]["rules"]
    board = json.loads((MANIFESTS / "grafana/crisp.json").read_text())
    expressions = [rule["expr"] for rule in rules]
    expressions += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    used = {name for expression in expressions for name in NAME.findall(expression)}
    assert len(used) > 12
    assert used - told == set()
    for rule in rules:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert {"summary", "description"} == set(rule["annotations"])
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
