from __future__ import annotations

from pathlib import Path

import pytest

from core.errdefs import InvalidArgument
from cri.container.rootfs import MAX_LINKS, refuse_detours, refuse_links


def test_an_image_has_directories_or_nothing_where_the_runtime_mounts(tmp_path: Path) -> None:
    refuse_links(str(tmp_path))
    for name in ("dev", "proc", "sys"):
        (tmp_path / name).mkdir()
    refuse_links(str(tmp_path))


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
def test_a_link_there_is_refused_wherever_it_leads(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("nowhere")
    with pytest.raises(InvalidArgument, match=f"/{name} is a link"):
        refuse_links(str(tmp_path))


DETOURS = {
    "straight": {"data": "/proc"},
    "to what only a real /proc has": {"data": "/proc/sys/kernel"},
    "relative": {"a/data": "../proc/1/attr"},
    "through it": {"data": "proc/.."},
    "above the root": {"data": "../../../proc"},
    "link after link": {"data": "a", "a": "b", "b": "/sys"},
    "a file of the pod": {"etc/hosts": "/proc/self/attr/exec"},
    "the directory of a file of the pod": {"etc": "/proc"},
    "into the devices": {"data": "/dev"},
    "round and round": {"data": "data"},
}


def link_all(root: Path, links: dict[str, str]) -> None:
    for name, target in links.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)


@pytest.mark.parametrize("links", DETOURS.values(), ids=DETOURS.keys())
def test_links_that_lead_a_mount_to_the_runtimes_places_are_refused(tmp_path: Path, links: dict[str, str]) -> None:
    link_all(tmp_path, links)
    with pytest.raises(InvalidArgument, match="image: links lead"):
        refuse_detours(str(tmp_path), ["/etc/hosts", "/data", "/data/proc", "/a/data/x"])


def test_links_that_lead_elsewhere_and_plain_words_are_not(tmp_path: Path) -> None:
    link_all(tmp_path, {"var/run": "/run", "run/shm": "/dev/shm", "dev/fd": "/proc/self/fd", "srv/proc": "x"})
    link_all(tmp_path, {"l0": ".", **{f"l{number}": f"l{number - 1}" for number in range(1, MAX_LINKS)}})
    plain = ["/proc", "/proc/cpuinfo", "/sys/fs/cgroup", "/dev/fd", "/dev/shm", "/"]
    images = ["/var/run/x", "/run/shm", "/srv/proc/y", "/new/proc", f"/l{MAX_LINKS - 1}/x"]
    refuse_detours(str(tmp_path), [*plain, *images])
