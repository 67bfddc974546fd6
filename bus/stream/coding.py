"""Bodies travel compressed, unseen by either end: what they hold is text, and the WAN is paid for.

Answers are compressed as one stream, flushed with every write: an event is not held back for the
next one, but takes few bytes where it resembles those before it. Both sides name what they do in
headers that only the other side sees.
"""

from __future__ import annotations

from bus import zstd
from bus.errors import DecodeError, StreamBroken
from bus.stream.core import Headers, Request

SMALL = 3000  # bytes; less goes in one frame, whose dictionary does better
TAKEN = ("Atoll-Coding", "zstd")  # of a request: the answer may be coded
CODED = ("Atoll-Coding", "zstd")  # of an answer: it is
_BODY = ("Atoll-Body-Coding", "zstd")  # of a request: its own body is
_OURS = frozenset({TAKEN[0].lower(), _BODY[0].lower()})

Unpacker = zstd.Unpacker


class Coder(zstd.Packer):
    """Of one answer."""


def without(headers: Headers) -> Headers:
    return tuple(pair for pair in headers if pair[0].lower() not in _OURS)


def bare(request: Request) -> Request:
    """As it was before `coded`."""
    return Request(request.method, request.path, without(request.headers), request.identity)


def coded(request: Request, body: bytes) -> tuple[Request, bytes]:
    """As it travels."""
    marks = [TAKEN]
    if len(body) >= SMALL and _value(request.headers, "content-encoding") is None:
        packed = zstd.compress(body)
        if len(packed) < len(body):
            body, marks = packed, [TAKEN, _BODY]
    headers = (*without(request.headers), *marks)
    return Request(request.method, request.path, headers, request.identity), body


def takes_coding(request: Request) -> bool:
    return TAKEN in request.headers


def is_body_coded(request: Request) -> bool:
    return _BODY in request.headers


def plain_body(body: bytes, limit: int) -> bytes:
    """Raises StreamBroken, also for one that is larger than `limit`."""
    try:
        return zstd.decompress(body, limit)
    except DecodeError as error:
        raise StreamBroken(f"the request's body: {error}") from error


def pays(headers: Headers) -> bool:
    """Whether an answer with these headers may shrink."""
    if _value(headers, "content-encoding") not in (None, "identity"):
        return False
    length = length_of(headers)
    return length is None or length >= SMALL


def length_of(headers: Headers) -> int | None:
    """Of the body, as its sender says; None where it does not say."""
    length = _value(headers, "content-length")
    return int(length) if length is not None and length.isdecimal() else None


def _value(headers: Headers, name: str) -> str | None:
    return next((value for key, value in headers if key.lower() == name), None)
