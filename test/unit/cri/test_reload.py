"""What a reload changes, and what it leaves."""

import logging

import pytest

from core.errdefs import InvalidArgument
from cri.config.reading import parse
from cri.reload import different, reload

BEFORE = parse({"log": {"level": "info"}, "cni": {"bridge": "crisp0"}, "runtimes": {"a": {"binary": "/bin/a"}}})


@pytest.fixture(autouse=True)
def root_logger():
    """Left as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:], root.level = handlers, level


def test_keys_that_differ_are_named():
    after = parse({"cni": {"bridge": "other"}, "runtimes": {"a": {"binary": "/bin/b"}, "c": {}}})
    assert set(different(BEFORE, after)) == {"cni.bridge", "runtimes.a.binary", "runtimes.c"}
    assert list(different(BEFORE, BEFORE)) == []


def test_what_can_change_does_and_the_rest_stays(root_logger, caplog):
    after = parse({"log": {"level": "debug"}, "root": "/elsewhere"})
    found = reload(BEFORE, lambda: after)
    assert (found.log.level, found.root) == ("debug", BEFORE.root)
    assert root_logger.level == logging.DEBUG


def test_a_wrong_configuration_changes_nothing():
    def wrong():
        raise InvalidArgument("line 3")

    assert reload(BEFORE, wrong) is BEFORE
