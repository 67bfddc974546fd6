"""What pydantic found, in the words of a site file: what is wrong and what would be right."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from configs.source import Location, Source, dotted, kind_of

_EXPECTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "path_type": "a path",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
}


def explain(source: Source, model: type[BaseModel], detail: Mapping[str, Any]) -> str:
    """The reason of one pydantic error, for `model` filled from `source`."""
    kind, location, value = detail["type"], detail["loc"], detail["input"]
    if kind == "extra_forbidden":
        return _unknown_key(model, location)
    if kind == "missing":
        return "missing"
    if kind == "literal_error":
        return _literal(detail["ctx"]["expected"], value)
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    if kind in _EXPECTED:
        return f"must be {_EXPECTED[kind]}; not {_shown(source, location, value)}"
    return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}"


def _unknown_key(model: type[BaseModel], location: Location) -> str:
    *parents, key = location
    siblings = list(_keys(_model_at(model, tuple(parents))))
    close = get_close_matches(str(key), siblings, n=1)
    if close:
        return f'unknown key; did you mean "{close[0]}"?'
    elsewhere = [path for path in _all_paths(model) if path.rpartition(".")[2] == key]
    if elsewhere:
        return f'unknown key; did you mean "{elsewhere[0]}"?'
    return f"unknown key; known here: {', '.join(siblings)}"


def _literal(expected: str, value: Any) -> str:
    choices = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
    one_of = "one of " if len(choices) > 1 else ""
    reason = f"must be {one_of}{', '.join(choices)}; not {value!r}"
    close = get_close_matches(str(value), choices, n=1)
    return f'{reason}; did you mean "{close[0]}"?' if close else reason


def _shown(source: Source, location: Location, value: Any) -> str:
    if isinstance(value, bool | int | float) and source.raw.get(location):
        return f"{kind_of(value)} ({source.raw[location]}); quote it if it is meant as text"
    return f"{kind_of(value)} ({value!r})" if isinstance(value, str) else kind_of(value)


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel]:
    for part in location:
        if isinstance(part, int):
            continue
        field = next(f for n, f in model.model_fields.items() if part in (n, f.alias))
        model = section_of(field.annotation) or model
    return model


def _keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield field.alias or name


def _all_paths(model: type[BaseModel], prefix: Location = ()) -> Iterator[str]:
    for name, field in model.model_fields.items():
        path = (*prefix, field.alias or name)
        yield dotted(path)
        section = section_of(field.annotation)
        if section:
            yield from _all_paths(section, path)


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section a field holds: itself, optional, or in a list; None for plain values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, tuple):
        found = (section_of(argument) for argument in get_args(annotation))
        return next((section for section in found if section), None)
    return None
