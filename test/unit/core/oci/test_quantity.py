import pytest

from core.errdefs import InvalidArgument
from core.oci.quantity import parse_bytes


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("65536", 65536), ("64Mi", 64 << 20), ("1Gi", 1 << 30), ("5k", 5000)]
)
def test_a_quantity_is_a_number_of_bytes(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "64m", "64MiB", "-1", "1.5Gi", "٣", "9" * 16, "1 Gi"])
def test_anything_else_is_refused_by_name(text):
    with pytest.raises(InvalidArgument, match="want a number of bytes"):
        parse_bytes(text)
