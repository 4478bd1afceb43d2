"""Classes of Intel RDT and its like: shares of cache and memory bandwidth (kernel, filesystems/resctrl.rst)."""

from __future__ import annotations

import os
import re
from typing import Any

from core.errdefs import InvalidArgument

RESCTRL = "/sys/fs/resctrl"
_NAME = re.compile("[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")
_NOT_CLASSES = {"info", "mon_data", "mon_groups"}


def rdt_of_class(name: str, resctrl: str = RESCTRL) -> dict[str, Any]:
    """OCI's linux.intelRdt for the class `name`, a group that whoever partitions the node has made.

    Raises InvalidArgument when there is none: the OCI runtime would make an empty one, or fail without a word.
    """
    if not os.path.exists(f"{resctrl}/schemata"):
        raise InvalidArgument(f"RDT class {name[:64]!r}: this node has no RDT, or {resctrl} is not mounted")
    if not _NAME.fullmatch(name) or name in _NOT_CLASSES or not os.path.exists(f"{resctrl}/{name}/schemata"):
        raise InvalidArgument(f"RDT class {name[:64]!r}: {resctrl} has no such group")
    return {"closID": name}
