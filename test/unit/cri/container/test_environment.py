from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from core.errdefs import InvalidArgument
from cri import api
from cri.container.spec.environment import environment as of_source


def source(*envs: api.KeyValue, image: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(
        config=api.ContainerConfig(envs=envs),
        pod_config=api.PodSandboxConfig(hostname="pod"),
        image_config={"Env": list(image)},
        image=SimpleNamespace(id="sha256:0"),
    )


def environment(made: Any) -> list[str]:
    return of_source(made, home="")


def test_a_value_reaches_the_container_as_the_kubelet_sent_it() -> None:
    assert "A=x=y\nz" in environment(source(api.KeyValue(key="A", value=b"x=y\nz")))
    assert "B=\u00e9" in environment(source(api.KeyValue(key="B", value="\u00e9".encode())))


def test_a_user_whom_the_image_does_not_know_is_at_home_in_the_root() -> None:
    assert "HOME=/" in environment(source())
    assert "HOME=/x" in environment(source(image=("HOME=/x",)))
    assert "HOME=/home/app" in of_source(source(), home="/home/app")


def test_the_kubelets_value_replaces_the_images() -> None:
    pairs = environment(source(api.KeyValue(key="A", value=b"2"), image=("A=1",)))
    assert [pair for pair in pairs if pair.startswith("A=")] == ["A=2"]


@pytest.mark.parametrize(("key", "value"), [("", b"x"), ("A=B", b"x"), ("A\0", b"x"), ("A", b"x\0")])
def test_what_no_environment_can_hold_is_refused(key: str, value: bytes) -> None:
    """Hazard "injection"."""
    with pytest.raises(InvalidArgument):
        environment(source(api.KeyValue(key=key, value=value)))


def test_bytes_that_json_cannot_carry_arrive_as_replacement_characters() -> None:
    assert "A=x\ufffd" in environment(source(api.KeyValue(key="A", value=b"x\xff")))
