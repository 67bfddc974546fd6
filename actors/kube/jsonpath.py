"""The JSONPath of printer columns: `.a.b`, `[0]`, `[-1]`, `[*]`, `['a.b']`, `[?(@.a=="b")]`.

That is what CustomResourceDefinitions use in additionalPrinterColumns; what is beyond it (recursive
descent, unions, slices) is refused. Source: k8s.io/client-go/util/jsonpath.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

Step = Callable[[object], Iterator[object]]

_NAME = re.compile(r"\.((?:\\.|[^.\[\\])+)")
_QUOTED = re.compile(r"\[\s*(?:'([^']*)'|\"([^\"]*)\")\s*\]")
_INDEX = re.compile(r"\[\s*(-?\d+|\*)\s*\]")
_FILTER = re.compile(
    r"\[\?\(\s*@((?:[^=!<>\s])+)\s*(==|!=)\s*(?:'([^']*)'|\"([^\"]*)\"|(\S+?))\s*\)\]"
)
_EXISTS = re.compile(r"\[\?\(\s*@([^=!<>\s]+)\s*\)\]")


class PathError(ValueError):
    """The path is not of the kind that is understood here."""


@lru_cache(maxsize=1024)
def compile_path(path: str) -> Callable[[object], list[object]]:
    """A function from an object to the values at the path. Raises PathError."""
    steps = list(_steps(path.strip().removeprefix("{").removesuffix("}").removeprefix("$")))

    def find(value: object) -> list[object]:
        values = [value]
        for step in steps:
            values = [found for value in values for found in step(value)]
        return values

    return find


def _steps(path: str) -> Iterator[Step]:
    rest = path if path.startswith((".", "[")) or not path else f".{path}"
    while rest:
        for pattern, make in _PATTERNS:
            if match := pattern.match(rest):
                yield make(match)
                rest = rest[match.end() :]
                break
        else:
            raise PathError(f"cannot understand {rest!r} in JSONPath {path!r}")


def _member(name: str) -> Step:
    def step(value: object) -> Iterator[object]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _all(value: object) -> Iterator[object]:
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()


def _named(match: re.Match[str]) -> Step:
    name = re.sub(r"\\(.)", r"\1", match[1])
    return _all if name == "*" else _member(name)


def _quoted(match: re.Match[str]) -> Step:
    return _member(match[1] if match[1] is not None else match[2])


def _indexed(match: re.Match[str]) -> Step:
    if match[1] == "*":
        return _all
    index = int(match[1])

    def step(value: object) -> Iterator[object]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _filtered(match: re.Match[str]) -> Step:
    find = compile_path(match[1])
    wanted = next(text for text in match.groups()[2:] if text is not None)
    is_equal = match[2] == "=="

    def step(value: object) -> Iterator[object]:
        for item in value if isinstance(value, list) else ():
            found = find(item)
            if found and (_plain(found[0]) == wanted) is is_equal:
                yield item

    return step


def _existing(match: re.Match[str]) -> Step:
    find = compile_path(match[1])

    def step(value: object) -> Iterator[object]:
        yield from (item for item in (value if isinstance(value, list) else ()) if find(item))

    return step


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


_PATTERNS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Step]], ...] = (
    (_FILTER, _filtered),
    (_EXISTS, _existing),
    (_INDEX, _indexed),
    (_QUOTED, _quoted),
    (_NAME, _named),
)
