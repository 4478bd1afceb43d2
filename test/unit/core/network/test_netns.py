import pytest

from core.network.netns import inside, interface_stats, parse_dev

DEV = """Inter-|   Receive                                   |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo:  100    2    0    0    0     0          0         0      100       2    0    0    0     0       0          0
  eth0:1234567890123   20    3    0    0     0     0     0      300       4    5    0    0     0       0          0
"""


def test_counters_are_read_by_interface():
    stats = parse_dev(DEV)
    assert set(stats) == {"lo", "eth0"}
    eth0 = stats["eth0"]
    assert (eth0.rx_bytes, eth0.rx_packets, eth0.rx_errors, eth0.rx_dropped) == (1234567890123, 20, 3, 0)
    assert (eth0.tx_bytes, eth0.tx_packets, eth0.tx_errors, eth0.tx_dropped) == (300, 4, 5, 0)


@pytest.mark.root
def test_a_namespace_that_is_none_is_left_out(tmp_path):
    (tmp_path / "file").touch()
    paths = [str(tmp_path / "file"), str(tmp_path / "missing"), "/proc/self/ns/net"]
    found = interface_stats(paths)
    assert list(found) == ["/proc/self/ns/net"]
    assert "lo" in found["/proc/self/ns/net"]


@pytest.mark.root
def test_what_a_call_inside_raises_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        inside("/proc/self/ns/net", lambda: 1 // 0)
