from __future__ import annotations

import errno
import inspect

import pytest

from core import errdefs
from core.images.verification import Refused
from core.remotes.failures import Unreachable
from cri.errors import status_of
from cri.grpc.codes import Code

KINDS = [kind for _, kind in inspect.getmembers(errdefs, inspect.isclass) if kind is not errdefs.CrispError]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_error_has_the_code_that_bears_its_name(kind: type[errdefs.CrispError]) -> None:
    code, message = status_of(kind("the thing: the remedy"))
    assert code.name.replace("_", "").lower() == kind.__name__.lower()
    assert message == "the thing: the remedy"


def test_what_nobody_planned_for_is_unknown_and_says_what_it_is() -> None:
    assert status_of(ZeroDivisionError("x")) == (Code.UNKNOWN, "ZeroDivisionError: x")
    assert status_of(KeyError()) == (Code.UNKNOWN, "KeyError: KeyError")


def test_an_error_without_words_still_says_something() -> None:
    assert status_of(errdefs.NotFound()) == (Code.NOT_FOUND, "NotFound")


def test_what_the_kubelet_tells_from_other_failures_begins_with_its_word_once() -> None:
    assert status_of(Refused("x")) == (Code.PERMISSION_DENIED, "SignatureValidationFailed: x")
    assert status_of(Unreachable("x")) == (Code.UNAVAILABLE, "RegistryUnavailable: x")


def test_a_full_disk_is_told_as_what_it_is_wherever_it_is_met() -> None:
    code, message = status_of(OSError(errno.ENOSPC, "No space left on device", "/var/lib/crisp"))
    assert code == Code.RESOURCE_EXHAUSTED
    assert message == "[Errno 28] No space left on device: '/var/lib/crisp': free some space"
