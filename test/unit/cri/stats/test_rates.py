import pytest

from core.cgroups.usage import Usage
from cri.stats.rates import WINDOW, YOUNG, Rate, first_reading
from cri.stats.tracking import Tracked

NOW = 1_000_000 * WINDOW


def test_two_readings_make_a_rate():
    rate = Rate(at=0)
    assert rate.update(NOW, 5 * WINDOW) is None
    assert rate.update(NOW + 2 * WINDOW, 6 * WINDOW) == 500_000_000


def test_the_start_of_a_young_container_is_its_first_reading():
    assert first_reading(4 * WINDOW, NOW).update(NOW, WINDOW) == 250_000_000
    assert first_reading(YOUNG, NOW).update(NOW, WINDOW) is None
    assert first_reading(None, NOW).update(NOW, WINDOW) is None


def test_clients_that_ask_often_do_not_shorten_the_window():
    rate = Rate(at=0)
    rate.update(NOW, 0)
    assert rate.update(NOW + WINDOW, WINDOW) == 1_000_000_000
    assert rate.update(NOW + WINDOW + 1000, WINDOW) == 1_000_000_000
    assert rate.update(NOW + 3 * WINDOW, WINDOW) == 0


def test_a_container_that_starts_in_the_future_has_no_first_reading():
    """The clock was set back since (hazards 3.26)."""
    assert first_reading(-WINDOW, NOW).update(NOW, WINDOW) is None


def used(cpu: int) -> Usage:
    return Usage(
        cpu=cpu,
        memory=0,
        inactive_file=0,
        rss=0,
        page_faults=0,
        major_page_faults=0,
        memory_limit=None,
        swap=0,
        swap_limit=None,
    )


@pytest.mark.parametrize("jump", [-365 * 86400 * WINDOW, 365 * 86400 * WINDOW], ids=["back", "forth"])
def test_a_clock_that_jumps_changes_no_rate(jump):
    """Hazards 3.26."""
    steady = NOW
    tracked = Tracked(b"", "", None, lambda: steady)
    tracked.reading(NOW, used(0))
    steady += 4 * WINDOW
    found = tracked.reading(NOW + jump, used(WINDOW))
    assert (found.at, found.cores) == (NOW + jump, 250_000_000)


def test_a_counter_that_was_set_back_begins_anew():
    rate = Rate(at=0)
    rate.update(NOW, 3 * WINDOW)
    assert rate.update(NOW + 2 * WINDOW, 0) is None
    assert rate.update(NOW + 4 * WINDOW, WINDOW) == 500_000_000
