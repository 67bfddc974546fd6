"""A YAML file as plain data that remembers on which line each value stands.

Stricter than YAML: one document, text keys, no duplicate keys, no tags beyond the plain ones.
Anchors and merge keys work; all problems of a file are found at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from configs.errors import ConfigAbsent, ConfigError, Problem

Location = tuple[str | int, ...]

_MAX_FILE = 1 << 20  # bytes; a site file has a few KB, so this is something else
_MAX_VALUES = 100_000  # values after anchors are expanded: stops "billion laughs"
_MERGE = "tag:yaml.org,2002:merge"
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str")}
# YAML sees a date in 2026-11-24 and a special key in "=": what is written is what is meant.
_TEXT_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("timestamp", "value")}


@dataclass
class Source:
    """What a file says. `line_of` answers for any location, with the nearest known one above it."""

    path: Path
    data: Any = None
    problems: list[Problem] = field(default_factory=list)
    lines: dict[Location, int] = field(default_factory=dict)
    raw: dict[Location, str] = field(default_factory=dict)  # scalars as written

    def line_of(self, location: Location) -> int:
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


def read(path: Path) -> Source:
    """Reads and parses; ConfigAbsent if there is no file, ConfigError if it cannot be read."""
    source = Source(path)
    text = _read_text(path)
    try:
        root = _compose(text)
        if root is None:
            source.problems.append(Problem(path, 1, "", "the file is empty"))
        else:
            _Builder(source).build_root(root)
    except yaml.YAMLError as error:
        source.problems.append(_syntax_problem(path, error))
    except RecursionError:
        source.problems.append(Problem(path, 1, "", "is nested too deeply"))
    return source


def _read_text(path: Path) -> str:
    try:
        if not path.is_file():
            raise FileNotFoundError if not path.exists() else OSError("not a regular file")
        with path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
        if len(content) > _MAX_FILE:
            raise OSError("larger than 1 MiB: this is no site file")
        return content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigAbsent(path) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError([Problem(path, 0, "", f"cannot be read: {reason}")]) from error


def _compose(text: str) -> yaml.Node | None:
    loader = yaml.SafeLoader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def _syntax_problem(path: Path, error: yaml.YAMLError) -> Problem:
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem(path, 1, "", f"is not YAML: {' '.join(str(error).split())}")
    mark = error.problem_mark or error.context_mark
    if error.problem == "but found another document":
        reason = "holds more than one document; write one site a file"
    else:
        reason = (
            f"is not YAML: {', '.join(part for part in (error.context, error.problem) if part)}"
        )
    return Problem(path, mark.line + 1 if mark else 1, "", reason)


class _Builder:
    """Turns YAML nodes into data, noting lines and problems in the source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._scalars = yaml.SafeLoader("")  # only for its constructors of plain scalars
        self._open: list[yaml.Node] = []  # nodes being built: an anchor inside itself never ends
        self._count = 0

    def build_root(self, root: yaml.Node) -> None:
        try:
            data = self._build(root, ())
        except _TooLarge:
            self._problem((), root, "expands to more than 100,000 values")
            return
        if isinstance(data, dict):
            self._source.data = data
        else:
            self._problem((), root, f"must be a mapping of keys; not {kind_of(data)}")

    def _build(self, node: yaml.Node, location: Location) -> Any:
        self._count += 1
        if self._count > _MAX_VALUES:
            raise _TooLarge
        if node in self._open:
            self._problem(location, node, "an anchor that holds itself")
            return None
        self._source.lines.setdefault(location, node.start_mark.line + 1)
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, location)
            if isinstance(node, yaml.SequenceNode):
                return [self._build(item, (*location, i)) for i, item in enumerate(node.value)]
            return self._scalar(node, location)
        finally:
            self._open.pop()

    def _scalar(self, node: yaml.Node, location: Location) -> Any:
        self._source.raw[location] = str(node.value)
        if node.tag in _TEXT_TAGS:
            return str(node.value)
        if node.tag not in _PLAIN_TAGS:
            self._problem(location, node, f"has a tag that site files do not know: {node.tag}")
            return None
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self._problem(location, node, f"{node.value!r} does not fit its tag")
            return None

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        result: dict[str, Any] = {}
        first_lines: dict[str, int] = {}
        for key_node, value_node in self._own_pairs(node, location):
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in first_lines:
                reason = f"is there twice; first on line {first_lines[key]}"
                self._problem((*location, key), key_node, reason)
                continue
            first_lines[key] = line
            self._source.lines[(*location, key)] = line
            result[key] = self._build(value_node, (*location, key))
        for key, value_node in self._merged_pairs(node, location):
            if key not in result:
                result[key] = self._build(value_node, (*location, key))
        return result

    def _own_pairs(
        self, node: yaml.MappingNode, location: Location
    ) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                continue
            if isinstance(key_node, yaml.ScalarNode):
                yield key_node, value_node
            else:
                self._problem(location, key_node, "a key must be plain text")

    def _merged_pairs(
        self, node: yaml.MappingNode, location: Location, depth: int = 0
    ) -> Iterator[tuple[str, yaml.Node]]:
        """Pairs that `<<` brings in, the strongest first."""
        for key_node, value_node in node.value:
            if key_node.tag != _MERGE:
                continue
            merged = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            for source in merged:
                if not isinstance(source, yaml.MappingNode) or depth > 10:
                    self._problem(location, key_node, "<< takes a mapping or a list of mappings")
                    continue
                yield from ((str(k.value), v) for k, v in source.value if k.tag != _MERGE)
                yield from self._merged_pairs(source, location, depth + 1)

    def _problem(self, location: Location, node: yaml.Node, reason: str) -> None:
        line = node.start_mark.line + 1
        self._source.problems.append(Problem(self._source.path, line, dotted(location), reason))


class _TooLarge(Exception):
    pass


def dotted(location: Location) -> str:
    """("nodes", 0, "name") -> "nodes[0].name"."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def kind_of(value: Any) -> str:
    """What people call it: "text", "a number", "a list" ..."""
    names: dict[type, str] = {
        type(None): "empty",
        bool: "true/false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "a mapping",
    }
    return names.get(type(value), type(value).__name__)
