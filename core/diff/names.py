"""Names in layers, made safe to use below a directory."""

from __future__ import annotations

WHITEOUT = b".wh."  # OCI image-spec, layer.md, Whiteouts
OPAQUE = b".wh..wh..opq"  # OCI image-spec, layer.md, Opaque Whiteout
AUFS = b".wh..wh."  # AUFS bookkeeping (plnk, orph, aufs), which ancient images carry: never part of the filesystem


def parts(name: bytes) -> list[bytes]:
    """The components of `name` as seen from the layer's root: ".." is resolved by the text and stops at the root.

    `./a//b`, `/a/b` and `../../x/../a/b` are all [a, b]; the root itself is [].
    """
    components = [part for part in name.split(b"/") if part and part != b"."]
    if b".." not in components:
        return components
    kept: list[bytes] = []
    for part in components:
        if part != b"..":
            kept.append(part)
        elif kept:
            kept.pop()
    return kept
