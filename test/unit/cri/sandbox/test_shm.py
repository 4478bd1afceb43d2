import pytest

from core.errdefs import InvalidArgument
from cri import api
from cri.config.config import Runtime
from cri.sandbox.shm import shm_size

OPEN = Runtime(pod_annotations=["shm-size.*"], shm_size="128Mi")


def test_the_handler_says_how_large_it_is():
    assert shm_size(api.PodSandboxConfig(), Runtime()) == 64 << 20
    assert shm_size(api.PodSandboxConfig(), OPEN) == 128 << 20


def test_a_pod_may_ask_for_another_size_where_its_handler_lets_it():
    asked = api.PodSandboxConfig(annotations={"shm-size.crisp.io": "1Gi", "shm-size.crio.io": "2Gi"})
    assert shm_size(asked, OPEN) == 1 << 30
    assert shm_size(asked, Runtime()) == 64 << 20
    del asked.annotations["shm-size.crisp.io"]
    assert shm_size(asked, OPEN) == 2 << 30


@pytest.mark.parametrize("size", ["0", "100", "much"])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(InvalidArgument, match="size"):
        shm_size(api.PodSandboxConfig(annotations={"shm-size.crisp.io": size}), OPEN)
