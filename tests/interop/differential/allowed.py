"""Which differences are rows of `edge.hub.DIFFERENCES`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from tests.interop.differential.compare import LIST_VERSION
from tests.interop.differential.sides import Found

Rule = Callable[[Found, Sequence[Found]], bool]
"""Of one difference, and all that were found in the same step."""


def _managed_fields(found: Found, _: Sequence[Found]) -> bool:
    return re.search(r"\.metadata\.managedFields$", found.difference.where) is not None


def _list_version(found: Found, _: Sequence[Found]) -> bool:
    """The hub's is not newer: it cannot have what is not there."""
    sides = (found.difference.api_server, found.difference.hub)
    known = [LIST_VERSION.fullmatch(each) if isinstance(each, str) else None for each in sides]
    numbers = [int(match[1]) for match in known if match is not None]
    return len(numbers) == 2 and numbers[1] <= numbers[0]


def _history(found: Found, others: Sequence[Found]) -> bool:
    """Only for who asks with a version that he was given."""
    codes = {".body.code", ".events.0.object.code"}
    is_expired = any(o.difference.where in codes and o.difference.hub == 410 for o in others)
    return is_expired and "resourceVersion={" in found.step.path


def _identity(found: Found, _: Sequence[Found]) -> bool:
    is_review = found.step.path.partition("?")[0].endswith("/selfsubjectreviews")
    return is_review and found.difference.where.startswith(".body.status.userInfo")


RULES: Mapping[str, Rule] = {
    "managedFields": _managed_fields,
    "list version": _list_version,
    "history": _history,
    "identity": _identity,
}


def row_of(found: Found, others: Sequence[Found]) -> str:
    """The name of the row that allows it, "" if there is none."""
    return next((name for name, allows in RULES.items() if allows(found, others)), "")
