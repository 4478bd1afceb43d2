from __future__ import annotations

from pathlib import Path

import pytest

from core.errdefs import InvalidArgument
from cri.container.rootfs import refuse_links


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
