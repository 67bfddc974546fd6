"""The one home of the `kubernetes` library: a client that moves raw JSON.

`kubernetes.aio` reads kubeconfigs, service accounts, exec plugins, tokens and certificates; the
requests are our own, because its models would cost more than all else we do with an object.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import math
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, Configuration
from multidict import CIMultiDict
from yarl import URL

from actors.kube.client_errors import KubeError, Misconfigured, Refused, mapped, refused
from actors.kube.liveness import keepalive_socket, silence
from actors.kube.resource import Resource, path_of

CONNECT_SECONDS = 5.0
HEADER_SECONDS = 30.0  # until an answer begins; a watch-list may wait for the server's own cache
READ_SECONDS = 30.0  # without a byte of an answer that is not a watch
RELOAD_SECONDS = 5.0  # credentials that were refused are read anew at most this often
_BUFFER = 1 << 20  # bytes of a watch that may arrive together

Query = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class ApiAccess:
    """Where the API server is, and who we are; exactly one of the first three. Pickles."""

    url: str = ""
    kubeconfig: Path | None = None
    in_cluster: bool = False
    context: str | None = None  # of the kubeconfig; its current one by default
    token: str = ""  # with `url`

    def __str__(self) -> str:
        return self.url or str(self.kubeconfig or "the pod's service account")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer with a 2xx code."""

    code: int
    headers: Mapping[str, str]
    body: bytes


class Stream:
    """The body of an answer as it comes: a watch."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def chunks(self) -> AsyncGenerator[bytes]:
        """What has arrived together comes together. Ends at a clean end; raises Unreachable."""
        with mapped("watch"):
            async for chunk in self._response.content.iter_any():
                yield chunk

    def silence(self) -> float | None:
        """Seconds since the peer's kernel last acknowledged anything; None where unknown."""
        connection = self._response.connection
        if connection is None or connection.transport is None:
            return math.inf
        return silence(connection.transport.get_extra_info("socket"))


