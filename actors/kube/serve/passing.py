"""Answers that come from elsewhere: handed to our client as they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from aiohttp import web

from actors.kube.status_errors import ApiError
from bus.errors import BusError

Headers = tuple[tuple[str, str], ...]

UNREACHABLE = "Atoll-Unreachable"
"""Of an answer that is not the API server's, because it could not be asked: `UNDONE`, or `UNKNOWN`
where it may have done what was asked."""
UNDONE = "undone"
UNKNOWN = "unknown"


def header_of(headers: Headers, name: str) -> str:
    """The first of this name, "" if there is none."""
    wanted = name.lower()
    return next((value for each, value in headers if each.lower() == wanted), "")


_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def end_to_end(headers: Iterable[tuple[str, str]]) -> Headers:
    """Without those that are about one connection (RFC 9110, 7.6.1)."""
    held = list(headers)
    named = [value for name, value in held if name.lower() == "connection"]
    drop = _HOP_BY_HOP | {each.strip().lower() for value in named for each in value.split(",")}
    return tuple((name, value) for name, value in held if name.lower() not in drop)


_TRUSTED = ("impersonate-", "x-remote-")


def check_unclaimed(names: Iterable[str]) -> None:
    """Raises ApiError 403 for a request whose headers name a user, as only front proxies may."""
    for name in names:
        if name.lower().startswith(_TRUSTED):
            raise ApiError(403, "Forbidden", f"{name}: nodes may not impersonate")


async def pass_answer(
    request: web.Request, status: int, headers: Headers, chunks: AsyncGenerator[bytes]
) -> web.StreamResponse:
    """What breaks off is broken off here, too: the client must not take it for the end."""
    response = web.StreamResponse(status=status)
    for name, value in headers:
        response.headers.add(name, value)
    await response.prepare(request)
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                await response.write(chunk)
    except BusError:
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response
