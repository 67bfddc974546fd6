"""Conditions of a site file's rules: CEL (the Common Expression Language), as Kubernetes has it.

A condition is checked when the file is read: it must parse, know its variables and be true or
false. With the language's strings and optional extensions: `object.?metadata.annotations[?"a/b"]`.
The library is Google's cel-cpp; it is only loaded where a file has a condition.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

VARIABLES = {
    "object": "the Kubernetes object",
    "node": "this node's name",
    "pool": 'its pool, "" if it is in none',
    "component": "who asks, as his User-Agent begins",
}


class ConditionError(ValueError):
    """It does not compile (the text says where), or could not be told for one object."""


class Condition:
    """A compiled condition."""

    def __init__(self, text: str) -> None:
        """Raises ConditionError."""
        self.text = text
        self._expression = _compile(text)

    def holds(self, variables: Mapping[str, Any]) -> bool:
        """Raises ConditionError where the object lacks what is asked for (see CEL's `has`)."""
        try:
            value = self._expression.eval(data=variables).value()
        except Exception as error:  # it has none of its own; what it could not convert comes too
            raise ConditionError(_first_line(str(error))) from error
        if not isinstance(value, bool):
            raise ConditionError(_first_line(str(value)))
        return value


def check_condition(text: str) -> str:
    """The same text, for a schema. Raises ConditionError."""
    if text:
        _compile(text)
    return text


@cache
def _environment() -> Any:
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_optional, ext_strings

    text = cel.Type.STRING
    kinds = dict.fromkeys(VARIABLES, text) | {"object": cel.Type.Map(text, cel.Type.DYN)}
    extensions = [ext_strings.ExtStrings(), ext_optional.ExtOptional()]
    return cel.NewEnv(variables=kinds, extensions=extensions)


def _compile(text: str) -> Any:
    try:
        expression = _environment().compile(text)
    except RuntimeError as error:
        raise ConditionError(f"is no CEL: {_compile_error(str(error))}") from error
    kind = expression.return_type().name()
    if kind.lower() not in ("bool", "dyn"):
        raise ConditionError(f"must be true or false; not {kind.lower()}")
    return expression


def _compile_error(message: str) -> str:
    """The first of its errors: "line 1, column 5: undeclared reference to 'x'"."""
    line = _first_line(message).removeprefix("INVALID_ARGUMENT: ").removeprefix("ERROR: ")
    _, found, rest = line.partition("<input>:")
    place, _, reason = rest.partition(": ")
    row, _, column = place.partition(":")
    return f"line {row}, column {column}: {reason}" if found else line


def _first_line(message: str) -> str:
    return message.partition("\n")[0].removesuffix(" (in container '')")
