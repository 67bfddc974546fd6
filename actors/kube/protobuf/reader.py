"""From a message's bytes to its JSON, by the tables. Pure.

As Go would write that object in JSON: empty text, zeros and false are left out where Go leaves them
out, times are RFC 3339, bytes are base64, and broken UTF-8 (kubelets cut long messages anywhere)
becomes U+FFFD. The depth is bounded by the tables: no message contains itself.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

from actors.kube.protobuf import wire
from actors.kube.protobuf.errors import NotKnown, Undecodable
from actors.kube.protobuf.tables import Field, Many, Message
from actors.kube.protobuf.values import CONVERT

Object = dict[str, Any]
_INT32 = range(-(1 << 31), 1 << 31)
_INTEGERS = ("bool", "int32", "int64")
_ZEROS: Mapping[str, Any] = {"str": "", "bytes": "", "raw": b"", "bool": False}


class Reader:
    """Reads one body. `most` fields in all: more cost seconds, and no real object has them."""

    def __init__(self, messages: Mapping[str, Message], most: int) -> None:
        self._messages = messages
        self._left = most

    def read(self, name: str, data: bytes) -> Any:
        """The message's JSON, None if it stands for nothing. Raises NotKnown, Undecodable."""
        found: Object = {}
        self._read_into(found, self._messages[name], data)
        convert = CONVERT.get(name)
        return convert(found) if convert else found

    def _read_into(self, found: Object, message: Message, data: bytes) -> None:
        for number, value in self._pairs(data):
            field = message.fields.get(number)
            if field is None:
                raise NotKnown(f"field {number} of {message.name}")
            try:
                self._take(found, field, value)
            except _WrongWire:
                raise Undecodable(
                    f"field {number} of {message.name} has the wrong wire type"
                ) from None

    def _pairs(self, data: bytes) -> Iterator[tuple[int, wire.Value]]:
        for pair in wire.pairs(data):
            self._count()
            yield pair

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Undecodable("too many fields")

    def _take(self, found: Object, field: Field, value: wire.Value) -> None:
        if field.many is Many.LIST:
            found.setdefault(field.name, []).extend(self._items(field, value))
        elif field.many is Many.MAP:
            key, held = self._entry(field, _bytes(value))
            found.setdefault(field.name, {})[key] = held
        elif field.is_scalar:
            _put(found, field.name, _scalar(field.type, value), field.tells_zero)
        elif field.type in CONVERT:
            _put(found, field.name, self.read(field.type, _bytes(value)), True)
        else:  # sent twice, the two are merged
            into = found if field.is_inline else found.setdefault(field.name, {})
            self._read_into(into, self._messages[field.type], _bytes(value))

    def _items(self, field: Field, value: wire.Value) -> list[Any]:
        if field.type in _INTEGERS and isinstance(value, bytes):
            return self._packed(field.type, value)
        return [self._value(field.type, value)]

    def _packed(self, type_: str, data: bytes) -> list[Any]:
        numbers, at = [], 0
        while at < len(data):
            self._count()
            number, at = wire.varint(data, at)
            numbers.append(_scalar(type_, number))
        return numbers

    def _value(self, type_: str, value: wire.Value) -> Any:
        if type_ in self._messages:
            return self.read(type_, _bytes(value))
        return _scalar(type_, value)

    def _entry(self, field: Field, data: bytes) -> tuple[str, Any]:
        """A map's entry is a message of key and value, and either may be left out."""
        key, held = "", None
        for number, value in self._pairs(data):
            if number == 1:
                key = str(_scalar("str", value))
            elif number == 2:
                held = self._value(field.type, value)
            else:
                raise NotKnown(f"field {number} of an entry of {field.name}")
        if held is None:
            held = _ZEROS[field.type] if field.is_scalar else self.read(field.type, b"")
        return key, held


class _WrongWire(Exception):
    pass


def _put(found: Object, name: str, value: Any, tells_zero: bool) -> None:
    """The last one sent counts."""
    if value is None or not (value or tells_zero):
        found.pop(name, None)
    else:
        found[name] = value


def _scalar(type_: str, value: wire.Value) -> Any:
    if type_ not in _INTEGERS:
        data = _bytes(value)
        if type_ == "str":
            return data.decode(errors="replace")
        return b64encode(data).decode() if type_ == "bytes" else data
    if isinstance(value, bytes):
        raise _WrongWire
    if type_ == "bool":
        return value != 0
    number = wire.signed(value)
    if type_ == "int32" and number not in _INT32:
        raise Undecodable(f"{number} is no 32-bit number")
    return number


def _bytes(value: wire.Value) -> bytes:
    if isinstance(value, int):
        raise _WrongWire
    return value
