"""The node of the conformance tests, for daemons and pods that are killed."""

from critest.conftest import client, image, node, nri, pods  # noqa: F401
