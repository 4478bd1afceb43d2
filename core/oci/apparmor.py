"""AppArmor: the default profile of containers, and what the kernel has loaded."""

from __future__ import annotations

import asyncio
import os
import shutil
from asyncio.subprocess import DEVNULL, PIPE

from core.log import get_logger

log = get_logger(__name__)

DEFAULT = "crisp-default"
"""Name of the profile that RuntimeDefault stands for."""
UNCONFINED = "unconfined"
"""No profile; said aloud, since a container would else inherit the OCI runtime's own."""
PROFILES = "/sys/kernel/security/apparmor/profiles"
_ENABLED = "/sys/module/apparmor/parameters/enabled"
_PARSER = "apparmor_parser"
_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_ABI = "abi/3.0"
"""What the kernel mediated when the text below was written: of newer things, like user namespaces, message queues and
io_uring, it would else forbid all that the text does not know. Comes with the parser, from 3.0 on (apparmor.d(5))."""
_RULES = "/etc/apparmor.d"
_DEADLINE = 20.0
"""Seconds to compile the profile: it takes 40 ms, and longer on a node that is just booting."""

# What is not allowed is denied: mount, pivot_root, change_profile. `deny` takes away from what `file` gives.
_TEXT = f"""
profile {DEFAULT} flags=(attach_disconnected, mediate_deleted) {{
  capability,
  file,
  network,
  umount,
  unix,

  # Whoever is in the container's PID namespace may end it; its processes deal with each other only.
  signal (receive),
  signal (send) peer={DEFAULT},
  ptrace (read, readby, trace, tracedby) peer={DEFAULT},

  # The kernel's, not the container's.
  deny /proc/{{acpi,bus,fs,irq,scsi,sys,tty}}/** wkl,
  deny /proc/{{kcore,kmem,mem,sysrq-trigger}} rwkl,
  deny /sys/{{block,bus,class,dev,devices,hypervisor,kernel,module,power}}/** wkl,
  deny /sys/fs/[^c]** wkl,
  deny /sys/firmware/** rwkl,
  deny /sys/kernel/security/** rwkl,
  deny /sys/devices/virtual/powercap/** rwkl,
}}
"""


def profile_text(rules: str = _RULES) -> str:
    """The default profile for the parser that has its files in `rules`."""
    pinned = f"abi <{_ABI}>,\n" if os.path.exists(os.path.join(rules, _ABI)) else ""
    return pinned + _TEXT


def enabled() -> bool:
    """Whether the kernel confines with AppArmor."""
    try:
        with open(_ENABLED, encoding="ascii") as file:
            return file.read().strip() == "Y"
    except FileNotFoundError:
        return False


def loaded() -> frozenset[str]:
    """Names of all profiles that can be applied; none where AppArmor is not enabled."""
    try:
        with open(PROFILES, encoding="utf-8") as file:
            return frozenset(line.rsplit(" ", 1)[0] for line in file)
    except FileNotFoundError:
        return frozenset()


def parser() -> str:
    """Path of the program that loads profiles, "" when it is not installed."""
    return shutil.which(_PARSER, path=_PATH) or ""


async def load_default() -> None:
    """Load the default profile, or replace an older version of it. What keeps it from being loaded is logged."""
    if not enabled():
        return
    program = parser()
    if not program:
        log.warning("AppArmor profile not loaded: install the package apparmor", profile=DEFAULT)
        return
    process = await asyncio.create_subprocess_exec(
        program, "--replace", "--skip-cache", stdin=PIPE, stdout=DEVNULL, stderr=PIPE
    )
    try:
        async with asyncio.timeout(_DEADLINE):
            _, said = await process.communicate(profile_text().encode())
    except TimeoutError:
        process.kill()
        _, said = await process.communicate()
    if process.returncode:
        log.warning("AppArmor profile not loaded", profile=DEFAULT, said=said.decode(errors="replace").strip())
