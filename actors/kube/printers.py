"""The columns that kubectl users know, for built-in resources.

Source: kubernetes/pkg/printers/internalversion/printers.go. `Name` is always the first cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from actors.kube.resource import Column

Object = dict[str, Any]
Cells = Callable[[Object, float], list[Any]]


class Printer(NamedTuple):
    """`columns` without Name."""

    columns: tuple[Column, ...]
    cells: Cells


PRINTERS: dict[tuple[str, str], Printer] = {}
