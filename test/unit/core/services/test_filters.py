"""Filters as clients of containerd write them."""

import pytest

from core.errdefs import InvalidArgument
from core.services.filters import passing

ITEMS = [
    ({"name": "a", "labels": {"x.io/y": "1"}, "target": {"digest": "sha256:1"}}, "a"),
    ({"name": "bb", "labels": {}, "target": {"digest": "sha256:2"}}, "b"),
]


@pytest.mark.parametrize(
    ("filters", "passed"),
    [
        ([], "ab"),
        ([""], "ab"),
        (["name==a"], "a"),
        (['name=="a"'], "a"),
        (["name!=a"], "b"),
        (["name~=^b+$"], "b"),
        (["target.digest==sha256:2"], "b"),
        (['labels."x.io/y"==1'], "a"),
        (["labels.x.io/y==1"], "a"),
        (['labels."x.io/y"'], "a"),
        (["name==a,target.digest==sha256:2"], ""),
        (["name==a", "target.digest==sha256:2"], "ab"),
        (["nothing==x"], ""),
        (["name.deeper==x"], ""),
    ],
)
def test_what_passes(filters, passed):
    assert "".join(passing(filters, ITEMS)) == passed


@pytest.mark.parametrize("text", ["=", "name=a", "name==a,,", 'name=="a', "name~=(", "a" * 2000, 'name=="\\q"'])
def test_what_is_no_filter_is_refused(text):
    with pytest.raises(InvalidArgument, match="filter"):
        passing([text], ITEMS)
