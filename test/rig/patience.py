"""How long tests wait before they call something broken.

    CRISP_TEST_PATIENCE=20 PYTEST_TIMEOUT=2400 pytest …     on an emulated machine, 11 to 18 times slower
"""

import os

FACTOR = float(os.environ.get("CRISP_TEST_PATIENCE", "1"))


def patient(seconds: float) -> float:
    """`seconds` on the machines that tests are written on, as many as this one needs."""
    return seconds * FACTOR
