"""The events of each change of state."""

import itertools

import pytest

from cri import api
from cri.events.transitions import CREATED, DELETED, STARTED, STOPPED, of_container, of_sandbox

CONTAINER = [None, *api.ContainerState.values()]


def test_a_life_has_each_event_once_and_in_order():
    states = [None, api.CONTAINER_CREATED, api.CONTAINER_RUNNING, api.CONTAINER_EXITED, None]
    events = [event for before, after in itertools.pairwise(states) for event in of_container(before, after)]
    assert events == [CREATED, STARTED, STOPPED, DELETED]
    states = [None, api.SANDBOX_READY, api.SANDBOX_NOTREADY, None]
    events = [event for before, after in itertools.pairwise(states) for event in of_sandbox(before, after)]
    assert events == [CREATED, STARTED, STOPPED, DELETED]


def test_a_container_that_could_not_be_started_stops():
    assert of_container(api.CONTAINER_CREATED, api.CONTAINER_EXITED) == (STOPPED,)


def test_a_container_whose_shim_hung_for_a_while_stops_once():
    states = [api.CONTAINER_RUNNING, api.CONTAINER_UNKNOWN, api.CONTAINER_RUNNING, api.CONTAINER_UNKNOWN]
    assert not any(itertools.starmap(of_container, itertools.pairwise(states)))
    assert of_container(api.CONTAINER_UNKNOWN, api.CONTAINER_EXITED) == (STOPPED,)


@pytest.mark.parametrize("state", CONTAINER)
def test_a_change_that_changes_no_state_is_no_event(state):
    assert state is None or of_container(state, state) == ()
