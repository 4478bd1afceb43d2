import pytest

from core.api.nri_types_pb2 import Container, ContainerUpdate, LinuxResources, PodSandbox
from core.errdefs import FailedPrecondition, InvalidArgument
from core.nri.batches import batches
from core.nri.owners import Owners
from core.nri.updates import Updates


def update(container_id: str, *, ignore_failure: bool = False, **cpu: int) -> ContainerUpdate:
    made = ContainerUpdate(container_id=container_id, ignore_failure=ignore_failure)
    for name, value in cpu.items():
        getattr(made.linux.resources.cpu, name).value = value
    return made


def test_updates_of_one_container_become_one() -> None:
    updates = Updates(Owners())
    updates.add([update("c", shares=5)], "a")
    updates.add([update("c", quota=7), update("d", quota=1)], "b")
    assert updates.all() == [update("c", shares=5, quota=7), update("d", quota=1)]


def test_a_contradiction_is_refused_unless_it_may_fail() -> None:
    updates = Updates(Owners())
    updates.add([update("c", shares=5)], "a")
    updates.add([update("c", shares=6, ignore_failure=True)], "b")
    assert updates.all() == [update("c", shares=5)]
    with pytest.raises(FailedPrecondition, match="a and b both set CPUShares of container c"):
        updates.add([update("c", shares=6)], "b")


def test_the_container_that_is_made_cannot_be_updated() -> None:
    with pytest.raises(InvalidArgument, match="updates container new"):
        Updates(Owners(), new_id="new").add([update("new", shares=5)], "a")


def test_what_was_asked_for_is_changed_and_not_among_others() -> None:
    updates = Updates(Owners())
    updates.start_with("c", update("c", shares=5, quota=3).linux.resources)
    updates.add([update("c", shares=6), update("d", shares=1)], "a")
    assert updates.take("c") == update("c", shares=6, quota=3).linux.resources
    assert updates.all() == [update("d", shares=1)]


def test_nothing_asked_is_nothing_wanted() -> None:
    updates = Updates(Owners())
    updates.start_with("c", LinuxResources())
    assert updates.take("c") == LinuxResources()


def test_the_state_is_cut_where_a_message_is_full() -> None:
    pods = [PodSandbox(id=str(number) * 100) for number in range(3)]
    containers = [Container(id=str(number) * 100) for number in range(3)]
    made = list(batches(pods, containers, limit=250))
    assert [one.more for one in made] == [True, True, False]
    assert [pod for one in made for pod in one.pods] == pods
    assert [container for one in made for container in one.containers] == containers
    assert [one.more for one in batches([], [])] == [False]
