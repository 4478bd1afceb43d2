"""PullImage."""

from __future__ import annotations

from core.errdefs import InvalidArgument
from core.log import get_logger
from core.remotes.auth import Credentials
from cri import api
from cri.image.deps import ImageDeps

log = get_logger(__name__)


async def pull_image(deps: ImageDeps, request: api.PullImageRequest) -> str:
    """Pull, unpack and record; return the image's id. Two pulls of one image share the work.

    Raises InvalidArgument (reference, runtime handler), NotFound, Unauthenticated, Refused (policy), Unavailable (every
    host and why), DataLoss.
    """
    if not request.image.image:
        raise InvalidArgument("PullImage: image is empty")
    handler = deps.handlers.get(request.image.runtime_handler)
    if handler is None:
        there = ", ".join(sorted(filter(None, deps.handlers)))
        raise InvalidArgument(f"PullImage: runtime handler {request.image.runtime_handler[:160]!r}: there is {there}")
    auth = credentials(request.auth)
    image = await deps.puller.pull(request.image.image, auth, snapshotter=handler.snapshotter)
    log.info("image pulled", image=request.image.image, id=image.id, size=image.size)
    return image.id


def credentials(auth: api.AuthConfig) -> Credentials | None:
    """What the kubelet gave for this pull, None when nothing."""
    if not auth.ByteSize():
        return None
    return Credentials(
        username=auth.username,
        password=auth.password,
        auth=auth.auth,
        server_address=auth.server_address,
        identity_token=auth.identity_token,
        registry_token=auth.registry_token,
    )
