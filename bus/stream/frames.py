"""What travels: envelopes with positional bodies. What comes in is checked before it is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from bus import zstd
from bus.envelope import pack, unpack
from bus.errors import DecodeError
from bus.stream.core import Request
from bus.stream.dictionary import DICTIONARY

OPEN, DATA, CREDIT, CANCEL, PING = "open", "data", "credit", "cancel", "ping"
ACCEPT, HEAD, FAIL, PONG = "accept", "head", "fail", "pong"
TO_SERVER = frozenset({DATA, CREDIT, CANCEL, PING})
TO_CLIENT = frozenset({ACCEPT, HEAD, DATA, CREDIT, FAIL, PONG})
MANY = "many"  # of its own kind: frames that travel together, in their order
GONE = -1  # in a pong: the server has no such stream

_SHAPES: dict[str, tuple[type, ...]] = {
    OPEN: (str, str, list, str, bytes, bool, int),  # request, body's beginning, is it all, credit
    ACCEPT: (str, int),  # who took it, credit for the body
    HEAD: (int, int, list),  # sequence, status, headers
    DATA: (int, bytes, bool),  # sequence, body, is it the last
    CREDIT: (int,),  # total
    FAIL: (str,),
    CANCEL: (),
    PING: (list,),  # of counts; none: just say that you live
    PONG: (list,),
}


class Count(NamedTuple):
    """How far a stream has come, as one side sees it."""

    stream: int
    frames: int  # sent; or GONE
    granted: int


class Frame(NamedTuple):
    kind: str
    body: list[Any]


_SQUEEZED = b"\xc1"  # no msgpack begins so: a delta to the dictionary follows
_SQUEEZABLE = range(64, 4096)  # bytes; smaller ones gain nothing, larger bodies come compressed
_TEXTUAL = frozenset({OPEN, HEAD, DATA, PING, PONG})


def encode(kind: str, *body: Any) -> bytes:
    """Raises MessageTooLarge."""
    raw = pack(kind, list(body))
    return _squeezed(raw) if kind in _TEXTUAL else raw


def together(unsqueezed: Sequence[bytes]) -> bytes:
    """One message of frames that `plain` made. Raises MessageTooLarge."""
    if len(unsqueezed) == 1:
        return _squeezed(unsqueezed[0])
    return _squeezed(pack(MANY, list(unsqueezed)))


def plain(kind: str, *body: Any) -> bytes:
    """For `together`. Raises MessageTooLarge."""
    return pack(kind, list(body))


def _squeezed(raw: bytes) -> bytes:
    if len(raw) not in _SQUEEZABLE:
        return raw
    delta = zstd.diff(DICTIONARY, raw)
    return _SQUEEZED + delta if delta is not None and len(delta) + 1 < len(raw) else raw


def _plain(raw: bytes) -> bytes:
    """Raises DecodeError."""
    if not raw.startswith(_SQUEEZED):
        return raw
    return zstd.patch(DICTIONARY, raw[len(_SQUEEZED) :], _SQUEEZABLE.stop)


def decode(raw: bytes, kinds: frozenset[str]) -> Frame:
    """Raises DecodeError."""
    return _frame(*unpack(_plain(raw), kinds), raw)


def decode_all(raw: bytes, kinds: frozenset[str]) -> list[Frame]:
    """Of a message that may hold several. Raises DecodeError."""
    kind, body = unpack(_plain(raw), kinds | {MANY})
    if kind != MANY:
        return [_frame(kind, body, raw)]
    if not isinstance(body, list) or not all(type(part) is bytes for part in body):
        raise DecodeError("many: parts that are no frames", raw)
    return [_frame(*unpack(part, kinds), raw) for part in body]


def _frame(kind: str, body: Any, raw: bytes) -> Frame:
    shape = _SHAPES[kind]
    if not isinstance(body, list) or len(body) != len(shape):
        raise DecodeError(f"{kind}: not {len(shape)} parts", raw)
    if any(type(part) is not wanted for part, wanted in zip(body, shape, strict=True)):
        raise DecodeError(f"{kind}: parts of other types", raw)
    return Frame(kind, body)


def encode_open(request: Request, body: bytes, is_all: bool, window: int) -> bytes:
    return encode(
        OPEN,
        request.method,
        request.path,
        [list(pair) for pair in request.headers],
        request.identity,
        body,
        is_all,
        window,
    )


def decode_open(raw: bytes) -> tuple[Request, bytes, bool, int]:
    """(request, the body's beginning, whether it is all, credit for the answer)"""
    method, path, headers, identity, body, is_all, window = decode(raw, frozenset({OPEN})).body
    return Request(method, path, pairs(headers, raw), identity), body, is_all, window


def pairs(headers: list[Any], raw: bytes = b"") -> tuple[tuple[str, str], ...]:
    """Raises DecodeError."""
    if not all(isinstance(h, list) and [type(part) for part in h] == [str, str] for h in headers):
        raise DecodeError("headers that are not pairs of strings", raw)
    return tuple((name, value) for name, value in headers)


def counts(body: list[Any], raw: bytes = b"") -> list[Count]:
    """Raises DecodeError."""
    if not all(isinstance(c, list) and [type(part) for part in c] == [int] * 3 for c in body):
        raise DecodeError("counts that are not three numbers", raw)
    return [Count(*count) for count in body]
