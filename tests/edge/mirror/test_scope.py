from __future__ import annotations

import pytest
from multidict import MultiDict

from actors.kube.continue_token import encode_token
from actors.kube.serve.api import RequestInfo
from edge.mirror import Scope, scope_of
from tests.edge.mirror.worlds import PODS


def info(verb: str = "list", namespace: str = "", name: str = "", **query: str) -> RequestInfo:
    return RequestInfo(
        verb=verb,
        path="/api/v1/pods",
        is_resource=True,
        version="v1",
        plural="pods",
        namespace=namespace,
        name=name,
        resource=PODS,
        query=MultiDict(query),
    )


def test_equal_questions_are_one_scope() -> None:
    first = scope_of(info(labelSelector="b=1,a", fieldSelector="spec.nodeName==n"), "", PODS)
    second = scope_of(
        info("watch", labelSelector="a, b in (1)", fieldSelector="spec.nodeName=n"), "", PODS
    )
    assert first == second
    assert first is not None
    assert (
        first.target
        == "/api/v1/pods?labelSelector=a%2Cb+in+%281%29&fieldSelector=spec.nodeName%3Dn"
    )


def test_who_asks_is_part_of_it() -> None:
    scopes = {scope_of(info(), identity, PODS) for identity in ("", "system:kube-proxy", "token:x")}
    assert len({scope.component for scope in scopes if scope}) == 3


@pytest.mark.parametrize(
    "asked",
    [
        info("get", name="x"),
        info(name="x"),
        info("create"),
        info(resourceVersion="7", resourceVersionMatch="Exact"),
        info(resourceVersion="7", limit="2"),
        info(**{"continue": "from elsewhere"}),
        info(labelSelector="a in b"),
        info(fieldSelector="spec.unknown=x"),
    ],
)
def test_what_no_mirror_can_answer(asked: RequestInfo) -> None:
    assert scope_of(asked, "", PODS) is None


@pytest.mark.parametrize(
    "asked",
    [
        info(resourceVersion="0"),
        info(resourceVersion="7", resourceVersionMatch="NotOlderThan"),
        info("watch", resourceVersion="7", sendInitialEvents="true"),
        info(**{"continue": encode_token(7, "a/b"), "limit": "3"}),
        info("watch", fieldSelector="metadata.name=x"),
    ],
)
def test_what_one_can(asked: RequestInfo) -> None:
    assert scope_of(asked, "", PODS) is not None


@pytest.mark.parametrize(
    ("held", "asked", "covers"),
    [
        (("", "", ""), ("a", "", "metadata.name=x"), True),
        (("a", "", ""), ("a", "x=y", ""), True),
        (("a", "", ""), ("b", "", ""), False),
        (("a", "", ""), ("", "", ""), False),
        (("", "x=y", ""), ("", "x=y,z=1", ""), False),
        (("", "x=y", ""), ("", "x=y", ""), True),
    ],
)
def test_what_covers_what(
    held: tuple[str, str, str], asked: tuple[str, str, str], covers: bool
) -> None:
    assert Scope.of("", PODS, *held).covers(Scope.of("", PODS, *asked)) is covers
    assert not Scope.of("u", PODS, *held).covers(Scope.of("", PODS, *asked))
