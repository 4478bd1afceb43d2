"""Templates of CNI configurations, as nodes have them."""

import json

import pytest

from core.errdefs import InvalidArgument
from core.network.template import render

VALUES = {".PodCIDR": "10.1.0.0/24", ".PodCIDRRanges": ["10.1.0.0/24", "fd00::/64"], ".Routes": ["0.0.0.0/0", "::/0"]}
DUAL_STACK = """{"ipam": {"type": "host-local",
  "ranges": [{{range $i, $range := .PodCIDRRanges}}{{if $i}}, {{end}}[{"subnet": "{{$range}}"}]{{end}}],
  "routes": [{{ range $i, $route := .Routes -}} {{if $i}}, {{end}}{"dst": "{{ $route }}"}{{ end }}]}}
"""


def test_fields_ranges_with_index_and_conditions_are_filled_in():
    assert json.loads(render(DUAL_STACK, VALUES)) == {
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        }
    }


@pytest.mark.parametrize(
    "template,text",
    [
        ("a {{.PodCIDR}} b", "a 10.1.0.0/24 b"),
        ("{{range .Routes}}<{{.}}>{{end}}", "<0.0.0.0/0><::/0>"),
        ("{{range $route := .Routes}}{{range .Routes}}{{$route}} {{end}}{{end}}", "0.0.0.0/0 0.0.0.0/0 ::/0 ::/0 "),
        ("a  {{- .PodCIDR -}}  b", "a10.1.0.0/24b"),
        ("{{/* of the node */}}{{if .PodCIDR}}x{{end}}", "x"),
        ("no action", "no action"),
    ],
)
def test_notation(template, text):
    assert render(template, VALUES) == text


def test_a_range_over_nothing_is_nothing():
    assert render("[{{range $i, $r := .Routes}}{{$r}}{{end}}]", {".Routes": []}) == "[]"


@pytest.mark.parametrize(
    "template",
    ["{{.PodIP}}", "{{range .Routes}}", "{{end}}", "{{printf .PodCIDR}}", "{{range .PodCIDR}}{{end}}", "{{$x}}"],
)
def test_what_is_not_understood_is_refused_by_name(template):
    with pytest.raises(InvalidArgument, match="template"):
        render(template, VALUES)
