"""Registries: from a reference to bytes whose digest is right (OCI distribution-spec, Pull).

    async with Registry(config_path="/etc/crisp/certs.d", executor=filesystem) as registry:
        repository = await registry.repository(reference, credentials)
        target = await repository.resolve()
        manifest = await repository.document(target.descriptor)
        async for data in repository.blob(layer, offset): …

A repository lives as long as one pull: it asks the hosts that hosts.toml named when it was made, in their order, and it
alone has the pull's credentials and tokens.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Self

from multidict import CIMultiDictProxy

from core.errdefs import CrispError, DataLoss, InvalidArgument, NotFound, Unauthenticated, Unavailable
from core.log import get_logger
from core.oci.image import INDEX_TYPES, MANIFEST_TYPES, MAX_DOCUMENT
from core.remotes.auth import ANONYMOUS, Credentials, Login, login
from core.remotes.client import READ_BUFFER, Answer, HostClient
from core.remotes.failures import Failures
from core.remotes.foreign import ForeignClient, ForeignHosts
from core.remotes.hosts import PULL, RESOLVE, Host, load_hosts
from core.remotes.keychain import Keychain
from core.remotes.ranges import MAX_HELPERS, Ranges, Splitting
from core.remotes.reference import Reference
from core.remotes.retry import Limits
from core.remotes.tls import TlsContexts
from core.telemetry import SILENT, Telemetry
from core.types import Descriptor, Digest, digest

if TYPE_CHECKING:
    import aiohttp

log = get_logger(__name__)

MAX_CONNECTIONS = 32  # to one host: eight pulls and all helpers; a host that stalls must not use up our descriptors
USER_AGENT = "crisp"
ACCEPT = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES, "*/*;q=0.1"))
_CANONICAL = "sha256"  # OCI image-spec, descriptor.md: what everyone must be able to read
_DIGEST_HEADER = "Docker-Content-Digest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    descriptor: Descriptor
    """Of an index or a manifest; its media type is the host's word."""
    raw: bytes | None
    """The document, when it had to be read to learn its digest."""


