import pytest

from core.errdefs import InvalidArgument
from core.network.capabilities import IPS, MAC, bits_per_second, capability_args, cni_args
from core.network.network import PodNetwork, PortMapping


def pod(**asked):
    return PodNetwork(id="abc", name="web", namespace="default", uid="u-1", netns="/run/netns/abc", **asked)


def test_cni_args_name_the_pod():
    assert cni_args(pod()) == (
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=u-1"
    )


def test_a_pod_that_asks_for_nothing_offers_nothing():
    assert capability_args(pod()) == {}


def test_what_a_pod_asks_for_is_offered_under_the_names_of_the_conventions():
    offered = capability_args(
        pod(
            port_mappings=(PortMapping(protocol="udp", container_port=53, host_port=5353, host_ip="10.0.0.1"),),
            annotations={"kubernetes.io/ingress-bandwidth": "10M", "kubernetes.io/egress-bandwidth": "1Gi"},
            cgroup_parent="/kubepods/pod1",
            dns_servers=("10.0.0.10",),
            dns_searches=("cluster.local",),
        )
    )
    assert offered == {
        "portMappings": [{"hostPort": 5353, "containerPort": 53, "protocol": "udp", "hostIP": "10.0.0.1"}],
        "bandwidth": {
            "ingressRate": 10_000_000,
            "ingressBurst": 2**31 - 1,
            "egressRate": 2**30,
            "egressBurst": 2**31 - 1,
        },
        "dns": {"servers": ["10.0.0.10"], "searches": ["cluster.local"]},
        "cgroupPath": "/kubepods/pod1",
        "io.kubernetes.cri.pod-annotations": {
            "kubernetes.io/ingress-bandwidth": "10M",
            "kubernetes.io/egress-bandwidth": "1Gi",
        },
    }


def test_addresses_that_a_pod_asks_for_and_the_ranges_of_the_node_are_offered():
    wishes = {IPS: "10.1.2.3, fd00::3/64", MAC: "0a:58:0a:01:02:03"}
    offered = capability_args(pod(annotations=wishes), ("10.1.0.0/24", "fd00::/64"))
    assert offered["ips"] == ["10.1.2.3", "fd00::3/64"]
    assert offered["mac"] == "0a:58:0a:01:02:03"
    assert offered["ipRanges"] == [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]


@pytest.mark.parametrize(
    "wish", [{IPS: "10.1.2"}, {IPS: "10.1.2.3;K8S_POD_NAME=x"}, {MAC: "0a:58"}, {MAC: "0a:58:0a:01:02:03\n"}]
)
def test_addresses_that_are_none_are_refused_by_their_annotation(wish):
    with pytest.raises(InvalidArgument, match=r"annotation network\.crisp\.io/"):
        capability_args(pod(annotations=wish))


@pytest.mark.parametrize(
    ("quantity", "rate"),
    [("1k", 1000), ("1.5M", 1_500_000), ("1e6", 1_000_000), ("2Ki", 2048), ("1P", 10**15), ("5000000m", 5000)],
)
def test_quantities_are_read_as_kubernetes_writes_them(quantity, rate):
    assert bits_per_second(quantity) == rate


@pytest.mark.parametrize("quantity", ["", "-1M", "10MB", "1ki", "M", "0", "999", "1.1P", "9" * 40, "1e99", " 1M"])
def test_other_bandwidths_are_refused(quantity):
    with pytest.raises(InvalidArgument):
        bits_per_second(quantity)
