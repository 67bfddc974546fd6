"""YAML as a request's body: the JSON subset, as Kubernetes reads it."""

from __future__ import annotations

from typing import Any

import yaml

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """Dates stay text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}


def from_yaml(text: bytes) -> object:
    """Raises ValueError for what is no single YAML document, and for aliases.

    A few bytes of aliases may stand for gigabytes of JSON; kubectl resolves them on its side.
    """
    try:
        if b"*" in text and any(isinstance(e, yaml.AliasEvent) for e in yaml.parse(text, _Loader)):
            raise ValueError("YAML aliases are not taken here")
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
