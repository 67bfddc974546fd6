"""What a mirror says: one watch of the API server, as differences to what the other side holds.

A mirror's request is a collection's path, its body an `Ask`; the answer is a stream of frames, each
with its length before it. Frames and changes are those of feeds: sealed, compressed, an object as a
delta wherever its former bytes are known on both sides.

    Began, Changed ..., Listed      a list: only what the asker does not have, then what is gone
    Changed                         events of the watch, in order; without any, the version moved
    Live | Stale                    whether the source's silence now means that nothing happens
    Failed                          an error of the API server; the stream ends
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bus.errors import DecodeError
from bus.feed.ops import Op, check_ops, is_count
from bus.feed.settings import FeedSettings
from bus.feed.wire import Kind, open_sealed, seal

HEADER = "Atoll-Mirror"  # of the request: "1"
MEDIA = "application/vnd.atoll.mirror"
WENT_BACK = "WentBack"  # reason of a 410: what was read from there says nothing about now
SETTINGS = FeedSettings(max_object=8 << 20)
_LENGTH = struct.Struct(">I")
_SHOWN = 64
_ASK_BYTES = 16 << 20  # of one, uncompressed: some 300,000 objects
_EACH = 12  # bytes of a version and of msgpack's own, about


@dataclass(frozen=True, slots=True)
class Ask:
    """What the asker has. `version` 0: list and tell the difference to `have`.

    Equal versions mean equal objects within one history only: who knows that the history went back
    must not say what he has.
    """

    version: int
    api_version: str  # of the collection's objects
    kind: str
    have: Mapping[str, int] | None = None  # key -> resourceVersion


@dataclass(frozen=True, slots=True)
class Began:
    """A list follows."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Within a list: what the asker lacks, `version` is 0. Else the set is at `version` after."""

    version: int
    ops: Sequence[Op]


@dataclass(frozen=True, slots=True)
class Listed:
    """The list's end: as of `version`, and without `gone`, the set is whole."""

    version: int
    gone: Sequence[str]


@dataclass(frozen=True, slots=True)
class Live:
    """A watch is open and goes on from the last version."""


@dataclass(frozen=True, slots=True)
class Stale:
    """It is not, for the time being; nothing that happens now is told before Live or a list."""

    why: str


@dataclass(frozen=True, slots=True)
class Failed:
    code: int
    body: bytes  # a Status, as JSON


Said = Began | Changed | Listed | Live | Stale | Failed
_KINDS: tuple[type[Said], ...] = (Began, Changed, Listed, Live, Stale, Failed)


def fits(ask: Ask) -> bool:
    """Whether it is not too much to say at once; without `have` it always is not."""
    return sum(len(key) + _EACH for key in ask.have or ()) < _ASK_BYTES


def encode_ask(ask: Ask) -> bytes:
    have = None if ask.have is None else dict(sorted(ask.have.items()))  # neighbours look alike
    content = [ask.version, ask.api_version, ask.kind, have]
    return seal(Kind.MIRROR_ASK, content, SETTINGS)


def decode_ask(raw: bytes) -> Ask:
    """Raises DecodeError."""
    content = open_sealed(Kind.MIRROR_ASK, raw, FeedSettings(max_object=_ASK_BYTES))
    if not isinstance(content, list) or len(content) != 4:
        raise DecodeError("not what a mirror asks", raw)
    version, api_version, kind, have = content
    if not (is_count(version) and isinstance(api_version, str) and isinstance(kind, str)):
        raise DecodeError("not what a mirror asks", raw)
    if have is not None and not _is_have(have):
        raise DecodeError("what it has is no map of versions", raw)
    return Ask(version, api_version, kind, have)


def _is_have(have: Any) -> bool:
    return isinstance(have, dict) and all(
        isinstance(key, str) and is_count(version) for key, version in have.items()
    )


def encode(said: Said) -> bytes:
    body: list[Any] = []
    match said:
        case Changed(version, ops):
            body = [version, list(ops)]
        case Listed(version, gone):
            body = [version, list(gone)]
        case Stale(why):
            body = [why]
        case Failed(code, status):
            body = [code, status]
    sealed = seal(Kind.MIRROR, [_KINDS.index(type(said)), *body], SETTINGS)
    return _LENGTH.pack(len(sealed)) + sealed


class Frames:
    """Cuts a byte stream into what was said."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, chunk: bytes) -> Iterable[Said]:
        """Raises DecodeError."""
        self._held += chunk
        found: list[Said] = []
        while (frame := self._next()) is not None:
            found.append(_decoded(frame))
        return found

    def _next(self) -> bytes | None:
        if len(self._held) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._held)
        if length > SETTINGS.content_limit:
            raise DecodeError(f"a frame of {length} bytes", bytes(self._held[:_SHOWN]))
        end = _LENGTH.size + length
        if len(self._held) < end:
            return None
        frame = bytes(self._held[_LENGTH.size : end])
        del self._held[:end]
        return frame


def _decoded(raw: bytes) -> Said:
    content = open_sealed(Kind.MIRROR, raw, SETTINGS)
    try:
        number, *body = content
        return _checked(number, body, raw)
    except (TypeError, ValueError) as error:
        raise DecodeError("not what a mirror says", raw) from error


def _checked(number: Any, body: list[Any], raw: bytes) -> Said:
    """Raises DecodeError, ValueError."""
    if type(number) is not int or not 0 <= number < len(_KINDS):
        raise DecodeError("a frame of an unknown kind", raw)
    kind = _KINDS[number]
    if kind is Began or kind is Live:
        return kind(*body)  # without a body
    if kind is Stale:
        (why,) = body
        return Stale(str(why))
    first, second = body
    if not is_count(first):
        raise DecodeError("a version that is none", raw)
    if kind is Changed:
        return Changed(first, check_ops(second, raw, SETTINGS.content_limit))
    if kind is Listed and isinstance(second, list) and all(isinstance(k, str) for k in second):
        return Listed(first, second)
    if kind is Failed and isinstance(second, bytes):
        return Failed(first, second)
    raise DecodeError("not what a mirror says", raw)
