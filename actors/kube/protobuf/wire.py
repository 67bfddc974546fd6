"""The protobuf wire format: a message's bytes to (field number, value) pairs. Pure.

Source: the encoding chapter of the protobuf documentation. Groups and fixed-width numbers are left
out: no Kubernetes type that is read here has them.
"""

from __future__ import annotations

from collections.abc import Iterator

from actors.kube.protobuf.errors import Undecodable

Value = int | bytes
"""A varint (unsigned, up to 64 bits) or something with a length."""

_VARINT, _LENGTH = 0, 2
_VARINT_LIMIT = 10  # bytes


def pairs(data: bytes) -> Iterator[tuple[int, Value]]:
    """The fields as sent, in that order. Raises Undecodable."""
    at, end = 0, len(data)
    while at < end:
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        if not number:
            raise Undecodable("a field number of 0")
        if wire == _VARINT:
            value, at = varint(data, at)
            yield number, value
        elif wire == _LENGTH:
            length, at = varint(data, at)
            if length > end - at:
                raise Undecodable(f"field {number} is cut off")
            yield number, data[at : at + length]
            at += length
        else:
            raise Undecodable(f"field {number} has wire type {wire}")


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends. Raises Undecodable."""
    value = 0
    for index, byte in enumerate(data[at : at + _VARINT_LIMIT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if value >> 64:
                break
            return value, at + index + 1
    raise Undecodable("a number is cut off, or longer than 64 bits")


def signed(value: int) -> int:
    """A varint as int64: negative numbers are sent as their two's complement."""
    return value - (1 << 64) if value >> 63 else value
