"""What is reported comes out."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.errdefs import InvalidArgument
from core.telemetry import SILENT, timed
from cri.telemetry.open import Present, make_telemetry, split_address
from cri.telemetry.prometheus import MAX_HOSTS, PrometheusTelemetry

GAUGES = ("pods_ready", "containers_running", "containers", "images", "shims", "network_ready")


def watched() -> PrometheusTelemetry:
    telemetry = PrometheusTelemetry()
    telemetry.watch(
        Present(
            gauges={f"crisp_{name}": ("Help.", lambda: 2) for name in GAUGES},
            logged=lambda: {"lines": 7},
            queues=lambda: {"metadata": 3},
            pulling=lambda: {("downloading", "example.com"): (2, 30, 100)},
            problems=lambda: {"zygote": "does not answer within 5 s"},
        )
    )
    telemetry.cri_call("Status", "OK", 0.004)
    telemetry.pull("ok", 3)
    telemetry.fetched("example.com", 100)
    telemetry.fetched("example.com", 50)
    telemetry.cni("bridge", "ADD", "Unavailable", 0.2)
    telemetry.collected("ok", 0.01)
    return telemetry


def samples(telemetry):
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(telemetry.exposition().decode())
        for sample in family.samples
    }


def test_what_is_reported_is_told():
    found = samples(watched())
    assert found["crisp_cri_call_seconds_bucket", "OK", "0.005", "Status"] == 1
    assert found["crisp_cri_call_seconds_bucket", "OK", "0.0025", "Status"] == 0
    assert found["crisp_fetched_bytes_total", "example.com"] == 150
    assert found["crisp_pulling_layers", "example.com", "downloading"] == 2
    assert found["crisp_pulling_bytes", "example.com", "downloading"] == 30
    assert found["crisp_pulling_size_bytes", "example.com", "downloading"] == 100
    assert found["crisp_cni_seconds_sum", "ADD", "Unavailable", "bridge"] == 0.2
    assert found["crisp_problem", "zygote"] == 1
    assert found["crisp_pods_ready",] == 2
    assert found["crisp_log_lines_total",] == 7
    assert found["crisp_queue", "metadata"] == 3


def test_hosts_beyond_the_first_few_are_one():
    telemetry = PrometheusTelemetry()
    for number in range(2 * MAX_HOSTS):
        telemetry.fetched(f"host-{number}", 1)
    telemetry.fetched("host-0", 1)
    fetched = {key[1]: value for key, value in samples(telemetry).items() if key[0] == "crisp_fetched_bytes_total"}
    assert (len(fetched), fetched["host-0"], fetched["other"]) == (MAX_HOSTS + 1, 2, MAX_HOSTS)


def test_without_an_address_nothing_is_counted():
    assert make_telemetry("") is SILENT


@pytest.mark.parametrize(
    ("address", "split"),
    [("127.0.0.1:9090", ("127.0.0.1", 9090)), ("[::1]:1", ("::1", 1)), (":80", ("", 80))],
)
def test_addresses(address, split):
    assert split_address(address) == split


@pytest.mark.parametrize("address", ["localhost", "1.2.3.4:", "1.2.3.4:http", "1.2.3.4:70000"])
def test_what_is_no_address_is_refused_before_anything_starts(address):
    with pytest.raises(InvalidArgument, match=r"metrics\.address"):
        make_telemetry(address)


@pytest.mark.parametrize(("error", "outcome"), [(None, "ok"), (InvalidArgument("x"), "InvalidArgument")])
def test_a_block_is_timed_with_its_outcome(error, outcome):
    reported = []
    try:
        with timed(lambda *report: reported.append(report)):
            if error:
                raise error
    except InvalidArgument:
        pass
    ((found, seconds),) = reported
    assert found == outcome
    assert seconds >= 0
