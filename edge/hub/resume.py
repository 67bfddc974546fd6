"""How a watch goes on behind its last event when its stream broke. Pure but for `refusal`."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from bus.stream import Answering

_REFUSAL_BYTES = 64 * 1024
_INITIAL = ("sendInitialEvents", "resourceVersionMatch")


class _Meta(msgspec.Struct):
    version: str = msgspec.field(name="resourceVersion", default="")


class _Row(msgspec.Struct):
    object: _Object | None = None


class _Object(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)
    rows: list[_Row] = []  # of a Table


class _Event(msgspec.Struct):
    type: str
    object: _Object


class Resume:
    """Feed it all that comes; it gives out whole events, and keeps the last one's version.

    Only JSON can be resumed: of protobuf nothing is understood here, it is handed on as it comes.
    While initial objects come (in no order of versions) there is no place to go on from.
    """

    def __init__(self, path: str, content_type: str) -> None:
        split = urlsplit(path)
        self._path = split.path
        self._query = parse_qsl(split.query, keep_blank_values=True)
        self._is_json = content_type.partition(";")[0].strip() == "application/json"
        asked = dict(self._query)
        is_initial = asked.get("sendInitialEvents", "") not in ("", "false", "0")
        version = asked.get("resourceVersion", "")
        self._version = version if version != "0" and not is_initial else ""
        self._partial = b""
        self._has_delivered = False

    @property
    def is_possible(self) -> bool:
        return self._is_json and (bool(self._version) or not self._has_delivered)

    def feed(self, chunk: bytes) -> bytes:
        if not self._is_json:
            return chunk
        whole, newline, rest = chunk.rpartition(b"\n")
        if not newline:
            self._partial += chunk
            return b""
        whole = self._partial + whole + newline
        self._partial = rest
        self._has_delivered = True
        self._note(whole)
        return whole

    def rest(self) -> bytes:
        """What came behind the last whole event, at the end."""
        rest, self._partial = self._partial, b""
        return rest

    def _note(self, lines: bytes) -> None:
        """The last event's version. Initial objects end with the first event of another type."""
        found = lines.splitlines()
        for line in found[-1:] if self._version else found:
            try:
                event = msgspec.json.decode(line, type=_Event)
            except msgspec.DecodeError:
                continue
            if event.type == "ERROR" or (event.type == "ADDED" and not self._version):
                continue
            self._version = _version(event.object) or self._version

    def path(self) -> str:
        """To ask for what comes next."""
        self._partial = b""
        if not self._version:
            return f"{self._path}?{urlencode(self._query)}"
        drop = ("resourceVersion", *_INITIAL)
        kept = [(name, value) for name, value in self._query if name not in drop]
        return f"{self._path}?{urlencode([*kept, ('resourceVersion', self._version)])}"

    async def refusal(self, answer: Answering) -> bytes:
        """The API server's no (410, say) as the event that ends a watch."""
        body = b""
        async for chunk in answer.chunks():
            body += chunk
            if len(body) > _REFUSAL_BYTES:
                break
        try:
            status = msgspec.Raw(msgspec.json.encode(msgspec.json.decode(body)))
        except msgspec.DecodeError:
            gone = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired"}
            status = msgspec.Raw(msgspec.json.encode(gone | {"code": 410}))
        return msgspec.json.encode({"type": "ERROR", "object": status}) + b"\n"


def version_of(body: bytes) -> int:
    """Of an object as JSON; 0 if it says none, or is something else."""
    try:
        return int(_version(msgspec.json.decode(body, type=_Object)))
    except (msgspec.DecodeError, ValueError):
        return 0


def _version(found: _Object) -> str:
    if found.metadata.version or not found.rows or found.rows[0].object is None:
        return found.metadata.version
    return found.rows[0].object.metadata.version
