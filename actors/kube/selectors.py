"""Label and field selectors: parsed once per request, evaluated against what `FieldReader` reads.

Grammar and texts of errors: k8s.io/apimachinery/pkg/labels and .../fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class SelectorError(ValueError):
    """The selector cannot be understood; the text is for the client (400)."""


class Op(Enum):
    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    ABSENT = "!"
    GREATER = ">"
    LESS = "<"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a label selector."""

    key: str
    op: Op
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        if self.op is Op.NOT_IN:
            return value is None or value not in self.values
        if self.op is Op.ABSENT:
            return value is None
        if value is None:
            return False
        if self.op is Op.IN:
            return value in self.values
        return self.op is Op.EXISTS or self._compares(value)

    def _compares(self, value: str) -> bool:
        (bound,) = self.values
        if not re.fullmatch(r"-?\d+", value):
            return False
        return int(value) > int(bound) if self.op is Op.GREATER else int(value) < int(bound)


LabelSelector = tuple[Requirement, ...]

_TOKEN = re.compile(r"\s*(==|!=|=|!|>|<|\(|\)|,|[^\s=!<>(),]+)")
_SYMBOLS = frozenset({"==", "!=", "=", "!", ">", "<", "(", ")", ","})
_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def parse_labels(text: str) -> LabelSelector:
    """Raises SelectorError."""
    return _LabelParser(text).parse()


class _LabelParser:
    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)
        self._at = 0

    def parse(self) -> LabelSelector:
        terms: list[Requirement] = []
        if not self._tokens:
            return ()
        while True:
            terms.append(self._term())
            if self._at == len(self._tokens):
                return tuple(terms)
            self._expect(",")
            if self._at == len(self._tokens):
                raise _unexpected("", "identifier after ','")

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _expect(self, symbol: str) -> None:
        if (token := self._next()) != symbol:
            raise _unexpected(token, f"'{symbol}'")

    def _word(self, expected: str) -> str:
        token = self._next()
        if not token or token in _SYMBOLS:
            raise _unexpected(token, expected)
        return token

    def _term(self) -> Requirement:
        if self._peek() == "!":
            self._next()
            return Requirement(_checked_key(self._word("identifier")), Op.ABSENT)
        key = _checked_key(self._word("!, identifier, or 'end of string'"))
        if self._peek() in ("", ","):
            return Requirement(key, Op.EXISTS)
        return self._comparison(key, self._next())

    def _comparison(self, key: str, operator: str) -> Requirement:
        if operator in ("=", "==", "!="):
            op = Op.NOT_IN if operator == "!=" else Op.IN
            return Requirement(key, op, frozenset({_checked_value(key, self._value())}))
        if operator in ("in", "notin"):
            return Requirement(key, Op(operator), self._set(key))
        if operator in (">", "<"):
            return Requirement(key, Op(operator), frozenset({_checked_number(self._value())}))
        raise _unexpected(operator, "in, notin, =, ==, !=, gt, lt")

    def _value(self) -> str:
        """A single value; nothing before a comma or the end means the empty one."""
        if self._peek() in ("", ","):
            return ""
        return self._word("identifier")

    def _set(self, key: str) -> frozenset[str]:
        self._expect("(")
        values = {_checked_value(key, self._set_value())}
        while (token := self._next()) == ",":
            values.add(_checked_value(key, self._set_value()))
        if token != ")":
            raise _unexpected(token, "',' or ')'")
        return frozenset(values)

    def _set_value(self) -> str:
        return "" if self._peek() in (",", ")") else self._word("identifier")


def _unexpected(token: str, expected: str) -> SelectorError:
    return SelectorError(f"unable to parse requirement: found '{token}', expected: {expected}")


def _checked_key(key: str) -> str:
    domain, slash, name = key.rpartition("/")
    good_name = len(name) <= 63 and _NAME.fullmatch(name)
    good_domain = not slash or (len(domain) <= 253 and _DOMAIN.fullmatch(domain))
    if not (good_name and good_domain):
        raise SelectorError(
            f'unable to parse requirement: <nil>: Invalid value: "{key}": name part must consist of'
            " alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric"
            " character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is"
            " '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        )
    return key


def _checked_value(key: str, value: str) -> str:
    if value and not (len(value) <= 63 and _NAME.fullmatch(value)):
        raise SelectorError(
            f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}": a valid'
            " label must be an empty string or consist of alphanumeric characters, '-', '_' or '.',"
            " and must start and end with an alphanumeric character (e.g. 'MyValue', "
            " or 'my_value',  or '12345', regex used for validation is "
            "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        )
    return value


def _checked_number(value: str) -> str:
    if not re.fullmatch(r"-?\d+", value):
        raise SelectorError(
            f"unable to parse requirement: values[0]: Invalid value: \"{value}\": for 'Gt', 'Lt'"
            " operators, the value must be an integer"
        )
    return value


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One term of a field selector."""

    name: str
    value: str
    equal: bool = True

    def matches(self, value: str) -> bool:
        return (value == self.value) is self.equal


FieldSelector = tuple[FieldTerm, ...]

_FIELD_TERM = re.compile(r"((?:\\.|[^\\=!])+?)(!=|==|=)((?:\\.|[^\\=])*)", re.DOTALL)


def parse_fields(text: str) -> FieldSelector:
    """Raises SelectorError. "=" has to be escaped in values, as upstream demands."""
    terms = []
    for part in re.findall(r"(?:\\.|[^\\,])+", text, re.DOTALL):
        match = _FIELD_TERM.fullmatch(part)
        if match is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
        name, operator, value = match.groups()
        terms.append(FieldTerm(name, re.sub(r"\\(.)", r"\1", value), operator != "!="))
    return tuple(terms)
