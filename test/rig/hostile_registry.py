"""A registry that does what a test tells it to.

    async with hostile_registry() as registry:
        name = registry.add(image, "test/image", "1")
        registry.on("/blobs/", broken_off(after=1000), times=1)     the next request whose path has it
        registry.requests                                           what was asked, in order

A behaviour is `async (registry, request) -> response`, or None to be served as if nothing was.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import re
import socket

from aiohttp import web

from rig.images import sha256


@dataclasses.dataclass
class Asked:
    method: str
    path: str
    query: str
    headers: dict
    body: bytes

    @property
    def secrets(self):
        """Everything in the request that was a secret once."""
        return [value for name, value in self.headers.items() if name.lower() in ("authorization", "x-secret")]


class HostileRegistry:
    def __init__(self, port):
        self.host = f"127.0.0.1:{port}"
        self.url = f"http://{self.host}"
        self.requests: list[Asked] = []
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[bytes, str]] = {}
        self._script = []
        self.released = asyncio.Event()
        """Set it to let stalled responses end."""

    def add(self, image, repository, tag):
        for inner in image.inner:
            self.add(inner, repository, inner.digest)
        self.blobs.update({sha256(blob): blob for blob in image.blobs})
        for key in (tag, image.digest):
            self.manifests[f"{repository}/{key}"] = image.manifest, image.media_type
        return f"{self.host}/{repository}:{tag}"

    def on(self, pattern, behaviour, *, times=10**9, method=""):
        """Do `behaviour` for requests whose path matches, before those given earlier."""
        self._script.insert(0, [re.compile(pattern), method, behaviour, times])

    def behave(self):
        """Forget what was told."""
        self._script.clear()

    def asked(self, pattern, method="GET"):
        return [one for one in self.requests if one.method == method and re.search(pattern, one.path)]

    async def handle(self, request):
        body = await request.read()
        asked = Asked(request.method, request.path, request.query_string, dict(request.headers), body)
        self.requests.append(asked)
        for entry in self._script:
            pattern, method, behaviour, times = entry
            if times and pattern.search(request.path) and method in ("", request.method):
                entry[3] -= 1
                response = await behaviour(self, request)
                if response is not None:
                    return response
        return self._serve(request)

    def _serve(self, request):
        if match := re.fullmatch(r"/v2/(.+)/manifests/(.+)", request.path):
            found = self.manifests.get("/".join(match.groups()))
            if found:
                raw, media_type = found
                headers = {"Docker-Content-Digest": sha256(raw), "Content-Type": media_type}
                return web.Response(body=raw, headers=headers)
        elif match := re.fullmatch(r"(?:/v2/.+)?/blobs/(.+)", request.path):
            data = self.blobs.get(match[1])
            if data is not None:
                return _ranged(request, data)
        return web.json_response({"errors": [{"code": "UNKNOWN", "message": "nothing here"}]}, status=404)


def _ranged(request, data):
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if not match:
        return web.Response(body=data)
    start, end = int(match[1]), min(int(match[2] or len(data)) + 1, len(data))
    if start >= len(data):
        return web.Response(status=416)
    headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"}
    return web.Response(status=206, body=data[start:end], headers=headers)


@contextlib.asynccontextmanager
async def hostile_registry():
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    registry = HostileRegistry(sock.getsockname()[1])
    app = web.Application(client_max_size=1 << 20)
    app.router.add_route("*", "/{path:.*}", registry.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, sock).start()
    try:
        yield registry
    finally:
        registry.released.set()
        await runner.cleanup()


def answer(status=200, body=b"", **headers):
    """Always the same; `_` in header names becomes `-`."""

    async def behave(_registry, _request):
        return web.Response(status=status, body=body, headers={key.replace("_", "-"): headers[key] for key in headers})

    return behave


def redirect(location, status=307):
    async def behave(_registry, request):
        return web.Response(status=status, headers={"Location": location + request.path_qs})

    return behave


def broken_off(after):
    """Say the whole length, send `after` bytes and drop the connection."""

    async def behave(registry, request):
        data = registry.blobs[request.path.rpartition("/")[2]]
        response = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await response.prepare(request)
        await response.write(data[:after])
        request.transport.close()
        return response

    return behave


def stalled(after=0):
    """Send `after` bytes of the blob, then nothing until the test ends."""

    async def behave(registry, request):
        data = registry.blobs.get(request.path.rpartition("/")[2], b"x" * 100)
        response = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await response.prepare(request)
        await response.write(data[:after])
        await registry.released.wait()
        return response

    return behave


def silent():
    """No answer until the test ends."""

    async def behave(registry, _request):
        await registry.released.wait()

    return behave


def held_up(after):
    """Send `after` bytes of the blob, and the rest when the test releases it."""

    async def behave(registry, request):
        data = registry.blobs[request.path.rpartition("/")[2]]
        response = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await response.prepare(request)
        await response.write(data[:after])
        await registry.released.wait()
        await response.write(data[after:])
        return response

    return behave


def endless(status=200):
    """A body without a length and without an end."""

    async def behave(_registry, request):
        response = web.StreamResponse(status=status)
        response.enable_chunked_encoding()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(bytes(1 << 16))
        return response

    return behave


def together(count):
    """Answer requests for later ranges when there have been `count` of them."""
    come, enough = itertools.count(1), asyncio.Event()

    async def behave(_registry, request):
        if _start(request):
            if next(come) >= count:
                enough.set()
            await enough.wait()

    return behave


def once_for_ranges(starts, behaviour):
    """Do `behaviour` the first time that a range from one of `starts` on is asked for."""
    left = set(starts)

    async def behave(registry, request):
        start = _start(request)
        if start in left:
            left.remove(start)
            return await behaviour(registry, request)
        return None

    return behave


def _start(request):
    return int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])


def whole_despite_range():
    async def behave(registry, request):
        return web.Response(body=registry.blobs[request.path.rpartition("/")[2]])

    return behave


def wants(challenge, accepted):
    """Answer 401 with `challenge` to requests without Authorization `accepted`."""

    async def behave(_registry, request):
        if request.headers.get("Authorization") == accepted:
            return None
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    return behave
