"""List and watch options from the query, validated with upstream's rules and words. Pure.

Source: ValidateListOptions in k8s.io/apimachinery/pkg/apis/meta/internalversion/validation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from multidict import MultiMapping

from actors.kube.serve.routes import is_true
from actors.kube.status_errors import Cause, bad_request, invalid


class Match(StrEnum):
    UNSET = ""
    EXACT = "Exact"
    NOT_OLDER = "NotOlderThan"


@dataclass(frozen=True, slots=True)
class ListOptions:
    """`version` is None where resourceVersion was not given."""

    version: int | None = None
    match: Match = Match.UNSET
    limit: int = 0
    continue_: str = ""
    labels: str = ""
    fields: str = ""
    timeout: int = 0  # seconds; 0: not given
    bookmarks: bool = False
    initial_events: bool | None = None


def parse_options(query: MultiMapping[str], is_watch: bool) -> ListOptions:
    """Raises ApiError 400 or 422."""
    rv = query.get("resourceVersion", "")
    causes = list(_watch_faults(query, rv) if is_watch else _list_faults(query, rv))
    if causes:
        raise invalid("meta.k8s.io", "ListOptions", "", causes)
    initial = query.get("sendInitialEvents")
    return ListOptions(
        version=parse_version(rv),
        match=Match(query.get("resourceVersionMatch", "")),
        limit=_integer(query, "limit"),
        continue_=query.get("continue", ""),
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        timeout=_integer(query, "timeoutSeconds"),
        bookmarks=is_true(query.get("allowWatchBookmarks", "false")),
        initial_events=None if initial is None else is_true(initial),
    )


def parse_version(text: str) -> int | None:
    """A resourceVersion parameter. Raises ApiError 400."""
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,20}", text) or int(text) >= 2**64:
        why = "value out of range" if re.fullmatch(r"[0-9]+", text) else "invalid syntax"
        raise bad_request(
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": {why}'
        )
    return int(text)


def _integer(query: MultiMapping[str], name: str) -> int:
    text = query.get(name, "")
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


_FORBIDDEN = "FieldValueForbidden"
_NOT_SUPPORTED = "FieldValueNotSupported"
_MATCH = "resourceVersionMatch"


def _forbidden(field: str, why: str) -> Cause:
    return Cause(_FORBIDDEN, f"Forbidden: {why}", field)


def _not_supported(match: str, supported: str) -> Cause:
    text = f'Unsupported value: "{match}": supported values: {supported}'
    return Cause(_NOT_SUPPORTED, text, _MATCH)


def _list_faults(query: MultiMapping[str], rv: str) -> list[Cause]:
    match = query.get(_MATCH, "")
    causes: list[Cause] = []
    if match:
        if not rv:
            why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
            causes.append(_forbidden(_MATCH, why))
        if query.get("continue"):
            why = "resourceVersionMatch is forbidden when continue is provided"
            causes.append(_forbidden(_MATCH, why))
        if match not in ("Exact", "NotOlderThan"):
            causes.append(_not_supported(match, '"", "Exact", "NotOlderThan"'))
        if match == "Exact" and rv == "0":
            why = 'resourceVersionMatch "Exact" is forbidden for resourceVersion "0"'
            causes.append(_forbidden(_MATCH, why))
    if "sendInitialEvents" in query:
        causes.append(_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    return causes


def _watch_faults(query: MultiMapping[str], rv: str) -> list[Cause]:
    match = query.get(_MATCH, "")
    causes: list[Cause] = []
    if "sendInitialEvents" in query:
        if not match:
            why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            causes.append(_forbidden(_MATCH, why))
        elif match != "NotOlderThan":
            causes.append(_not_supported(match, '"NotOlderThan"'))
    elif match:
        why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        causes.append(_forbidden(_MATCH, why))
    if query.get("continue"):
        causes.append(_forbidden("continue", "continue is forbidden for watch"))
    return causes


def check_continue(options: ListOptions) -> None:
    """Raises ApiError 400: a token carries its own version."""
    if options.continue_ and options.version:
        raise bad_request("specifying resource version is not allowed when using continue")
