from __future__ import annotations

import pytest

from actors.kube.selectors import SelectorError, parse_fields, parse_labels
from edge.cache.plan import (
    Candidate,
    best_cover,
    covers,
    evictions,
    list_query,
    name_query,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a=b,c", "c,a==b"),
        ("a in (y, x)", "a in (x,y,x)"),
        ("a in (b)", "a=b"),
        ("a!=b", "a notin (b)"),
        ("a,a", "a"),
        (" a > 3 ", "a>3"),
        ("a=", "a in ()"),
    ],
)
def test_one_question_asked_in_two_ways(one: str, other: str) -> None:
    assert list_query("pods.v1", labels=one) == list_query("pods.v1", labels=other)


@pytest.mark.parametrize(
    ("one", "other"), [("a=b", "a!=b"), ("a", "!a"), ("a>1", "a<1"), ("a in (b,c)", "a=b,a=c")]
)
def test_different_questions(one: str, other: str) -> None:
    assert list_query("pods.v1", labels=one) != list_query("pods.v1", labels=other)


@pytest.mark.parametrize("text", ["a=b", "a!=b", "!a", "a", "a>1", "a<1", "b notin (c,d),a in (e)"])
def test_canonical_labels_say_the_same(text: str) -> None:
    canonical = list_query("pods.v1", labels=text).labels
    assert set(parse_labels(canonical)) == set(parse_labels(text))
    assert list_query("pods.v1", labels=canonical).labels == canonical


@pytest.mark.parametrize("text", ["a=b,c!=d", r"a=x\,y\=z\\", "metadata.name=", "c==d,a=b"])
def test_canonical_fields_say_the_same(text: str) -> None:
    canonical = list_query("pods.v1", fields=text).fields
    assert set(parse_fields(canonical)) == set(parse_fields(text))
    assert list_query("pods.v1", fields=canonical).fields == canonical


def test_selectors_that_nobody_understands() -> None:
    with pytest.raises(SelectorError):
        list_query("pods.v1", labels="a b")


def test_who_covers_whom() -> None:
    everything = list_query("pods.v1")
    mine = list_query("pods.v1", "mine")
    labelled = list_query("pods.v1", "mine", labels="a=b")
    by_name = name_query("pods.v1", "mine", "x")
    assert covers(everything, mine)
    assert covers(everything, labelled)
    assert covers(mine, labelled)
    assert covers(mine, by_name)
    assert not covers(mine, everything)
    assert not covers(mine, list_query("pods.v1", "other"))
    assert not covers(labelled, mine)
    assert not covers(labelled, by_name)
    assert covers(list_query("pods.v1", labels="a=b"), labelled)
    assert not covers(by_name, mine)
    assert covers(by_name, by_name)


def test_other_representations_are_other_things() -> None:
    whole, part = list_query("a.v1"), list_query("a.v1", representation="PartialObjectMetadata")
    assert not covers(whole, part)
    assert not covers(part, whole)


def test_the_narrowest_cover() -> None:
    everything, mine = list_query("pods.v1"), list_query("pods.v1", "mine")
    asked = list_query("pods.v1", "mine", labels="a")
    assert best_cover([everything, mine], asked) == mine
    assert best_cover([everything, mine, asked], asked) == asked
    assert best_cover([list_query("services.v1")], asked) is None


def test_evicts_the_fewest_least_recently_used_critical_ones_last() -> None:
    old = Candidate(1, "view", 10, 1.0)
    new = Candidate(2, "view", 10, 5.0)
    kubelet = Candidate(3, "view", 10, 0.0, is_critical=True)
    every = [kubelet, new, old]
    assert evictions(every, 0) == []
    assert evictions(every, 5) == [old]
    assert evictions(every, 11) == [old, new]
    assert evictions(every, 1000) == [old, new, kubelet]
