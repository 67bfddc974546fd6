"""A site as plain data, and as the text of a file that says it in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from configs.schema import SECRET, AnySiteFile

HIDDEN = "(hidden)"


def effective(site: AnySiteFile) -> dict[str, Any]:
    """Every key with its value; a secret mapping keeps its values but not its keys."""
    data: dict[str, Any] = site.model_dump(mode="json", by_alias=True)
    _hide(site, data)
    return {key: data[key] for key in ("version", "kind", *data)}


def as_yaml(site: Mapping[str, Any]) -> str:
    """The text of a site file, keys in their order."""
    text: str = yaml.safe_dump(dict(site), sort_keys=False, allow_unicode=True)
    return text


def _hide(section: BaseModel, data: dict[str, Any]) -> None:
    for name, field in type(section).model_fields.items():
        key, value = field.alias or name, getattr(section, name)
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get(SECRET):
            data[key] = {f"{HIDDEN} {i}": v for i, v in enumerate(data[key].values(), 1)}
        elif isinstance(value, BaseModel):
            _hide(value, data[key])
