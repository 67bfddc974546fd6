"""Structural schemas of custom resources: prune, default, validate. Pure.

Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema. Rules in CEL
(`x-kubernetes-validations`) are not evaluated; whoever writes such a CRD is warned.
"""

from __future__ import annotations

import copy
import datetime
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from actors.kube.schemas import Schema
from actors.kube.status_errors import Cause
from cloud.apiserver.names import not_supported, required

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

Object = dict[str, Any]
PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
INT_OR_STRING = "x-kubernetes-int-or-string"
RULES = "x-kubernetes-validations"
HEAD = frozenset({"apiVersion", "kind", "metadata"})

# -- prune -----------------------------------------------------------------------------------------


def prune(
    schema: Schema, value: Any, unknown: list[str], path: str = "", head: bool = False
) -> Any:
    """A copy without members that the schema does not name; their paths are added to `unknown`."""
    if isinstance(value, list):
        items = schema.get("items")
        if not isinstance(items, dict):
            return value
        return [prune(items, item, unknown, f"{path}[{i}]") for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    head = head or bool(schema.get(EMBEDDED))
    kept: Object = {}
    for name, held in value.items():
        at = f"{path}.{name}" if path else name
        below = _below(schema, name)
        if below is not None:
            kept[name] = prune(below, held, unknown, at)
        elif schema.get(PRESERVE) or (head and name in HEAD):
            kept[name] = held
        else:
            unknown.append(at)
    return kept


def _below(schema: Schema, name: str) -> Schema | None:
    found = (schema.get("properties") or {}).get(name)
    if found is None:
        found = schema.get("additionalProperties")
        found = {PRESERVE: True} if found is True else found
    return found if isinstance(found, dict) else None


# -- default ---------------------------------------------------------------------------------------


def apply_defaults(schema: Schema, value: Any) -> None:
    """Fills in what the schema has defaults for, in place, wherever the parent is there."""
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for item in value:
                apply_defaults(items, item)
    elif isinstance(value, dict):
        for name, below in (schema.get("properties") or {}).items():
            if "default" in below and _is_absent(below, value, name):
                value[name] = copy.deepcopy(below["default"])
        for name, held in value.items():
            if (below := _below(schema, name)) is not None:
                apply_defaults(below, held)


def _is_absent(schema: Schema, value: Object, name: str) -> bool:
    return name not in value or (value[name] is None and not schema.get("nullable"))


# -- validate --------------------------------------------------------------------------------------


class Validator:
    """Checks objects against one structural schema."""

    def __init__(self, schema: Schema) -> None:
        import jsonschema  # only where there are custom resources: it is slow to import

        formats = jsonschema.FormatChecker(formats=())
        for name, check in FORMATS.items():
            formats.checks(name, raises=ValueError)(check)
        # OpenAPI v3.0 schemas are those of draft 4: exclusiveMinimum is a boolean.
        self._validator: Any = jsonschema.Draft4Validator(
            as_json_schema(schema), format_checker=formats
        )

    def faults(self, obj: Object) -> Iterator[Cause]:
        errors = sorted(self._validator.iter_errors(obj), key=lambda e: [str(p) for p in e.path])
        for error in errors:
            yield from _causes(error)


def as_json_schema(schema: Any) -> Any:
    """The same rules in plain JSON schema: `nullable` and int-or-string spelt out."""
    if isinstance(schema, list):
        return [as_json_schema(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {
        name: _converted(name, value)
        for name, value in schema.items()
        if not name.startswith("x-") and name not in ("nullable", "default", "description")
    }
    if schema.get(INT_OR_STRING):
        plain["type"] = ["integer", "string"]
    if "pattern" in plain and not _is_regex(plain["pattern"]):
        del plain["pattern"]  # Go's dialect beyond Python's: nothing is refused for it
    if not schema.get("nullable"):
        return plain
    return {"anyOf": [{"type": "null"}, plain]}


def _converted(name: str, value: Any) -> Any:
    if name in ("properties", "patternProperties", "definitions") and isinstance(value, dict):
        return {member: as_json_schema(below) for member, below in value.items()}
    if name in ("items", "additionalProperties", "allOf", "anyOf", "oneOf", "not"):
        return as_json_schema(value)
    return value


def _is_regex(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _path(parts: Sequence[Any]) -> str:
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, dict):
        return '"object"'
    return '"array"' if isinstance(value, list) else "null" if value is None else str(value)


def _type_name(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    names = {"str": "string", "dict": "object", "list": "array"}
    return names.get(type(value).__name__, "null")


def _causes(error: ValidationError) -> Iterator[Cause]:
    path, value, wanted = _path(list(error.absolute_path)), error.instance, error.validator_value
    match error.validator:
        case "required":
            missing = [n for n in wanted if n not in value and f"'{n}'" in error.message]
            for name in missing[:1]:
                yield required(f"{path}.{name}" if path else name)
        case "type":
            kinds = wanted if isinstance(wanted, str) else ",".join(wanted)
            given = _type_name(value)
            text = f'Invalid value: "{given}": {path} in body must be of type {kinds}: "{given}"'
            yield Cause("FieldValueTypeInvalid", text, path)
        case "enum":
            yield not_supported(path, value, tuple(map(str, wanted)))
        case "maxLength":
            text = f"Too long: may not be more than {wanted} bytes"
            yield Cause("FieldValueTooLong", text, path)
        case "maxItems":
            text = f"Too many: {len(value)}: must have at most {wanted} items"
            yield Cause("FieldValueTooMany", text, path)
        case "anyOf" if error.context:  # nullable: what the other branch says
            yield from _of_nullable(error)
        case other:
            template = _TEXTS.get(str(other))
            why = template.format(wanted) if template else f"is not valid: {error.message}"
            text = f"Invalid value: {_shown(value)}: {path} in body {why}"
            yield Cause("FieldValueInvalid", text, path)


def _of_nullable(error: ValidationError) -> Iterator[Cause]:
    branches = error.validator_value
    if len(branches) == 2 and branches[0] == {"type": "null"}:
        for below in error.context:
            if below.schema_path[0] == 1:
                yield from _causes(below)
        return
    path = _path(list(error.absolute_path))
    text = f'Invalid value: {_shown(error.instance)}: "{path}" must validate at least one schema'
    yield Cause("FieldValueInvalid", f"{text} (anyOf)", path)


_TEXTS = {
    "maximum": "should be less than or equal to {}",
    "minimum": "should be greater than or equal to {}",
    "pattern": "should match '{}'",
    "minLength": "should be at least {} chars long",
    "minItems": "should have at least {} items",
    "maxProperties": "should have at most {} properties",
    "minProperties": "should have at least {} properties",
    "multipleOf": "should be a multiple of {}",
    "uniqueItems": "shouldn't contain duplicates",
    "format": "must be of type {}",
}

# -- formats: those that Kubernetes checks and that are not just documentation ---------------------


def _if_text(check: Callable[[str], object]) -> Callable[[object], bool]:
    def checked(value: object) -> bool:
        if isinstance(value, str):
            check(value)
        return True

    return checked


FORMATS: Mapping[str, Callable[[object], bool]] = {
    "date-time": _if_text(datetime.datetime.fromisoformat),
    "date": _if_text(datetime.date.fromisoformat),
    "ipv4": _if_text(ipaddress.IPv4Address),
    "ipv6": _if_text(ipaddress.IPv6Address),
    "cidr": _if_text(lambda text: ipaddress.ip_network(text, strict=False)),
}


def has_rules(schema: Any) -> bool:
    """Whether CEL rules stand anywhere in it."""
    if isinstance(schema, dict):
        return RULES in schema or any(map(has_rules, schema.values()))
    return isinstance(schema, list) and any(map(has_rules, schema))
