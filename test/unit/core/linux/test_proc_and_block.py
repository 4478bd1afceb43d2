import os
import resource
import socket

from core.linux.block import device_name
from core.linux.proc import open_files, soft_limit_of_files


def test_descriptors_and_sockets_of_a_process_are_counted():
    before, sockets = open_files(os.getpid())
    with socket.socket(), open(os.devnull, "rb"):
        count, now = open_files(os.getpid())
    assert (count - before, now - sockets) == (2, 1)


def test_a_process_that_is_gone_has_none():
    assert open_files(1 << 22) == (0, 0)
    assert soft_limit_of_files(1 << 22) is None


def test_the_soft_limit_is_the_kernels():
    assert soft_limit_of_files(os.getpid()) == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_devices_without_a_block_device_keep_their_numbers():
    assert device_name(0, 42) == "0:42"
    for entry in os.listdir("/sys/dev/block")[:1]:
        assert device_name(*map(int, entry.split(":"))).startswith("/dev/")
