"""The site file's rules: whom and what they match, what they do, and what becomes of failures."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger

from actors.kube.selectors import SelectorError, parse_labels
from configs.selectors import check_selector
from edge.filters import Depends
from tests.edge.filters.samples import (
    PODS,
    SERVICES,
    SLICES,
    chain,
    decode,
    encode,
    filters,
    inputs,
    node,
    service,
)

WEB = {
    **service(type="NodePort"),
    "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
}
RAW = encode(WEB)


def drop(name: str = "r", **changes: Any) -> dict[str, Any]:
    return {"name": name, "action": "drop", **changes}


def patch(*operations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"name": "p", "action": "patch", "patch": list(operations), **changes}


def shown(*rules: dict[str, Any], component: str = "kubectl", raw: bytes = RAW) -> bytes | None:
    made = filters(rules=list(rules)).chain_for(component, SERVICES, "list")
    return made("shop/web", raw) if made else raw


@pytest.mark.parametrize(
    ("match", "is_matched"),
    [
        ({}, True),
        ({"components": ["kubectl"]}, True),
        ({"components": ["*"]}, True),
        ({"components": ["kubelet"]}, False),
        ({"resources": ["services"]}, True),
        ({"resources": ["services.v1"]}, True),
        ({"resources": ["*"]}, True),
        ({"resources": ["pods", "services.x"]}, False),
        ({"verbs": ["list"]}, True),
        ({"verbs": ["get", "watch"]}, False),
        ({"namespaces": ["shop", "x"]}, True),
        ({"namespaces": ["sho"]}, False),
        ({"labels": "app in (web, db), !canary"}, True),
        ({"labels": "app!=web"}, False),
        ({"labels": "tier"}, False),
        ({"components": ["kubectl"], "labels": "app=db"}, False),
    ],
)
def test_matches(match: dict[str, Any], is_matched: bool) -> None:
    assert shown(drop(match=match)) is (None if is_matched else RAW)


def test_who_does_not_say_who_he_is_is_everybody_but_not_named() -> None:
    assert shown(drop(), component="") is None
    assert shown(drop(match={"components": ["*"]}), component="") is RAW


def test_groups_are_named_as_kubectl_does() -> None:
    for name in ("endpointslices", "endpointslices.discovery.k8s.io", SLICES.name):
        made = chain("kubectl", SLICES, rules=[drop(match={"resources": [name]})])
        assert made("shop/web", RAW) is None


def test_objects_in_no_namespace_do_not_match_named_ones() -> None:
    made = chain("kubectl", SERVICES, rules=[drop(match={"namespaces": ["shop"]})])
    assert made("web", RAW) is RAW


@pytest.mark.parametrize(
    ("when", "is_matched"),
    [
        ("object.spec.type == 'NodePort'", True),
        ("has(object.spec.clusterIP)", False),
        ("object.?spec.?clusterIP.orValue('none') == 'none'", True),
        ("node == 'n1' && pool == 'a' && component == 'kubectl'", True),
        ("object.metadata.name.upperAscii() == 'WEB'", True),
        ("object.metadata.labels.exists(l, l.startsWith('a'))", True),
        ("object.metadata.name.matches('^w.b$')", True),
        ("pool == 'b'", False),
    ],
)
def test_conditions(when: str, is_matched: bool) -> None:
    assert shown(drop(when=when)) is (None if is_matched else RAW)


def test_a_pool_in_a_condition_is_this_nodes_and_may_change() -> None:
    known = inputs()
    made = chain("kubectl", SERVICES, known=known, rules=[drop(when="pool == 'b'")])
    assert made("shop/web", RAW) is RAW
    known.node_is("n1", node("n1", "b"))
    assert made("shop/web", RAW) is None
    assert made.depends == Depends.SELF
    assert chain("kubectl", SERVICES, rules=[drop()]).depends == Depends.NOTHING


def test_the_first_keep_ends_the_rules() -> None:
    keep = {"name": "k", "action": "keep", "match": {"labels": "app=web"}}
    assert shown(keep, drop()) is RAW
    assert shown(drop(), keep) is None
    noted = patch({"op": "add", "path": "/spec/a", "value": 1})
    assert decode(shown(noted, keep, drop()))["spec"]["a"] == 1


def test_patches_follow_each_other() -> None:
    first = patch(
        {"op": "add", "path": "/spec/a", "value": None}, {"op": "remove", "path": "/spec/type"}
    )
    second = patch(
        {"op": "move", "from": "/spec/a", "path": "/spec/b"},
        name="q",
        when="!has(object.spec.type)",
    )
    assert decode(shown(first, second))["spec"] == {"b": None}


def test_a_patch_that_changes_nothing_shows_the_same_bytes() -> None:
    assert shown(patch({"op": "replace", "path": "/spec/type", "value": "NodePort"})) is RAW


@pytest.mark.parametrize(
    "rule",
    [
        drop(when="object.spec.clusterIP == 'x'"),  # no such key
        drop(when="object.spec.type < 5"),  # no such comparison
        drop(when="object.spec"),  # no truth
        patch({"op": "remove", "path": "/spec/none"}),
        patch({"op": "test", "path": "/spec/type", "value": "x"}),
        patch({"op": "add", "path": "/metadata", "value": {"name": "other"}}),
    ],
)
def test_a_rule_that_fails_leaves_the_object_is_counted_and_logged_once(rule: Any) -> None:
    lines: list[str] = []
    handler = logger.add(lambda line: lines.append(str(line)), format="{message}", level="WARNING")
    last = patch({"op": "add", "path": "/spec/last", "value": 1}, name="last")
    made = chain("kubectl", SERVICES, rules=[rule, last])
    try:
        for _ in range(3):
            assert decode(made("shop/web", RAW)) == {**WEB, "spec": {"type": "NodePort", "last": 1}}
    finally:
        logger.remove(handler)
    assert made.troubles.counts == {f"rule {rule['name']}": 3}
    assert len(lines) == 1
    assert f"rule {rule['name']} leaves shop/web" in lines[0]


def test_numbers_beyond_cels_fail_softly() -> None:
    raw = encode({**WEB, "spec": {"n": 2**70}})
    assert shown(drop(when="object.spec.n == 1"), raw=raw) is raw


def test_counts_go_on_with_new_settings() -> None:
    first = filters(rules=[drop(when="object.spec.x == 1")])
    made = first.chain_for("kubectl", PODS, "list")
    assert made is not None
    made("shop/web", RAW)
    assert first.troubles.counts == {"rule r": 1}


_SELECTORS = """
app|!app|a=b|a==b|a != b|a in (b,c)|a notin (b)|a in ()|a in (,b)|a=|a!=|a>5|a<-5|a>x|x.y/a=b
X.y/a=b|/a|a=b,c=d|a in (b,c),!d|,a|a,|,|a=b=c|a b|a in b|a in (b|a in b)|(a)|!|!!a|a=-b|a=b_
in in (in)|a=b c|a>|a>+5|a in (b c)
a , b|!a=b|a in (b,(c))|a notin (b),|a=,b|a in (b)c|a,b,,c||=a|a>5,b
"""
_TOKENS = st.sampled_from(["a", "b-", "x/y", "5", "-5", "in", "notin", *"=!><(),", "==", "!=", " "])


@pytest.mark.parametrize("text", re.split(r"[|\n]", _SELECTORS))
def test_the_site_file_takes_the_selectors_that_select(text: str) -> None:
    assert _takes(check_selector, text) is _takes(parse_labels, text)


@pytest.mark.parametrize("length", [63, 64, 253, 254])
def test_the_site_file_knows_how_long_labels_may_be(length: int) -> None:
    for text in (f"a={'b' * length}", "a" * length, f"{'a' * length}/b"):
        assert _takes(check_selector, text) is _takes(parse_labels, text)


@given(tokens=st.lists(_TOKENS, max_size=10))
def test_the_site_file_takes_no_others(tokens: list[str]) -> None:
    text = "".join(tokens)
    assert _takes(check_selector, text) is _takes(parse_labels, text)


def _takes(check: Callable[[str], object], text: str) -> bool:
    try:
        check(text)
    except (SelectorError, ValueError):
        return False
    return True
