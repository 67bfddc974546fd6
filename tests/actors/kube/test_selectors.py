"""Label and field selectors: the full grammar, and upstream's refusals."""

from __future__ import annotations

import pytest

from actors.kube.selectors import FieldTerm, SelectorError, parse_fields, parse_labels

LABELS = {"app": "web", "tier": "front", "n": "5", "empty": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier=front", True),
        ("app=db", False),
        ("app!=db", True),
        ("app!=web", False),
        ("missing!=web", True),
        ("app in (web, db)", True),
        ("app in (db)", False),
        ("app notin (db,web)", False),
        ("missing notin (a)", True),
        ("app", True),
        ("missing", False),
        ("!missing", True),
        ("!app", False),
        ("! app", False),
        ("n>4,n<6", True),
        ("n>5", False),
        ("app>1", False),
        ("missing<3", False),
        ("empty=", True),
        ("empty in ()", True),
        ("app=,tier", False),
        ("!service.kubernetes.io/headless", True),
        ("in", False),
        ("x/notin in (a)", False),
    ],
)
def test_labels_match(text: str, expected: bool) -> None:
    assert all(term.matches(LABELS) for term in parse_labels(text)) is expected


@pytest.mark.parametrize(
    "text",
    ["=a", "a=b,", ",", "a in b", "a in (b", "a>x", "a b", "-a", "a=-b", "a/b/c=d", "a=b=c", "!"],
)
def test_labels_refused(text: str) -> None:
    with pytest.raises(SelectorError, match="unable to parse requirement"):
        parse_labels(text)


def test_fields_parsed() -> None:
    assert parse_fields("a.b=c,d!=e,f==g") == (
        FieldTerm("a.b", "c"),
        FieldTerm("d", "e", equal=False),
        FieldTerm("f", "g"),
    )


def test_fields_unescaped() -> None:
    assert parse_fields(r"a=x\,y\=z\\") == (FieldTerm("a", "x,y=z\\"),)


def test_empty_field_selector_and_value() -> None:
    assert parse_fields("") == ()
    assert parse_fields("a=") == (FieldTerm("a", ""),)


@pytest.mark.parametrize("text", ["a", "=b", "a=b=c"])
def test_fields_refused(text: str) -> None:
    with pytest.raises(SelectorError, match="can't understand"):
        parse_fields(text)
