"""Names, labels and annotations: what may be written where, with upstream's causes. Pure.

Sources: k8s.io/apimachinery/pkg/util/validation and pkg/api/validation.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from typing import Any

from actors.kube.status_errors import Cause

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")

_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.',"
    " and must start and end with an alphanumeric character (e.g. 'example.com', regex used for"
    " validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must"
    " start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for"
    " validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_LABEL_1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an"
    " alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123',"
    " regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_QUALIFIED_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end"
    " with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for"
    " validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.',"
    " and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or"
    " '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)

MAX_ANNOTATIONS = 256 * 1024  # bytes, all together

NameCheck = Callable[[str], str]
"""The fault of a name, "" if it is good."""


def dns_label(name: str) -> str:
    if len(name) > 63:
        return "must be no more than 63 characters"
    return "" if _LABEL.fullmatch(name) else _LABEL_TEXT


def dns_label_1035(name: str) -> str:
    if len(name) > 63:
        return "must be no more than 63 characters"
    return "" if _LABEL_1035.fullmatch(name) else _LABEL_1035_TEXT


def dns_subdomain(name: str) -> str:
    if len(name) > 253:
        return "must be no more than 253 characters"
    return "" if _SUBDOMAIN.fullmatch(name) else _SUBDOMAIN_TEXT


def path_segment(name: str) -> str:
    """The least that any name must be."""
    if name in (".", ".."):
        return f"may not be '{name}'"
    bad = next((char for char in "/%" if char in name), "")
    return f"may not contain '{bad}'" if bad else ""


def qualified(name: str) -> str:
    """A label's or annotation's key."""
    prefix, slash, rest = name.rpartition("/")
    if slash and (not prefix or (fault := dns_subdomain(prefix))):
        return f"prefix part {fault if prefix else 'must be non-empty'}"
    if not rest:
        return "name part must be non-empty"
    if len(rest) > 63:
        return "name part must be no more than 63 characters"
    return "" if _QUALIFIED.fullmatch(rest) else _QUALIFIED_TEXT


def label_value(value: str) -> str:
    if len(value) > 63:
        return "must be no more than 63 characters"
    return "" if not value or _QUALIFIED.fullmatch(value) else _LABEL_VALUE_TEXT


def invalid_value(field: str, value: Any, why: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else value
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {why}", field)


def required(field: str, why: str = "") -> Cause:
    return Cause("FieldValueRequired", "Required value" + (f": {why}" if why else ""), field)


def not_supported(field: str, value: Any, supported: tuple[str, ...]) -> Cause:
    listed = ", ".join(f'"{each}"' for each in supported)
    text = f'Unsupported value: "{value}": supported values: {listed}'
    return Cause("FieldValueNotSupported", text, field)


def forbidden(field: str, why: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {why}", field)


def immutable(field: str, value: Any) -> Cause:
    return invalid_value(field, value, "field is immutable")


def metadata_faults(metadata: dict[str, Any], check: NameCheck) -> Iterator[Cause]:
    name = metadata.get("name", "")
    if fault := (path_segment(name) or check(name)):
        yield invalid_value("metadata.name", name, fault)
    for key, value in metadata.get("labels", {}).items():
        if fault := qualified(key):
            yield invalid_value("metadata.labels", key, fault)
        if fault := label_value(value):
            yield invalid_value("metadata.labels", value, fault)
    yield from _annotation_faults(metadata.get("annotations", {}))
    for name in metadata.get("finalizers", ()):
        if fault := qualified(name):
            yield invalid_value("metadata.finalizers", name, fault)


def _annotation_faults(annotations: dict[str, str]) -> Iterator[Cause]:
    size = 0
    for key, value in annotations.items():
        size += len(key) + len(value)
        if fault := qualified(key.lower()):
            yield invalid_value("metadata.annotations", key, fault)
    if size > MAX_ANNOTATIONS:
        why = f"may not be more than {MAX_ANNOTATIONS} bytes"
        yield Cause("FieldValueTooLong", f"Too long: {why}", "metadata.annotations")


_SAFE = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words


def generate(base: str) -> str:
    """A name as `generateName` asks for it."""
    return base[: 63 - 5] + "".join(secrets.choice(_SAFE) for _ in range(5))