class Registry:
    """Everything that repositories share: connections and TLS contexts. Use it inside one running loop."""

    def __init__(
        self,
        *,
        config_path: str,
        executor: Executor,
        keychain: Keychain | None = None,
        limits: Limits | None = None,
        splitting: Splitting | None = None,
        foreign: ForeignHosts | None = None,
        telemetry: Telemetry = SILENT,
    ) -> None:
        """`config_path` is the directory of hosts.toml files, "" for none; `executor` reads them. `keychain` has what
        the node gives to hosts for which a pull brings nothing; `foreign` are hosts that manifests may name."""
        self._config_path = config_path
        self._keychain = keychain or Keychain("")
        self._executor = executor
        self._limits = limits or Limits()
        self._foreign = foreign or ForeignHosts()
        pool = asyncio.Semaphore(MAX_HELPERS)
        self._split = partial(Ranges, splitting=splitting or Splitting(), pool=pool)
        self._telemetry = telemetry
        self._tls = TlsContexts()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Idempotent."""
        session, self._session = self._session, None
        if session:
            await session.close()

    async def repository(self, reference: Reference, credentials: Credentials | None) -> Repository:
        """Raises FailedPrecondition (hosts.toml, certificates, keychain), InvalidArgument (credentials)."""
        run = asyncio.get_running_loop().run_in_executor
        await run(self._executor, import_module, "aiohttp")  # a quarter of a daemon's start, if it were imported there
        hosts = await run(self._executor, load_hosts, self._config_path, reference.host)
        clients = [
            HostClient(
                self._open_session(),
                host,
                tls=await run(self._executor, self._tls.get, host),
                login=await self._login(credentials, host, reference.path),
                scope=f"repository:{reference.path}:pull",
                limits=self._limits,
                split=self._split,
                is_last=host is hosts[-1],
            )
            for host in hosts
        ]
        return Repository(reference, clients, self._foreign_clients, self._telemetry)

    async def _foreign_clients(self, urls: Sequence[str]) -> list[HostClient]:
        """For what `urls` a layer has, as far as they are allowed."""
        run = asyncio.get_running_loop().run_in_executor
        clients: list[HostClient] = []
        for url in self._foreign.among(urls):
            host = Host(base=url.origin())
            client = ForeignClient(
                self._open_session(),
                host,
                tls=await run(self._executor, self._tls.get, host),
                login=ANONYMOUS,
                scope="",
                limits=self._limits,
                split=self._split,
                is_last=True,
            )
            clients.append(client.at(url, self._foreign))
        return clients

    async def _login(self, credentials: Credentials | None, host: Host, path: str) -> Login:
        """The pull's own credentials if they are meant for `host`, else the node's."""
        given = login(credentials, host)
        return given if given is not ANONYMOUS else login(await self._keychain.find(host, path), host)

    def _open_session(self) -> aiohttp.ClientSession:
        import aiohttp  # noqa: PLC0415 - see Registry.repository

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, limit_per_host=MAX_CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": USER_AGENT},
                auto_decompress=False,  # digests are of what is sent
                read_bufsize=READ_BUFFER,
            )
        return self._session


ForeignClients = Callable[[Sequence[str]], Awaitable[list[HostClient]]]


class Repository:
    """One repository during one pull. Every method asks host after host, and raises an error that names all of them."""

    def __init__(
        self, reference: Reference, clients: list[HostClient], foreign: ForeignClients, telemetry: Telemetry
    ) -> None:
        self._reference = reference
        self._clients = clients
        self._foreign = foreign
        self._telemetry = telemetry
        self._serving: dict[Digest, str] = {}

    async def resolve(self) -> Resolved:
        """What the reference means now. Raises NotFound, Unauthenticated, PermissionDenied, Unavailable, DataLoss."""
        failures = Failures(str(self._reference))
        for client in self._able(PULL if self._reference.digest else RESOLVE):
            try:
                return await self._head(client) or await self._get(client)
            except CrispError as exc:
                _note(failures, client, exc)
        raise failures.error()

    async def document(self, descriptor: Descriptor) -> bytes:
        """The index or manifest. Raises DataLoss when size or digest are not the descriptor's; see `resolve`."""
        if descriptor.size > MAX_DOCUMENT:
            raise InvalidArgument(f"{self._reference}: a manifest of {descriptor.size} bytes, more than {MAX_DOCUMENT}")
        failures = Failures(f"{self._reference}: manifest {descriptor.digest}")
        for client in self._able(PULL):
            try:
                answer = await self._ask(client, "GET", descriptor.digest)
                check(answer.body, descriptor)
            except CrispError as exc:
                _note(failures, client, exc)
            else:
                return answer.body
        raise failures.error()

    async def blob(self, descriptor: Descriptor, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Bytes `offset` to the end, as they come; the caller checks the digest. Close it with `aclosing`.

        Raises DataLoss when a host has more or fewer bytes; see `resolve`, and ForeignHosts for `Descriptor.urls`.
        """
        failures = Failures(f"{self._reference}: blob {descriptor.digest}")
        path = self._path("blobs", descriptor.digest)
        for client in (*self._able(PULL), *await self._foreign(descriptor.urls)):
            try:
                async with aclosing(client.blob(path, descriptor.size, offset)) as body:
                    host = self._serving[descriptor.digest] = client.host.base.authority
                    async for data in body:
                        offset += len(data)
                        self._telemetry.fetched(host, len(data))
                        yield data
            except CrispError as exc:
                _note(failures, client, exc)
                if isinstance(exc, DataLoss):
                    break  # what was handed on may be wrong already: another host cannot mend it
            else:
                return
        raise failures.error()

    def host_of(self, blob: Digest) -> str:
        """Which host was asked last for `blob`, "" when none was."""
        return self._serving.get(blob, "")

    def _able(self, capability: str) -> Iterator[HostClient]:
        return (client for client in self._clients if {PULL, capability} <= client.host.capabilities)

    def _path(self, kind: str, name: str) -> str:
        return f"{self._reference.path}/{kind}/{name}"

    async def _ask(self, client: HostClient, method: str, name: str) -> Answer:
        return await client.ask(method, self._path("manifests", name), accept=ACCEPT, limit=MAX_DOCUMENT)

    async def _head(self, client: HostClient) -> Resolved | None:
        """By HEAD, which costs no body and at some registries no quota; None when a GET has to tell."""
        try:
            answer = await self._ask(client, "HEAD", self._reference.object)
        except (NotFound, Unauthenticated, Unavailable):
            raise
        except CrispError:
            return None  # it does not know HEAD, or has reasons that only a body can tell
        size = answer.headers.get("Content-Length", "")
        said = answer.headers.get(_DIGEST_HEADER) or self._reference.digest
        if not said or not (size.isascii() and size.isdigit()):
            return None
        self._check_digest(digest(said))
        descriptor = Descriptor(media_type=_media_type(answer.headers), digest=digest(said), size=int(size[:19]))
        return Resolved(descriptor=descriptor, raw=None)

    async def _get(self, client: HostClient) -> Resolved:
        answer = await self._ask(client, "GET", self._reference.object)
        actual = _digest_of(answer.body, _algorithm(self._reference.digest or _CANONICAL))
        self._check_digest(actual)
        descriptor = Descriptor(media_type=_media_type(answer.headers), digest=actual, size=len(answer.body))
        return Resolved(descriptor=descriptor, raw=answer.body)

    def _check_digest(self, actual: Digest) -> None:
        if self._reference.digest not in (None, actual):
            raise DataLoss(f"it answers with {actual}")


def check(data: bytes, descriptor: Descriptor) -> None:
    """Raises DataLoss unless `data` is what `descriptor` names."""
    if len(data) != descriptor.size:
        raise DataLoss(f"{descriptor.digest}: {len(data)} bytes, expected {descriptor.size}")
    if (actual := _digest_of(data, _algorithm(descriptor.digest))) != descriptor.digest:
        raise DataLoss(f"{descriptor.digest}: the digest is {actual}")


def _algorithm(value: str) -> str:
    return value.partition(":")[0]


def _digest_of(data: bytes, algorithm: str) -> Digest:
    return Digest(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")


def _media_type(headers: CIMultiDictProxy[str]) -> str:
    return headers.get("Content-Type", "").partition(";")[0].strip()


def _note(failures: Failures, client: HostClient, error: CrispError) -> None:
    log.info("registry host failed", host=client.host.base, reason=error)
    failures.add(client.host.base, error)
