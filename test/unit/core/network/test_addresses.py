import ipaddress

import pytest

from core.errdefs import InvalidArgument, ResourceExhausted
from core.network.builtin.addresses import Pool


def test_the_first_address_is_the_gateways_and_the_next_are_for_pods():
    pool = Pool("10.88.0.0/16")
    assert str(pool.gateway) == "10.88.0.1/16"
    assert [str(pool.take()) for _ in range(2)] == ["10.88.0.2/16", "10.88.0.3/16"]


def test_every_address_but_network_gateway_and_broadcast_is_given_once():
    pool = Pool("10.88.0.0/28")
    taken = {str(pool.take().ip) for _ in range(13)}
    assert taken == {f"10.88.0.{number}" for number in range(2, 15)}
    with pytest.raises(ResourceExhausted, match="13 pods"):
        pool.take()


def test_an_address_that_is_given_back_is_taken_last():
    pool = Pool("10.88.0.0/29")
    first = pool.take()
    pool.give_back(first.ip)
    assert [str(pool.take().ip) for _ in range(5)] == [f"10.88.0.{number}" for number in (3, 4, 5, 6, 2)]


def test_addresses_in_use_are_not_given_and_the_round_goes_on_behind_them():
    pool = Pool("10.88.0.0/24", in_use=["10.88.0.7", "10.99.0.2", "fd00::2"])
    assert str(pool.take().ip) == "10.88.0.8"


def test_a_subnet_of_ipv6_gives_addresses():
    pool = Pool("fd00:88::/64", in_use=["fd00:88::2", "10.88.0.2"])
    assert str(pool.gateway) == "fd00:88::1/64"
    assert str(pool.take()) == "fd00:88::3/64"


@pytest.mark.parametrize("subnet", ["", "10.88.0.1/16", "10.88.0.0/31", "10.88.0.0/33", "fd00::/128", "x"])
def test_what_is_no_subnet_for_pods_is_refused(subnet):
    with pytest.raises(InvalidArgument):
        Pool(subnet)


def test_an_address_of_no_pool_can_be_given_back():
    Pool("10.88.0.0/24").give_back(ipaddress.ip_address("10.88.0.9"))
