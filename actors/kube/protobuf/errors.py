"""What can be wrong with a protobuf body."""

from __future__ import annotations


class Undecodable(Exception):
    """Truncated, garbage, or beyond the bounds."""


class NotKnown(Exception):
    """Maybe all right, but nothing here can tell: a kind, an encoding or a field without a table.

    A field that is not known is told, not skipped: the object would silently lose it.
    """
