"""Who asks, by bearer tokens; and the listener with TLS for pods."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from actors.kube.serve.api import Hooks, ReadBackend, ServeSettings, User
from actors.kube.serve.app import build_app
from actors.kube.serve.server import Server, start_server
from actors.kube.status_errors import ApiError
from configs.watch import Watch
from edge.hub.secure.certificates import Files, OwnCertificate
from edge.hub.secure.reviews import Reviews, expiry_of

if TYPE_CHECKING:
    from aiohttp import web
    from loguru import Logger

CA = "hub-ca.crt"  # in the node's state directory: what pods trust
LOOK = 3600.0  # seconds between looks at the certificate's end
AGAIN = 5.0  # seconds
_SCHEME = "bearer "


def token_of(request: web.Request) -> str:
    """ "" for a request without one."""
    header = request.headers.get("Authorization", "")
    return header[len(_SCHEME) :].strip() if header.lower().startswith(_SCHEME) else ""


async def by_token_or_nobody(reviews: Reviews, request: web.Request) -> User | None:
    """For the loopback port, where everybody is let in: a component with a service account's token
    is that account. Any other credentials are for the API server, as they are."""
    token = token_of(request)
    if expiry_of(token) is None:
        return None
    with suppress(ApiError):
        return await reviews.user_of(token)
    return None


@dataclass(frozen=True)
class SecureSettings:
    host: str
    port: int
    certificate: Path | None = None  # PEM with the chain, and its key; None: the hub's own
    key: Path | None = None


class SecurePort:
    """`run` as long as it serves, `stop` after it.

    Everybody but probes needs a token (401). What comes from the API server is by the pod's own
    rights there; what is read here is reviewed by whoever serves it (`Reviews.authorize`).
    """

    def __init__(
        self,
        settings: SecureSettings,
        backend: ReadBackend,
        hooks: Hooks,
        serve: ServeSettings,
        reviews: Reviews,
        state: Path,
        node: str,
        wall: Callable[[], float],
        log: Logger,
    ) -> None:
        own = replace(hooks, authenticate=self._authenticate, admits_nobody=False)
        self.app = build_app(backend, own, serve)
        self._settings = settings
        self._reviews = reviews
        self._own = OwnCertificate(state / "secure", state / CA, (settings.host, node))
        self._wall = wall
        self._log = log
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._server: Server | None = None
        self._is_stopped = False
        self._loaded: tuple[bytes, bytes] | None = None

    @property
    def ca(self) -> Path | None:
        """What pods have to trust; None: whoever made the given certificate knows."""
        return None if self._settings.certificate is not None else self._own.files.ca

    @property
    def url(self) -> str:
        return f"https://{self._server.host}:{self._server.port}" if self._server else ""

    @property
    def port(self) -> int:
        return self._server.port if self._server is not None else 0

    async def run(self, on_start: Callable[[str, int], None]) -> None:
        """Its address may come after us, its files may be mended: it is tried till it works."""
        why = ""
        while not self._is_stopped and self._server is None:
            try:
                await self.start()
            except OSError as error:
                if str(error) != why:
                    why = str(error)
                    self._log.error("the secure port cannot be opened yet: {}", why)
                await asyncio.sleep(AGAIN)
        on_start(self._settings.host, self.port)
        await self._rotate()

    async def start(self) -> None:
        """Raises OSError if the port cannot be bound or the certificate not be used."""
        await self._load()
        host, port = self._settings.host, self._settings.port
        self._server = await start_server(self.app, host, port, tls=self._tls)
        self._log.info("serves pods on {}", self.url)

    async def stop(self) -> None:
        """Idempotent."""
        self._is_stopped = True
        server, self._server = self._server, None
        if server is not None:
            await server.stop()

    async def _rotate(self) -> None:
        """New connections get the new certificate; those that are open go on."""
        files = self._files()
        async with Watch(files.chain, files.key) as watch:
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(watch.changed(), LOOK)
                await self.look()

    async def look(self) -> None:
        """At what may have changed; what cannot be used leaves the former certificate in use."""
        try:
            await self._load()
        except OSError as error:  # ssl.SSLError is one
            self._log.warning("the secure port keeps its former certificate: {}", error)

    def _files(self) -> Files:
        chain, key = self._settings.certificate, self._settings.key
        return self._own.files if chain is None or key is None else Files(chain, key)

    async def _load(self) -> None:
        """Raises OSError."""
        if self._settings.certificate is None:
            await asyncio.to_thread(self._own.ensure, self._wall())
        files = self._files()
        contents = await asyncio.to_thread(files.contents)
        if contents == self._loaded:
            return
        # First elsewhere: a pair that does not fit would leave the port without a certificate.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.chain, files.key)
        self._tls.load_cert_chain(files.chain, files.key)
        if self._loaded is not None:
            self._log.info("the secure port has a new certificate: {}", files.chain.name)
        self._loaded = contents

    async def _authenticate(self, request: web.Request) -> User | None:
        """None: 401. Raises ApiError 503."""
        token = token_of(request)
        return await self._reviews.user_of(token) if token else None
