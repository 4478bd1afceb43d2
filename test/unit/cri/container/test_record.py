from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from core.errdefs import InvalidArgument
from core.oci.user import User
from cri import api
from cri.container.image_mounts import WantedImage
from cri.container.record import image_ref, log_path, new_record
from cri.store.container import Container
from rig.specs import source

LOGS = "/var/log/pods/shop_web-0_6f0e"


def record(config: dict[str, Any] | None = None, pod: dict[str, Any] | None = None, **image: Any) -> Container:
    found = source(config, pod)
    found = dataclasses.replace(found, image=dataclasses.replace(found.image, **image))
    wanted = [WantedImage(container_path="/model", sub_path="", image=found.image)]
    return new_record(found, User(uid=1, gid=2, groups=(2, 3)), wanted, name="app_web_0", created_at=5)


@pytest.mark.parametrize(
    ("directory", "path", "joined"),
    [
        (LOGS, "app/0.log", f"{LOGS}/app/0.log"),
        (f"{LOGS}/", "./app//0.log", f"{LOGS}/app/0.log"),
        (LOGS, "app/../0.log", f"{LOGS}/0.log"),
        ("", "app/0.log", ""),
        (LOGS, "", ""),
    ],
)
def test_a_log_is_below_the_pods_directory(directory: str, path: str, joined: str) -> None:
    assert log_path(directory, path) == joined


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "app/../../x", "a\0b"])
def test_a_log_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(InvalidArgument, match="log_path"):
        log_path(LOGS, path)


def test_links_on_the_way_to_the_log_directory_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    made = record({"log_path": "app/0.log"}, {"log_directory": str(tmp_path / "link")})
    assert made.log_path == f"{tmp_path}/link/app/0.log"
    assert made.log_file == f"{os.path.realpath(tmp_path)}/data/app/0.log"


def test_an_image_is_known_by_digest_and_tag_and_else_by_its_id() -> None:
    digest, tag = "example.org/app@sha256:" + "2" * 64, "example.org/app:1"
    made = record(names=(tag, digest))
    assert (made.image_ref, made.image_name) == (digest, tag)
    assert [one.image_id for one in made.image_mounts] == [made.image_id]
    unnamed = record(names=())
    assert (unnamed.image_ref, unnamed.image_name) == (unnamed.image_id, "")
    assert image_ref(source().image) == unnamed.image_id


def test_user_limits_and_signal_are_those_in_force() -> None:
    config = {
        "linux": {"resources": {"cpu_shares": 1, "memory_limit_in_bytes": 1 << 20}},
        "stop_signal": "SIGNAL_SIGUSR1",
    }
    made = record(config)
    user = api.ContainerUser.FromString(made.user).linux
    assert (user.uid, user.gid, list(user.supplemental_groups)) == (1, 2, [2, 3])
    limits = api.ContainerResources.FromString(made.resources).linux
    assert (limits.cpu_shares, limits.memory_swap_limit_in_bytes) == (2, 1 << 20)
    assert made.stop_signal == 10
    assert made.config == source(config).config.SerializeToString()
