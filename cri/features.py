"""What the runtime handlers can do, found out once after start and told by Status."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, MutableMapping

from core.log import get_logger
from core.oci.features import probe
from core.shims.bundle import Runtime
from cri import api

log = get_logger(__name__)


async def find_features(
    handlers: Mapping[str, Runtime],
    directory: str,
    features: MutableMapping[str, api.RuntimeHandlerFeatures],
    *,
    users: bool,
) -> None:
    """Put the features of each handler into `features`; bundles are made below `directory`, which stays. `users` says
    whether the node has user namespaces."""
    async with asyncio.TaskGroup() as group:
        for binary in {runtime.binary for runtime in handlers.values() if runtime.binary}:
            names = [name for name, runtime in handlers.items() if runtime.binary == binary]
            of_binary = {name: handlers[name] for name in names}
            group.create_task(_find(handlers[names[0]], of_binary, directory, features, users=users))


async def _find(
    runtime: Runtime,
    handlers: Mapping[str, Runtime],
    directory: str,
    features: MutableMapping[str, api.RuntimeHandlerFeatures],
    *,
    users: bool,
) -> None:
    bundle = os.path.join(directory, os.path.basename(runtime.binary))
    try:
        found = await probe(runtime.binary, runtime.root, bundle, users=users)
    except OSError as exc:
        log.warning("features of runtime not known", binary=runtime.binary, error=exc)
        return
    log.info(
        "features of runtime",
        binary=runtime.binary,
        recursive_read_only=found.recursive_read_only,
        user_namespaces=found.user_namespaces,
    )
    for name in handlers:
        features[name].recursive_read_only_mounts = found.recursive_read_only
        features[name].user_namespaces = found.user_namespaces and not handlers[name].infra_image
