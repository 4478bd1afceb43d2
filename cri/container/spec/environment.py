"""The environment of a container's process."""

from __future__ import annotations

import os

from core.errdefs import InvalidArgument
from cri.container.spec.image import image_strings
from cri.container.spec.source import Source
from cri.container.spec.text import kernel_text, kernel_texts

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment(source: Source, home: str) -> list[str]:
    """The image's variables, then CRI's; a later value replaces an earlier one in its place.

    PATH, HOSTNAME, HOME, and with a terminal TERM, are there unless something sets them. The home of a user whom the
    image does not know is /, as runc has it; crun before 1.9 would set none.
    """
    variables = {"PATH": DEFAULT_PATH, "HOSTNAME": source.pod_config.hostname or os.uname().nodename}
    if source.config.tty:
        variables["TERM"] = "xterm"
    for pair in kernel_texts(image_strings(source, "Env"), f"image {source.image.id}: config.Env"):
        key, separator, value = pair.partition("=")
        if key and separator:
            variables[key] = value
    for variable in source.config.envs:
        if not variable.key or "=" in variable.key:
            raise InvalidArgument(f"envs: key {variable.key[:64]!r} is empty or has '='")
        # JSON has no bytes: what is not UTF-8 arrives with U+FFFD. A binary key of an envFrom secret, which nothing
        # may ever read, is no reason not to start.
        value = variable.value.decode("utf-8", "replace")
        variables[kernel_text(variable.key, "envs")] = kernel_text(value, f"envs[{variable.key[:64]!r}]")
    variables.setdefault("HOME", home or "/")
    return [f"{key}={value}" for key, value in variables.items()]
