"""What is said in a session: requests sealed whole, answers as records. Pure.

What is sealed does not shrink any more, so bodies are compressed before, as the streams of own
links do it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bus.borrow.crypto import OVERHEAD, BadProof, Seals, derive
from bus.borrow.handshake import ID_BYTES, Session
from bus.envelope import Bounds, pack, unpack
from bus.errors import DecodeError
from bus.stream import Request, coding
from bus.stream.core import Headers
from bus.stream.frames import pairs

_ASK, _HEAD = "borrow-ask", "borrow-head"
_BOUNDS = Bounds(max_bytes=4 << 20)
MAX_BODY = 3 << 20  # bytes; as upstream
SEALED = ("Content-Encoding", "atoll-sealed")  # of what travels: nothing to be had by compressing
_NUMBER_BYTES = 8
_PREFIX = ID_BYTES + _NUMBER_BYTES
_LENGTH_BYTES = 4
RECORD = 32 * 1024  # bytes of body in one record; a receiver holds one until it is whole
_LONGEST = 256 * 1024  # a head's record has all headers
_MORE, _LAST = b"\0", b"\1"  # as which a record is sealed


@dataclass(frozen=True)
class Opened:
    request: Request
    body: bytes
    takes_coding: bool  # so the answer may go compressed


def seal_ask(session: Session, number: int, request: Request, body: bytes) -> bytes:
    """`number` must be new to the session. Raises MessageTooLarge."""
    request, body = coding.coded(request, body)
    plain = pack(
        _ASK,
        [
            request.method,
            request.path,
            [list(pair) for pair in request.headers],
            request.identity,
            body,
        ],
        _BOUNDS,
    )
    prefix = session.id + number.to_bytes(_NUMBER_BYTES, "big")
    return prefix + Seals(_key(session, b"ask", number)).seal(plain, prefix)


def ask_place(raw: bytes) -> tuple[bytes, int]:
    """(session's id, number) that it says it has. Raises BadProof."""
    if len(raw) < _PREFIX + OVERHEAD:
        raise BadProof("too short for a sealed request")
    return raw[:ID_BYTES], int.from_bytes(raw[ID_BYTES:_PREFIX], "big")


def open_ask(session: Session, raw: bytes) -> Opened:
    """Raises BadProof, StreamBroken. That its number is new is up to the caller."""
    _, number = ask_place(raw)
    plain = Seals(_key(session, b"ask", number)).open(raw[_PREFIX:], raw[:_PREFIX])
    method, path, headers, identity, body = _parts(plain, _ASK, str, str, list, str, bytes)
    request = Request(method, path, _pairs(headers), identity)
    if coding.is_body_coded(request):
        body = coding.plain_body(body, MAX_BODY)
    return Opened(coding.bare(request), body, coding.takes_coding(request))


class SealRecords:
    """An answer's head and body, as its writer sends them."""

    def __init__(self, session: Session, number: int) -> None:
        self._seals = Seals(_key(session, b"answer", number))
        self._coder: coding.Coder | None = None

    def head(self, status: int, headers: Headers, *, compress: bool) -> bytes:
        """`compress`: the asker takes it."""
        if compress and coding.pays(headers):
            self._coder = coding.Coder()
            headers = (*headers, coding.CODED)
        return self._record(pack(_HEAD, [status, [list(pair) for pair in headers]]), _MORE)

    def data(self, data: bytes) -> Iterator[bytes]:
        chunk = data if self._coder is None or not data else self._coder.pack(data)
        for start in range(0, len(chunk), RECORD):
            yield self._record(chunk[start : start + RECORD], _MORE)

    def end(self) -> bytes:
        return self._record(b"", _LAST)

    def _record(self, plain: bytes, what: bytes) -> bytes:
        sealed = what + self._seals.seal(plain, what)
        return len(sealed).to_bytes(_LENGTH_BYTES, "big") + sealed


class OpenRecords:
    """The same at its reader: fed with whatever bytes come, gives what was sealed, in order."""

    def __init__(self, session: Session, number: int) -> None:
        self.is_whole = False  # the end came
        self._seals = Seals(_key(session, b"answer", number))
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Raises BadProof."""
        self._rest += data
        while (record := self._cut()) is not None:
            if self.is_whole:
                raise BadProof("more after the end")
            what, sealed = record[:1], record[1:]
            plain = self._seals.open(sealed, what)
            self.is_whole = what == _LAST
            if plain:
                yield plain

    def _cut(self) -> bytes | None:
        if len(self._rest) < _LENGTH_BYTES:
            return None
        length = int.from_bytes(self._rest[:_LENGTH_BYTES], "big")
        if not OVERHEAD < length <= _LONGEST:
            raise BadProof("not a record")
        end = _LENGTH_BYTES + length
        if len(self._rest) < end:
            return None
        record, self._rest = self._rest[_LENGTH_BYTES:end], self._rest[end:]
        return record


class Unsealed:
    """An answer out of its records: the head first, then the body."""

    def __init__(self, session: Session, number: int) -> None:
        self._records = OpenRecords(session, number)
        self._unpacker: coding.Unpacker | None = None
        self.head: tuple[int, Headers] | None = None

    @property
    def is_whole(self) -> bool:
        return self._records.is_whole

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Parts of the body. Raises BadProof, DecodeError."""
        for plain in self._records.feed(data):
            if self.head is None:
                self._begin(plain)
            elif self._unpacker is None:
                yield plain
            else:
                yield from self._unpacker.unpack(plain)

    def _begin(self, plain: bytes) -> None:
        status, parts = _parts(plain, _HEAD, int, list)
        headers = _pairs(parts)
        self._unpacker = coding.Unpacker() if coding.CODED in headers else None
        self.head = status, coding.without(headers)


def _key(session: Session, purpose: bytes, number: int) -> bytes:
    """For one direction of one request; so a place in it is never sealed twice."""
    return derive(session.secret, purpose + number.to_bytes(_NUMBER_BYTES, "big"))


def _pairs(headers: list[Any]) -> Headers:
    try:
        return pairs(headers)
    except DecodeError as error:
        raise BadProof(str(error)) from error


def _parts(raw: bytes, kind: str, *shape: type) -> list[Any]:
    try:
        body = unpack(raw, {kind}, _BOUNDS).body
    except DecodeError as error:
        raise BadProof(str(error)) from error
    if not isinstance(body, list) or [type(part) for part in body] != list(shape):
        raise BadProof(f"{kind}: parts of other types")
    return body
