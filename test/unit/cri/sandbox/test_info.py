"""A CNI result in the form that containerd's verbose status has."""

from cri.sandbox.info import cni_result

RESULT = {
    "cniVersion": "1.1.0",
    "interfaces": [{"name": "cni0", "mac": "02:00"}, {"name": "eth0", "mac": "0a:58", "sandbox": "/run/ns/net"}],
    "ips": [
        {"address": "10.1.0.2/24", "gateway": "10.1.0.1", "interface": 1},
        {"address": "fd00::2/64", "interface": 1},
    ],
    "routes": [{"dst": "0.0.0.0/0"}],
    "dns": {"nameservers": ["10.1.0.1"]},
}


def test_interfaces_come_by_name_with_the_addresses_of_each():
    shown = cni_result(RESULT)
    assert set(shown["Interfaces"]) == {"cni0", "eth0"}
    assert shown["Interfaces"]["cni0"]["IPConfigs"] is None
    assert shown["Interfaces"]["eth0"]["IPConfigs"] == [
        {"IP": "10.1.0.2", "Gateway": "10.1.0.1"},
        {"IP": "fd00::2", "Gateway": ""},
    ]
    assert (shown["Interfaces"]["eth0"]["Mac"], shown["Interfaces"]["eth0"]["Sandbox"]) == ("0a:58", "/run/ns/net")
    assert (shown["Routes"], shown["DNS"]) == (RESULT["routes"], [RESULT["dns"]])


def test_addresses_that_name_no_interface_are_the_pods():
    shown = cni_result({"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.2/24"}]})
    assert shown["Interfaces"]["eth0"]["IPConfigs"] == [{"IP": "10.1.0.2", "Gateway": ""}]
