"""The listener: TLS with a certificate of the hub's own, bearer tokens, rights."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from actors.kube.serve.api import READ_VERBS, Hooks, ReadBackend, ServeSettings, User
from actors.kube.serve.app import build_app
from actors.kube.serve.certificate import own_certificate
from actors.kube.serve.routes import parse_request
from actors.kube.serve.server import Server, start_server
from edge.hub.secure.reviews import Reviews

if TYPE_CHECKING:
    from aiohttp import web
    from loguru import Logger

CA = "hub-ca.crt"  # in the node's state directory: what pods trust
LOOK = 24 * 3600.0  # seconds between looks at the certificate's end
_SCHEME = "bearer "


class SecurePort:
    """`start` before use, `stop` after it."""

    def __init__(
        self,
        backend: ReadBackend,
        hooks: Hooks,
        serve: ServeSettings,
        reviews: Reviews,
        state: Path,
        wall: Callable[[], float],
        log: Logger,
    ) -> None:
        self.reviews = reviews
        self.app = build_app(backend, replace(hooks, authenticate=self._authenticate), serve)
        self._state = state
        self._wall = wall
        self._log = log
        self._tls: ssl.SSLContext | None = None
        self._server: Server | None = None
        self._certificate = b""

    @property
    def ca(self) -> Path:
        return self._state / CA

    @property
    def url(self) -> str:
        return f"https://{self._server.host}:{self._server.port}" if self._server else ""

    async def start(self, host: str, port: int) -> None:
        """Raises OSError if the port cannot be bound."""
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        await asyncio.to_thread(self._load, host)
        self._server = await start_server(self.app, host, port, tls=self._tls)
        self._log.info("serves pods on {}", self.url)

    async def stop(self) -> None:
        """Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop()

    async def rotate(self, host: str) -> None:
        """New connections get the new certificate; those that are open go on."""
        while True:
            await asyncio.sleep(LOOK)
            await asyncio.to_thread(self._load, host)

    def _load(self, host: str) -> None:
        directory = self._state / "secure"
        directory.mkdir(mode=0o700, exist_ok=True)
        certificate, key = own_certificate(directory, host, self._wall())
        content = certificate.read_bytes()
        if content == self._certificate:
            return
        if self._certificate:
            self._log.info("the secure port has a new certificate: {}", self.ca)
        self._certificate = content
        self.ca.write_bytes(content)
        assert self._tls is not None
        self._tls.load_cert_chain(certificate, key)

    async def _authenticate(self, request: web.Request) -> User | None:
        """None: 401. Raises ApiError: 403 for what the user may not read, 503."""
        header = request.headers.get("Authorization", "")
        if not header.lower().startswith(_SCHEME):
            return None
        user = await self.reviews.user_of(header[len(_SCHEME) :].strip())
        info = parse_request(request.method, request.path, request.query)
        # What is not read from here the API server itself decides, by the same token.
        if user is not None and info.is_resource and info.verb in READ_VERBS:
            await self.reviews.check(user, info)
        return user
