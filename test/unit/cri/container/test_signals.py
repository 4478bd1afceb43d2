from __future__ import annotations

import signal

import pytest

from core.errdefs import InvalidArgument
from cri import api
from cri.container.signals import signal_number, signal_of

DEFAULT = api.Signal.SIGNAL_RUNTIME_DEFAULT


def test_every_signal_of_cri_is_one_of_the_kernels_and_comes_back() -> None:
    for name, number in api.Signal.items():
        if number == DEFAULT:
            continue
        sent = signal_number(number, "")
        assert sent in signal.valid_signals(), name
        assert signal_number(signal_of(sent), "") == sent, name


@pytest.mark.parametrize(
    ("wanted", "of_image", "sent"),
    [
        (DEFAULT, "", signal.SIGTERM),
        (DEFAULT, "SIGQUIT", signal.SIGQUIT),
        (DEFAULT, "SIGRTMIN+3", signal.SIGRTMIN + 3),
        (DEFAULT, "37", 37),
        (api.Signal.SIGNAL_SIGUSR1, "SIGQUIT", signal.SIGUSR1),
        (api.Signal.SIGNAL_SIGRTMAXMINUS2, "", signal.SIGRTMAX - 2),
    ],
)
def test_the_containers_signal_comes_before_the_images(wanted: api.Signal, of_image: str, sent: int) -> None:
    assert signal_number(wanted, of_image) == sent


@pytest.mark.parametrize("of_image", ["SIGNOTHING", "99", "-1", "0"])
def test_what_no_process_can_be_sent_is_refused(of_image: str) -> None:
    with pytest.raises(InvalidArgument):
        signal_number(DEFAULT, of_image)
