"""The failpoints that the code has."""

import re
from pathlib import Path

_CALL = re.compile(r'^ *failpoint\("([a-z_.]+)"\)$', re.MULTILINE)


def failpoints() -> list[str]:
    """All names, in the order of files and lines."""
    root = Path(__file__).parents[2]
    sources = sorted(path for package in ("core", "cri") for path in (root / package).rglob("*.py"))
    return [name for path in sources for name in _CALL.findall(path.read_text())]
