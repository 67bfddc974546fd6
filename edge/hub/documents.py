"""Discovery, OpenAPI and /version: the API server's while it can be asked, then what was kept."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from actors.kube.serve.bodies import send
from actors.kube.serve.reads import warn
from edge.hub.uplink import Unreachable, Uplink, Whole

if TYPE_CHECKING:
    from aiohttp import web

    from actors.kube.serve.api import RequestInfo, ServeSettings
    from edge.cache import DiskCache

_KEPT = re.compile(r"/?|/(api|apis|openapi|version)(/.*)?")
_MOST = 8 << 20  # bytes; the largest known, /openapi/v2 of a cluster with many CRDs, has 5 MB
_NOT_OURS = frozenset({"content-length", "content-encoding", "transfer-encoding", "date", "server"})

Own = Callable[["web.Request", "RequestInfo"], Awaitable["web.StreamResponse | None"]]
"""What the hub says of what it serves itself; None where that is nothing."""


class Documents:
    """Answers requests for what is no resource.

    A client that starts while the cloud is gone finds what any client of this node was told before
    (OpenYurt #880, #1044: CoreDNS could not start), with a Warning that says so.
    """

    def __init__(
        self, uplink: Uplink, disk: DiskCache, settings: ServeSettings, wall: Callable[[], float]
    ) -> None:
        self._uplink = uplink
        self._disk = disk
        self._settings = settings
        self._wall = wall

    async def __call__(
        self, request: web.Request, info: RequestInfo, own: Own
    ) -> web.StreamResponse:
        """Raises ApiError."""
        if request.method not in ("GET", "HEAD") or not _KEPT.fullmatch(info.path.rstrip("/")):
            return await self._uplink(request, info)
        path, variant = _name(request)
        if "hash" in request.query and (held := await self._kept(request, path, variant)):
            return held
        try:
            whole = await self._uplink.whole(request, b"")
        except Unreachable as error:
            return await self._instead(request, info, own, error)
        if request.method == "GET" and whole.status == 200 and len(whole.body) <= _MOST:
            self._disk.put_document(path, _media(whole), whole.body, variant=variant)
        return await respond(request, whole, self._settings)

    async def ask(self, path: str, accept: str) -> bytes | None:
        """For the hub itself: see `edge.hub.kinds.Ask`."""
        try:
            whole = await self._uplink.ask(path, accept)
        except Unreachable:
            held = await self._disk.document(path, variant=accept)
            return held.body if held is not None else None
        if whole.status != 200:
            return None
        self._disk.put_document(path, _media(whole), whole.body, variant=accept)
        return whole.body

    async def _instead(
        self, request: web.Request, info: RequestInfo, own: Own, error: Unreachable
    ) -> web.StreamResponse:
        kept = await self._kept(request, *_name(request), warned=True)
        answer = kept or await own(request, info)
        if answer is None:
            raise error
        return answer

    async def _kept(
        self, request: web.Request, path: str, variant: str, warned: bool = False
    ) -> web.StreamResponse | None:
        held = await self._disk.document(path, variant=variant)
        if held is None:
            return None
        headers = {"Content-Type": held.media, "Vary": "Accept"}
        if "hash" in request.query:  # the address is of this content only
            etag = f'"{request.query["hash"]}"'
            headers |= {"ETag": etag, "Cache-Control": "public, immutable"}
            if etag in request.headers.get("If-None-Match", ""):
                return await send(request, b"", self._settings, status=304, headers=headers)
        if warned:
            age = max(0.0, self._wall() - held.at)
            headers["Warning"] = warn(f"kept at the edge, {age:.0f} s ago")
        return await send(request, held.body, self._settings, headers=headers)


async def respond(
    request: web.Request, whole: Whole, settings: ServeSettings
) -> web.StreamResponse:
    """The API server's answer as it is, compressed for our client where that is due."""
    headers = {name: value for name, value in whole.headers if name.lower() not in _NOT_OURS}
    return await send(request, whole.body, settings, status=whole.status, headers=headers)


def _name(request: web.Request) -> tuple[str, str]:
    """Path and variant of a document; what else a client sends (`timeout`) makes no other one."""
    path = request.path.rstrip("/") or "/"
    if "hash" in request.query:
        path = f"{path}?hash={request.query['hash']}"
    return path, request.headers.get("Accept", "")


def _media(whole: Whole) -> str:
    found = (value for name, value in whole.headers if name.lower() == "content-type")
    return next(found, "application/json")
