"""The schema for editors: JSON Schema 2020-12, one file for all kinds of site."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from configs.load import KINDS
from configs.messages import section_of


def json_schema() -> dict[str, Any]:
    """One schema with `oneOf` by `kind`; defaults are written as a file would write them."""
    models = [(model, "validation") for model in KINDS.values()]
    references, shared = models_json_schema(models)  # type: ignore[arg-type]
    definitions: dict[str, Any] = shared["$defs"]
    for model in KINDS.values():
        _complete(model, definitions)
    for model in KINDS.values():
        # In code the version has a default; a file must say which schema it was written for.
        definitions[model.__name__]["required"].insert(0, "version")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Atoll site file",
        "type": "object",
        "required": ["kind"],
        "oneOf": [references[(model, "validation")] for model in KINDS.values()],
        "$defs": definitions,
    }


def _complete(model: type[BaseModel], definitions: dict[str, Any]) -> None:
    properties = definitions[model.__name__]["properties"]
    for name, field in model.model_fields.items():
        written = properties[field.alias or name]
        written.pop("title", None)  # it only repeats the key
        if not field.is_required():
            written["default"] = _default(model, name)
        section = section_of(field.annotation)
        if section and "default" not in definitions[section.__name__]:
            _complete(section, definitions)


def _default(model: type[BaseModel], name: str) -> Any:
    default = model.model_fields[name].get_default(call_default_factory=True)
    holder = model.model_construct(**{name: default})
    dumped = holder.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return next(iter(dumped.values()))
