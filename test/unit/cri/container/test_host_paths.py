from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from core.errdefs import DeadlineExceeded, InvalidArgument, NotFound, PermissionDenied
from core.zygote.probe import run_job
from cri import api
from cri.container.host_paths import host_paths

TRIES = 20
"""An answer from the cache (RESOLVE_CACHED) fails now and then while others rename and mount (openat2(2))."""


class Prober:
    """A zygote that runs its probes here, or fails them."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.asked: list[str] = []
        self._failure = failure

    async def run(self, job: str, args: Mapping[str, Any], **_: Any) -> Mapping[str, Any]:
        assert job == "probe"
        self.asked.append(args["operation"])
        if self._failure:
            raise self._failure
        return run_job(args, (), lambda _: None)


async def resolve(prober: Prober, *paths: str, strict: bool = False) -> Mapping[str, str]:
    mounts = [api.Mount(host_path=path, container_path=f"/{number}") for number, path in enumerate(paths)]
    return await host_paths(prober, api.ContainerConfig(mounts=mounts), strict=strict)  # type: ignore[arg-type]


async def test_what_the_kernel_knows_needs_no_process(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    os.stat(tmp_path / "link")
    for _ in range(TRIES):
        prober = Prober()
        found = await resolve(prober, str(tmp_path / "link"), "/")
        assert found == {"/0": str(tmp_path / "data"), "/1": "/"}
        if not prober.asked:
            return
    pytest.fail("the kernel never answered from its cache")


async def test_what_is_missing_is_made_where_it_cannot_hang_us(tmp_path: Path) -> None:
    prober = Prober()
    found = await resolve(prober, str(tmp_path / "a/b"))
    assert found == {"/0": str(tmp_path / "a/b")}
    assert (tmp_path / "a/b").is_dir()
    assert prober.asked == ["realpath", "mkdir"]


async def test_what_is_missing_is_refused_where_the_node_is_strict(tmp_path: Path) -> None:
    os.stat(tmp_path)
    with pytest.raises(NotFound, match=r"mount /1: host_path .*/gone does not exist"):
        await resolve(Prober(), str(tmp_path), str(tmp_path / "gone"), strict=True)
    assert not (tmp_path / "gone").exists()


async def test_a_path_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeadlineExceeded, match=r"mount /0: host_path .*/gone does not answer"):
        await resolve(Prober(DeadlineExceeded("killed")), str(tmp_path / "gone"))


@pytest.mark.parametrize("failure", [PermissionDenied("no"), InvalidArgument("no")])
async def test_other_failures_keep_their_kind(tmp_path: Path, failure: Exception) -> None:
    with pytest.raises(type(failure), match="mount /0: no"):
        await resolve(Prober(failure), str(tmp_path / "gone"))


@pytest.mark.parametrize("path", ["", "relative", "/with\0nul"])
async def test_what_is_no_path_is_refused_unseen(path: str) -> None:
    prober = Prober(NotFound("never asked"))
    with pytest.raises(InvalidArgument):
        await resolve(prober, path)
    assert prober.asked == []
