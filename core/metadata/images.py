"""Images in SQLite, with all of them in memory."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from core.errdefs import InvalidArgument, NotFound
from core.images.images import Image, ImageStore
from core.log import get_logger
from core.metadata.database import Database
from core.types import Digest

log = get_logger(__name__)

_PREFIX = re.compile(r"[0-9a-f]{4,64}")
_PUT = "INSERT INTO image (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body"


def _plain(value: object) -> object:
    """What msgspec does not know: mappings that are not dicts."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} in an image record")


_encoder = msgspec.json.Encoder(enc_hook=_plain)
_decoder = msgspec.json.Decoder(Image)


@dataclass(frozen=True, slots=True)
class _Index:
    """All images at one moment; replaced as a whole, so that readers need no lock."""

    by_id: Mapping[str, Image]
    by_name: Mapping[str, Image]
    all: tuple[Image, ...]

    @classmethod
    def of(cls, images: Iterable[Image]) -> _Index:
        every = tuple(images)
        names = {name: image for image in every for name in image.names}
        return cls({image.id: image for image in every}, names, every)


class SqliteImages:
    """Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mu = threading.Lock()  # held by writers from reading the index to replacing it
        with database.transaction() as connection:
            rows = connection.execute("SELECT id, body FROM image").fetchall()
        self._index = _Index.of(image for image_id, body in rows if (image := _decode(image_id, body)))

    def get(self, ref: str) -> Image:
        index = self._index
        image = index.by_name.get(ref) or index.by_id.get(ref)
        return image or _by_prefix(index, ref)

    def list(self) -> tuple[Image, ...]:
        return self._index.all

    def put(self, image: Image, names: Iterable[str]) -> Image:
        """See `ImageStore.put`. Names that the image has already it keeps; `image.names` does not count."""
        wanted = tuple(names)
        with self._mu:
            images = dict(self._index.by_id)
            losers = {self._index.by_name[name].id for name in wanted if name in self._index.by_name} - {image.id}
            changed = [_without(images[loser], wanted) for loser in losers]
            kept = images[image.id].names if image.id in images else ()
            stored = dataclasses.replace(image, names=tuple(dict.fromkeys((*kept, *wanted))))
            changed.append(stored)
            with self._database.transaction(durable=True) as connection:
                connection.executemany(_PUT, [(each.id, _encoder.encode(each)) for each in changed])
            self._index = _Index.of((images | {each.id: each for each in changed}).values())
        return stored

    def remove(self, image_id: Digest) -> Image:
        with self._mu:
            images = dict(self._index.by_id)
            removed = images.pop(image_id, None)
            if removed is None:
                raise NotFound(f"image {image_id}")
            with self._database.transaction(durable=True) as connection:
                connection.execute("DELETE FROM image WHERE id = ?", (image_id,))
            self._index = _Index.of(images.values())
        return removed

    def remove_name(self, name: str) -> None:
        with self._mu:
            image = self._index.by_name.get(name)
            if image is None:
                raise NotFound(f"image {name!r}")
            left = _without(image, (name,))
            images = {**self._index.by_id, image.id: left}
            with self._database.transaction(durable=True) as connection:
                if left.names:
                    connection.execute(_PUT, (left.id, _encoder.encode(left)))
                else:
                    connection.execute("DELETE FROM image WHERE id = ?", (images.pop(image.id).id,))
            self._index = _Index.of(images.values())


_fits: type[ImageStore] = SqliteImages


def _without(image: Image, names: Iterable[str]) -> Image:
    taken = frozenset(names)
    return dataclasses.replace(image, names=tuple(name for name in image.names if name not in taken))


def _by_prefix(index: _Index, ref: str) -> Image:
    prefix = ref.removeprefix("sha256:")
    found = [image for image in index.all if image.id.partition(":")[2].startswith(prefix)]
    if not found or not _PREFIX.fullmatch(prefix):
        raise NotFound(f"image {ref!r}")
    if len(found) > 1:
        raise InvalidArgument(f"image {ref!r}: {len(found)} images have ids that start so: give more digits")
    return found[0]


def _decode(image_id: str, body: bytes) -> Image | None:
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as exc:
        log.error("image record makes no sense and is ignored: pull it again", image=image_id, reason=exc)
        return None
