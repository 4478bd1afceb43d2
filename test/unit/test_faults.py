"""docs/faults.md: every row of the fault model has its tests, and they are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs/faults.md").read_text()
ROWS = {
    number: re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
    for number, tests in re.findall(r"^\| (3\.\w+) \|.*\| (.*) \|$", TABLE, re.MULTILINE)
}


def test_every_row_of_the_fault_model_has_a_test():
    assert list(ROWS) == [f"3.{row}" for row in (*range(1, 9), "8b", *range(9, 41))]
    assert all(ROWS.values())


def test_the_tests_that_it_names_are_there():
    named = {pair for pairs in ROWS.values() for pair in pairs}
    missing = [
        f"{path}::{name}"
        for path, name in sorted(named)
        if not re.search(rf"^(async )?def {name}\(", (ROOT / "test" / path).read_text(), re.MULTILINE)
    ]
    assert not missing
