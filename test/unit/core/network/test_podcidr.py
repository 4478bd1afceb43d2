"""The network that is made of a template and the node's pod ranges."""

import json

import pytest

from core.errdefs import InvalidArgument, NotFound
from core.network.podcidr import FILE, PodRanges, write_network

TEMPLATE = """{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge", "ipam": {"ranges":
  [{{range $i, $r := .PodCIDRRanges}}{{if $i}}, {{end}}[{"subnet": "{{$r}}"}]{{end}}]}}]}"""


@pytest.fixture
def template(tmp_path):
    path = tmp_path / "template"
    path.write_text(TEMPLATE)
    return str(path)


@pytest.fixture
def conf_dir(tmp_path):
    return tmp_path / "net.d"


def test_the_ranges_are_filled_in_and_a_second_call_replaces_them(template, conf_dir):
    write_network(template, str(conf_dir), ["10.1.0.0/24", "fd00::/64"])
    write_network(template, str(conf_dir), ["10.2.0.0/24"])
    document = json.loads((conf_dir / FILE).read_bytes())
    assert document["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.2.0.0/24"}]]
    assert [path.name for path in conf_dir.iterdir()] == [FILE]


def test_the_network_of_somebody_else_stays_the_only_one(template, conf_dir):
    conf_dir.mkdir()
    (conf_dir / "20-plugin.conflist").write_text("{}")
    write_network(template, str(conf_dir), ["10.1.0.0/24"])
    assert [path.name for path in conf_dir.iterdir()] == ["20-plugin.conflist"]


def test_ranges_are_kept_for_the_next_daemon(tmp_path):
    path = str(tmp_path / "pod-ranges")
    assert PodRanges(path).ranges == ()
    PodRanges(path).put(["10.1.0.7/24", "fd00::/64"])
    assert PodRanges(path).ranges == ("10.1.0.0/24", "fd00::/64")
    with pytest.raises(InvalidArgument, match="pod_cidr"):
        PodRanges(path).put(["pods"])
    assert PodRanges(path).ranges == ("10.1.0.0/24", "fd00::/64")


@pytest.mark.parametrize("content", [b"\xff", b"10.1.0.0/99", b"x" * 5000])
def test_ranges_that_make_no_sense_are_as_none(tmp_path, content):
    path = tmp_path / "pod-ranges"
    path.write_bytes(content)
    ranges = PodRanges(str(path))
    assert ranges.ranges == ()
    ranges.put(["10.1.0.0/24"])
    assert PodRanges(str(path)).ranges == ("10.1.0.0/24",)


@pytest.mark.parametrize("cidrs,text", [(["10.1.0.0/99"], "pod_cidr"), (["pods"], "pod_cidr")])
def test_bad_ranges_are_refused_by_name(template, conf_dir, cidrs, text):
    with pytest.raises(InvalidArgument, match=text):
        write_network(template, str(conf_dir), cidrs)


def test_a_template_that_makes_no_configuration_writes_nothing(tmp_path, conf_dir):
    (tmp_path / "bad").write_text('{"name": "{{.PodCIDR}}"}')
    with pytest.raises(InvalidArgument):
        write_network(str(tmp_path / "bad"), str(conf_dir), ["10.1.0.0/24"])
    with pytest.raises(NotFound, match="conf_template"):
        write_network(str(tmp_path / "none"), str(conf_dir), ["10.1.0.0/24"])
    assert list(conf_dir.iterdir()) == []
