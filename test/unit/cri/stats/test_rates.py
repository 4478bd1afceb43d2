from cri.stats.rates import WINDOW, YOUNG, Rate, first_reading

NOW = 1_000_000 * WINDOW


def test_two_readings_make_a_rate():
    rate = Rate(at=0)
    assert rate.update(NOW, 5 * WINDOW) is None
    assert rate.update(NOW + 2 * WINDOW, 6 * WINDOW) == 500_000_000


def test_the_start_of_a_young_container_is_its_first_reading():
    assert first_reading(NOW - 4 * WINDOW, NOW).update(NOW, WINDOW) == 250_000_000
    assert first_reading(NOW - YOUNG, NOW).update(NOW, WINDOW) is None
    assert first_reading(0, NOW).update(NOW, WINDOW) is None


def test_clients_that_ask_often_do_not_shorten_the_window():
    rate = Rate(at=0)
    rate.update(NOW, 0)
    assert rate.update(NOW + WINDOW, WINDOW) == 1_000_000_000
    assert rate.update(NOW + WINDOW + 1000, WINDOW) == 1_000_000_000
    assert rate.update(NOW + 3 * WINDOW, WINDOW) == 0


def test_a_clock_or_counter_that_was_set_back_begins_anew():
    rate = Rate(at=0)
    rate.update(NOW, WINDOW)
    assert rate.update(NOW - WINDOW, 2 * WINDOW) is None
    assert rate.update(NOW, 3 * WINDOW) == 1_000_000_000
    assert rate.update(NOW + 2 * WINDOW, 0) is None
    assert rate.update(NOW + 4 * WINDOW, WINDOW) == 500_000_000
