"""The files that every container of a pod sees: /etc/hosts, /etc/hostname, /etc/resolv.conf.

    <state>/etc/<sandbox id>/{hosts,hostname,resolv.conf}      made by RunPodSandbox, gone with RemovePodSandbox

Nobody but root can list the directories (CVE-2024-25621); roots of user namespaces pass through.

They lie in the state directory, which a reboot empties as it ends all pods. A crash in between leaves a directory whose
id has no record; recovery removes it.
"""

from __future__ import annotations

import os
import socket

from core.files.dirs import make_dirs, remove_tree
from core.steps import step
from cri import api
from cri.user_namespace import user_namespace

_HOSTS = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


class PodFiles:
    """The files of all pods below one directory. All calls block."""

    def __init__(self, root: str) -> None:
        self._root = root
        make_dirs(root, 0o711)

    def write(self, sandbox_id: str, config: api.PodSandboxConfig) -> None:
        """Write the three files, replacing what a crash may have left."""
        with step("files"):
            self._write(sandbox_id, config)

    def _write(self, sandbox_id: str, config: api.PodSandboxConfig) -> None:
        directory = self.path(sandbox_id)
        make_dirs(directory, 0o711)
        users = user_namespace(config.linux.security_context.namespace_options)
        host_network = config.linux.security_context.namespace_options.network == api.NamespaceMode.NODE
        hosts = _node_file("/etc/hosts") if host_network else _HOSTS
        hostname = config.hostname or socket.gethostname()
        for name, text in (("hosts", hosts), ("hostname", hostname + "\n"), ("resolv.conf", resolv_conf(config))):
            with open(os.path.join(directory, name), "w", encoding="utf-8", opener=_create) as file:
                file.write(text)
                if users:
                    os.fchown(file.fileno(), *users.root)

    def path(self, sandbox_id: str) -> str:
        return os.path.join(self._root, sandbox_id)

    def remove(self, sandbox_id: str) -> None:
        """Success when absent."""
        remove_tree(self.path(sandbox_id))

    def list(self) -> list[str]:
        """The sandbox ids that have files."""
        return os.listdir(self._root) if os.path.isdir(self._root) else []


def resolv_conf(config: api.PodSandboxConfig) -> str:
    """resolv.conf(5) from the DNS config, or the node's own when there is none."""
    dns = config.dns_config
    lines = [f"nameserver {server}" for server in dns.servers]
    if dns.searches:
        lines.insert(0, f"search {' '.join(dns.searches)}")
    if dns.options:
        lines.append(f"options {' '.join(dns.options)}")
    return "".join(f"{line}\n" for line in lines) or _node_file("/etc/resolv.conf")


def _node_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _create(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o644)