class Forwarded:
    """An answer as it came, whatever its code."""

    def __init__(self, response: aiohttp.ClientResponse, what: str) -> None:
        self._response = response
        self._what = what
        self.status = response.status
        self.headers = tuple(response.headers.items())

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body as encoded as it came. Raises Unreachable."""
        with mapped(self._what):
            async for chunk in self._response.content.iter_any():
                yield chunk


class ClusterClient:
    """Raw requests to one API server. `async with`, or `close` at the end; opens by itself.

    All methods raise Unreachable, Refused or Misconfigured. Credentials are read anew when their
    file changes and once when the server says 401.
    """

    def __init__(self, access: ApiAccess, user_agent: str = "atoll") -> None:
        self.access = access
        self._agent = user_agent
        self._opening = asyncio.Lock()
        self._link: _Link | None = None
        self._bare: _Link | None = None  # without credentials
        self._closed = False

    def __repr__(self) -> str:
        return f"<ClusterClient {self.access}{'' if self._link else ' not open'}>"

    async def __aenter__(self) -> ClusterClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends open streams; idempotent."""
        self._closed = True
        await self._drop()

    async def request(
        self,
        method: str,
        path: str,
        query: Query = (),
        *,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Answer:
        """One request with a 2xx answer."""
        headers = {"Accept": accept} | ({} if body is None else {"Content-Type": content_type})
        async with self._sent(method, path, query, headers, body, READ_SECONDS) as response:
            with mapped(f"{method} {path}"):
                return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, query: Query = (), accept: str = "application/json") -> bytes:
        return (await self.request("GET", path, query, accept=accept)).body

    async def create(self, resource: Resource, namespace: str, body: bytes) -> bytes:
        return (await self.request("POST", path_of(resource, namespace), body=body)).body

    async def replace(self, resource: Resource, namespace: str, name: str, body: bytes) -> bytes:
        return (await self.request("PUT", path_of(resource, namespace, name), body=body)).body

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: bytes,
        content_type: str = "application/merge-patch+json",
        subresource: str = "",
    ) -> bytes:
        path = path_of(resource, namespace, name, subresource)
        return (await self.request("PATCH", path, body=body, content_type=content_type)).body

    async def delete(self, resource: Resource, namespace: str, name: str) -> bytes:
        return (await self.request("DELETE", path_of(resource, namespace, name))).body

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, query: Query, accept: str = "application/json"
    ) -> AsyncIterator[Stream]:
        """A watch; it is open, with a 2xx answer, when this yields."""
        async with self._sent("GET", path, query, {"Accept": accept}, None, None) as response:
            yield Stream(response)

    @contextlib.asynccontextmanager
    async def forward(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: bytes | None,
        *,
        as_us: bool,
    ) -> AsyncIterator[Forwarded]:
        """Someone else's request, with whatever answer comes, its body undecoded.

        `target` is path and query as on the wire. Not `as_us`: without our credentials, not even
        our client certificate; the headers say who asks.
        """
        what = f"{method} {target}"
        link = await (self._open() if as_us else self._open_bare())
        with mapped(what):
            response = await link.forward(method, target, headers, body, as_us=as_us)
        try:
            if as_us and response.status == 401 and link.age() > RELOAD_SECONDS:
                await self._drop()
            yield Forwarded(response, what)
        finally:
            response.close()  # a watch that we leave is not read to its end

    @contextlib.asynccontextmanager
    async def _sent(
        self,
        method: str,
        path: str,
        query: Query,
        headers: dict[str, str],
        body: bytes | None,
        read_seconds: float | None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        what = f"{method} {path}"
        link = await self._open()
        with mapped(what):
            response = await link.send(method, path, query, headers, body, read_seconds)
        try:
            if response.status >= 300:
                raise await self._refusal(link, response, what)
            yield response
        finally:
            # Not released to the pool: a watch that we leave is not read to its end.
            response.close() if read_seconds is None else response.release()

    async def _refusal(self, link: _Link, response: aiohttp.ClientResponse, what: str) -> Refused:
        with mapped(what):
            text = await response.read()
        if response.status == 401 and link.age() > RELOAD_SECONDS:
            await self._drop()
        return refused(response.status, text, response.headers.get("Retry-After", ""))

    async def _open(self) -> _Link:
        async with self._opening:
            if self._closed:
                raise KubeError("the client is closed")
            if self._link is not None and self._link.is_outdated():
                await self._drop()  # ends its streams as well; they resume
            if self._link is None:
                self._link = await _Link.make(self.access, self._agent)
            return self._link

    async def _open_bare(self) -> _Link:
        async with self._opening:
            if self._closed:
                raise KubeError("the client is closed")
            if self._bare is None:
                self._bare = await _Link.make(self.access, self._agent, is_bare=True)
            return self._bare

    async def _drop(self) -> None:
        links, self._link, self._bare = (self._link, self._bare), None, None
        for link in links:
            if link is not None:
                await link.close()


class _Link:
    """One reading of the credentials, and the connections made with it."""

    def __init__(self, api: ApiClient, access: ApiAccess, agent: str) -> None:
        self._api = api
        self._access = access
        self._agent = agent
        self._stamp = _stamp(access.kubeconfig)
        self._made = asyncio.get_running_loop().time()
        self._session = _session(api)
        self._raw: aiohttp.ClientSession | None = None  # for what is only handed on

    @classmethod
    async def make(cls, access: ApiAccess, agent: str, *, is_bare: bool = False) -> _Link:
        return cls(await _api_client(access, is_bare=is_bare), access, agent)

    def age(self) -> float:
        return asyncio.get_running_loop().time() - self._made

    def is_outdated(self) -> bool:
        return _stamp(self._access.kubeconfig) != self._stamp

    async def send(
        self,
        method: str,
        path: str,
        query: Query,
        headers: dict[str, str],
        body: bytes | None,
        read_seconds: float | None,
    ) -> aiohttp.ClientResponse:
        configuration = self._api.configuration
        headers = {"User-Agent": self._agent, **headers}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        options: dict[str, Any] = {}
        if configuration.tls_server_name:
            options["server_hostname"] = configuration.tls_server_name
        async with asyncio.timeout(HEADER_SECONDS):
            return await self._session.request(
                method,
                configuration.host.rstrip("/") + path,
                params=list(query),
                headers=headers,
                data=body,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_SECONDS, sock_read=read_seconds
                ),
                proxy=configuration.proxy,
                proxy_headers=configuration.proxy_headers,
                allow_redirects=False,
                **options,
            )

    async def forward(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: bytes | None,
        *,
        as_us: bool,
    ) -> aiohttp.ClientResponse:
        configuration = self._api.configuration
        sent = CIMultiDict(headers)
        if as_us:
            await self._api.update_params_for_auth(sent, [], ["BearerToken"], target, method, body)
        if self._raw is None:
            self._raw = _session(self._api, auto_decompress=False)
        options: dict[str, Any] = {}
        if configuration.tls_server_name:
            options["server_hostname"] = configuration.tls_server_name
        async with asyncio.timeout(HEADER_SECONDS):
            return await self._raw.request(
                method,
                URL(configuration.host.rstrip("/") + target, encoded=True),
                headers=sent,
                data=body,
                skip_auto_headers=("Accept-Encoding", "Content-Type", "User-Agent", "Accept"),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                proxy=configuration.proxy,
                proxy_headers=configuration.proxy_headers,
                allow_redirects=False,
                **options,
            )

    async def close(self) -> None:
        if self._raw is not None:
            await self._raw.close()
        await self._session.close()
        await self._api.close()  # type: ignore[no-untyped-call]


def _session(api: ApiClient, *, auto_decompress: bool = True) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=0,  # each watch holds a connection
        ssl=api.rest_client.ssl_context,
        socket_factory=keepalive_socket,
    )
    return aiohttp.ClientSession(
        connector=connector,
        read_bufsize=_BUFFER,
        auto_decompress=auto_decompress,
        # As kubectl: the proxies of the environment, but never for this machine itself.
        trust_env=not _is_loopback(api.configuration.host),
    )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return bool(ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return host == "localhost"


def _stamp(file: Path | None) -> tuple[int, int] | None:
    """Changes whenever the file is replaced or written."""
    if file is None:
        return None
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


async def _api_client(access: ApiAccess, *, is_bare: bool = False) -> ApiClient:
    """Raises Misconfigured: whatever the library trips over, the file or account is at fault."""
    configuration = Configuration()
    # As before Python 3.13, and as kubectl: many a cluster's certificates lack key identifiers.
    configuration.disable_strict_ssl_verification = True
    try:
        await _configure(configuration, access)
        if is_bare:
            configuration.cert_file = configuration.key_file = None
            configuration.api_key = {}
        return ApiClient(configuration)
    except Exception as error:
        raise Misconfigured(f"{access}: {error}") from error


async def _configure(configuration: Configuration, access: ApiAccess) -> None:
    if access.url:
        configuration.host = access.url
        if access.token:
            configuration.api_key["BearerToken"] = f"Bearer {access.token}"
    elif access.in_cluster:
        kube_config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    elif access.kubeconfig is None or not access.kubeconfig.is_file():
        raise FileNotFoundError("no such kubeconfig")
    else:
        await kube_config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=str(access.kubeconfig),
            context=access.context,
            client_configuration=configuration,
            persist_config=False,
        )
