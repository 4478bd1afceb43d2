"""What the core is told: settings in its own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.images.verification import Policy
from core.network.cni import CniConfig
from core.nri.service import NriConfig
from core.shims.bundle import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreConfig:
    root: str
    state: str
    handlers: Mapping[str, Runtime]
    """OCI runtimes by runtime handler; "" is the default one."""
    registry_config: str
    registry_auth: str
    image_policy: Policy
    cni: CniConfig
    builtin: bool
    bridge: str
    subnet: str
    layers_at_once: int
    ranges_at_once: int
    pinned: tuple[str, ...]
    foreign_hosts: tuple[str, ...]
    nri: NriConfig
