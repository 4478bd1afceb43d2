"""The process of a container: command, environment, working directory, capabilities."""

from __future__ import annotations

from core.errdefs import InvalidArgument
from core.oci import capabilities
from core.oci.runtime import Process
from core.oci.runtime import User as OciUser
from core.oci.user import User
from cri.container.spec.environment import environment
from cri.container.spec.image import image_strings, image_text
from cri.container.spec.mounts import clean_path
from cri.container.spec.resources import oom_score
from cri.container.spec.source import Source
from cri.container.spec.text import kernel_text, kernel_texts


def process(source: Source, user: User) -> Process:
    """The OCI process. Raises InvalidArgument."""
    ambient = ambient_capabilities(source)
    return Process(
        terminal=source.config.tty,
        user=OciUser(uid=user.uid, gid=user.gid, additionalGids=list(user.groups)),
        args=command(source),
        env=environment(source, user.home),
        cwd=working_directory(source),
        capabilities=capabilities.sets(granted_capabilities(source), ambient, root=user.uid == 0),
        noNewPrivileges=source.security.no_new_privs,
        oomScoreAdj=oom_score(source.config.linux.resources, source.facts),
    )


def command(source: Source) -> list[str]:
    """CRI's command replaces the image's entrypoint (and its cmd with it), CRI's args the image's cmd.

    Raises InvalidArgument when nothing is left to run.
    """
    args = list(source.config.args)
    if source.config.command:
        words = [*source.config.command, *args]
    else:
        words = image_strings(source, "Entrypoint") + (args or image_strings(source, "Cmd"))
    if not words or not words[0]:
        raise InvalidArgument(f"container {source.config.metadata.name}: neither it nor its image names a command")
    return kernel_texts(words, "command and args")


def working_directory(source: Source) -> str:
    """CRI's, the image's, or /. Never one through /proc, where descriptors of the runtime show (CVE-2024-21626)."""
    path = source.config.working_dir or image_text(source, "WorkingDir")
    clean = clean_path(kernel_text(path, "working_dir"))
    if clean.startswith("/proc/"):
        raise InvalidArgument(f"working_dir {path[:160]!r} lies in /proc")
    return clean


def granted_capabilities(source: Source) -> frozenset[str]:
    """What the security context grants, ambient ones included; everything for a privileged container."""
    if source.security.privileged:
        return source.facts.capabilities
    asked = source.security.capabilities
    granted = capabilities.grant(asked.add_capabilities, asked.drop_capabilities, available=source.facts.capabilities)
    return granted | ambient_capabilities(source)


def ambient_capabilities(source: Source) -> frozenset[str]:
    """Those that survive execve(2) as any user. A dropped one is not among them (CRI: Capability)."""
    asked = source.security.capabilities
    if not asked.add_ambient_capabilities:
        return frozenset()
    named = [name for name in asked.drop_capabilities if name.upper() != capabilities.ALL]
    return capabilities.grant(
        asked.add_ambient_capabilities, named, available=source.facts.capabilities, base=frozenset()
    )
