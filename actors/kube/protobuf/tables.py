"""The notation in which field tables are written, and the tables as read from it.

    Probe: 1 *handler ProbeHandler, 2 initialDelaySeconds int32,
      7 terminationGracePeriodSeconds int64!
    ConfigMap: 1 metadata meta.ObjectMeta, 2 data {str}, 3 binaryData {bytes}, 4 immutable bool!

Each field has its number, its name in JSON and its type: a scalar of `SCALARS`, or a message of the
same group or (`meta.`) of another. `[T]` is a list, `{T}` a map from strings. `!` after a scalar: a
zero is a value and is told (Go has a pointer, or no `omitempty`); else it is how Go sends what is
not there. `*` before the name: in JSON its members are those of the parent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

SCALARS = frozenset({"str", "bytes", "raw", "bool", "int32", "int64"})
"""As in protobuf; `bytes` are base64 in JSON, `raw` are for who converts the message."""


class Many(Enum):
    ONE = "one"
    LIST = "list"
    MAP = "map"


@dataclass(frozen=True, slots=True)
class Field:
    number: int
    name: str
    type: str  # a scalar, or "group.Message"
    many: Many = Many.ONE
    tells_zero: bool = False
    is_inline: bool = False

    @property
    def is_scalar(self) -> bool:
        return self.type in SCALARS


@dataclass(frozen=True, slots=True)
class Message:
    name: str  # "core.Pod"
    fields: Mapping[int, Field] = field(default_factory=dict)


_MESSAGE = re.compile(r"^(\w+):(.*(?:\n .*)*)", re.MULTILINE)
_FIELD = re.compile(r"(\d+) (\*?)(\w+) ([\[{]?)([\w.]+)([\]}]?)(!?)")
_MANY = {("", ""): Many.ONE, ("[", "]"): Many.LIST, ("{", "}"): Many.MAP}


def read_tables(group: str, text: str) -> dict[str, Message]:
    """By name with the group before it. Raises ValueError for what is not the notation."""
    found = {}
    for name, rest in _MESSAGE.findall(text):
        fields = [_field(group, each) for each in " ".join(rest.split()).split(", ") if each]
        found[f"{group}.{name}"] = Message(
            f"{group}.{name}", {each.number: each for each in fields}
        )
    return found


def _field(group: str, text: str) -> Field:
    match = _FIELD.fullmatch(text)
    if match is None:
        raise ValueError(f"not a field: {text!r}")
    number, inline, name, opening, type_, closing, zero = match.groups()
    if type_ not in SCALARS and "." not in type_:
        type_ = f"{group}.{type_}"
    return Field(int(number), name, type_, _MANY[opening, closing], bool(zero), bool(inline))
