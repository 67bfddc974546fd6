"""Sending bodies: small ones at once, long lists in pieces, compressed where that is accepted.

The loop is never held for long: pieces are joined a few hundred KB at a time, and compressed in a
thread (zlib lets go of the interpreter meanwhile).
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from aiohttp import web

from actors.kube.serve.api import ServeSettings
from actors.kube.serve.negotiate import parse_accept

GROUP = 256 * 1024  # bytes joined at a time
NO_CACHE = "no-cache, private"


def headers_for(content_type: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    return {"Content-Type": content_type, "Cache-Control": NO_CACHE, **(extra or {})}


async def send(
    request: web.Request,
    body: bytes,
    settings: ServeSettings,
    *,
    status: int = 200,
    headers: Mapping[str, str],
) -> web.StreamResponse:
    """A body that is already whole."""
    if len(body) > settings.gzip_from:
        return await send_pieces(request, [body], settings, status=status, headers=headers)
    return web.Response(body=body, status=status, headers=headers)


async def send_pieces(
    request: web.Request,
    pieces: Sequence[bytes],
    settings: ServeSettings,
    *,
    status: int = 200,
    headers: Mapping[str, str],
) -> web.StreamResponse:
    """The pieces one after the other, as one body."""
    size = sum(map(len, pieces))
    is_gzip = size > settings.gzip_from and accepts_gzip(request)
    if size <= settings.gzip_from:
        return web.Response(body=b"".join(pieces), status=status, headers=headers)
    response = web.StreamResponse(status=status, headers=headers)
    if is_gzip:
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
    else:
        response.content_length = size
    await response.prepare(request)
    if request.method != "HEAD":
        await (_write_gzip(response, pieces) if is_gzip else _write_plain(response, pieces))
    await response.write_eof()
    return response


def accepts_gzip(request: web.Request) -> bool:
    encodings = parse_accept(request.headers.get("Accept-Encoding", ""))
    return any(clause.media_type == "gzip" for clause in encodings)


async def _write_plain(response: web.StreamResponse, pieces: Iterable[bytes]) -> None:
    for group in _grouped(pieces):
        await response.write(group)


async def _write_gzip(response: web.StreamResponse, pieces: Iterable[bytes]) -> None:
    """Level 1, as upstream: the CPU is dearer than the last few percent."""
    loop = asyncio.get_running_loop()
    compressor = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    for group in _grouped(pieces):
        if packed := await loop.run_in_executor(None, compressor.compress, group):
            await response.write(packed)
    await response.write(await loop.run_in_executor(None, compressor.flush))


def _grouped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    group: list[bytes] = []
    size = 0
    for piece in pieces:
        group.append(piece)
        size += len(piece)
        if size >= GROUP:
            yield b"".join(group)
            group, size = [], 0
    if group:
        yield b"".join(group)


class Breather:
    """Lets others run during long loops: `await pause()` each round, it yields every few ms."""

    def __init__(self, slice_: float = 0.005) -> None:
        self._loop = asyncio.get_running_loop()
        self._slice = slice_
        self._until = self._loop.time() + slice_

    @property
    def is_due(self) -> bool:
        return self._loop.time() >= self._until

    async def pause(self) -> None:
        await asyncio.sleep(0)
        self._until = self._loop.time() + self._slice
