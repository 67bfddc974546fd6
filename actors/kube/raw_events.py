"""Raw JSON of lists and watches, taken apart without decoding the objects. Pure.

What comes out is canonical: `kind` and `apiVersion` first (items of a list lack them),
`managedFields` left out (half of many objects, and of no use to those who only read).
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from actors.kube.client_errors import Refused, refused
from actors.kube.resource import key_of
from bus.feed.types import Change, Item

LINE_LIMIT = 64 << 20  # bytes; no object comes near, so what does is no watch


class Garbled(Exception):
    """Bytes that are not what the API promises; the text shows their beginning."""


class EventType(StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    ERROR = "ERROR"


class Bookmark(NamedTuple):
    version: int
    ends_initial: bool  # the end mark of a watch-list


class Page(NamedTuple):
    """One page of a list."""

    objects: list[tuple[str, Item]]
    version: int
    continue_: str


class _Event(msgspec.Struct):
    type: EventType
    object: msgspec.Raw


class _Metadata(msgspec.Struct):
    version: str = msgspec.field(name="resourceVersion", default="")
    annotations: dict[str, str] | None = None
    continue_: str = msgspec.field(name="continue", default="")


class _Marked(msgspec.Struct):
    metadata: _Metadata


class _List(msgspec.Struct):
    metadata: _Metadata
    items: list[dict[str, msgspec.Raw]] | None = None  # Go writes null for none


_event = msgspec.json.Decoder(_Event)
_marked = msgspec.json.Decoder(_Marked)
_list = msgspec.json.Decoder(_List)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode

_END_MARK = "k8s.io/initial-events-end"
_NOTHING = msgspec.Raw(b'""')


class Lines:
    """Cuts a byte stream into lines."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes. Raises Garbled when a line grows beyond all reason."""
        *whole, rest = chunk.split(b"\n")
        if whole:
            whole[0] = b"".join((*self._parts, whole[0]))
            self._parts, self._size = [], 0
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
        if self._size > LINE_LIMIT:
            raise Garbled(f"a line of over {LINE_LIMIT} bytes")
        return [line for line in whole if line.strip()]

    @property
    def is_cut(self) -> bool:
        """Whether the stream stopped in the middle of a line."""
        return self._size > 0


class Shape:
    """How one resource's objects look: what a list's items lack."""

    def __init__(self, api_version: str, kind: str) -> None:
        self._kind = msgspec.Raw(_encode(kind))
        self._api_version = msgspec.Raw(_encode(api_version))

    def event(self, line: bytes) -> Change | Bookmark | Refused:
        """One line of a watch; an ERROR event's `Status` as Refused. Raises Garbled."""
        try:
            event = _event.decode(line)
            if event.type is EventType.BOOKMARK:
                return _bookmark(event.object)
            if event.type is EventType.ERROR:
                return refused(0, bytes(event.object))
            key, item = self._object(_members.decode(event.object))
        except (msgspec.DecodeError, ValueError, KeyError) as error:
            raise _garbled("watch event", line, error) from error
        return Change(key, item.version, None if event.type is EventType.DELETED else item.data)

    def page(self, body: bytes) -> Page:
        """One page of a list. Raises Garbled."""
        try:
            listed = _list.decode(body)
            objects = [self._object(members) for members in listed.items or ()]
            return Page(objects, int(listed.metadata.version), listed.metadata.continue_)
        except (msgspec.DecodeError, ValueError, KeyError) as error:
            raise _garbled("list", body, error) from error

    def _object(self, members: dict[str, msgspec.Raw]) -> tuple[str, Item]:
        metadata = _members.decode(members["metadata"])
        if metadata.pop("managedFields", None) is not None:
            members["metadata"] = msgspec.Raw(_encode(metadata))
        kind = members.pop("kind", self._kind)
        api_version = members.pop("apiVersion", self._api_version)
        data = _encode({"kind": kind, "apiVersion": api_version, **members})
        key = key_of(
            _text.decode(metadata.get("namespace", _NOTHING)), _text.decode(metadata["name"])
        )
        return key, Item(int(_text.decode(metadata["resourceVersion"])), data)


def list_version(body: bytes) -> int:
    """The resourceVersion of any list, or of one object. Raises Garbled."""
    try:
        return int(_marked.decode(body).metadata.version)
    except (msgspec.DecodeError, ValueError) as error:
        raise _garbled("list", body, error) from error


class _Identified(msgspec.Struct):
    class Metadata(msgspec.Struct):
        uid: str = ""

    metadata: Metadata


def uid_of(body: bytes) -> str:
    """An object's uid. Raises Garbled."""
    try:
        return msgspec.json.decode(body, type=_Identified).metadata.uid
    except msgspec.DecodeError as error:
        raise _garbled("object", body, error) from error


def _bookmark(raw: msgspec.Raw) -> Bookmark:
    metadata = _marked.decode(raw).metadata
    return Bookmark(int(metadata.version), (metadata.annotations or {}).get(_END_MARK) == "true")


_SHOWN = 80


def _garbled(what: str, raw: bytes, error: Exception) -> Garbled:
    start = bytes(raw[:_SHOWN]).decode(errors="replace")
    return Garbled(f"{what} cannot be read ({error}): {start}")
