import pytest

from core.errdefs import InvalidArgument
from core.types import digest

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize("value", [f"sha256:{HEX}", f"sha512:{HEX}{HEX}"])
def test_a_digest_is_an_algorithm_and_its_hex(value):
    assert digest(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        ":",
        "sha256",
        "sha256:",
        "sha256:../../x",
        "sha256:" + "../" * 21 + "x",
        f"sha256:{HEX[:-1]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX.upper()}",
        f"SHA256:{HEX}",
        f"sha256:{HEX[:-1]}\n",
        f"sha256:{HEX[:-1]}\0",
        f"sha256:{HEX[:-1]}\uff11",
        f"sha256:sha256:{HEX}"[:71],
        f"sha512:{HEX}",
        "md5:" + "0" * 32,
    ],
)
def test_what_is_no_digest_never_names_a_file(value):
    """CVE-2024-3727."""
    with pytest.raises(InvalidArgument, match="digest"):
        digest(value)
