"""What a request is about."""

from __future__ import annotations

import pytest
from multidict import MultiDict

from actors.kube.serve.routes import (
    ResourceIndex,
    is_allowed,
    is_long_running,
    is_true,
    parse_request,
)
from tests.actors.kube.objects import WIDGETS


def parse(method: str, path: str, **query: str) -> tuple[str, ...]:
    info = parse_request(method, path, MultiDict(query))
    return (
        info.verb,
        info.group,
        info.version,
        info.namespace,
        info.plural,
        info.name,
        info.subresource,
    )


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/v1/pods", ("list", "", "v1", "", "pods", "", "")),
        ("GET", "/api/v1/namespaces/a/pods", ("list", "", "v1", "a", "pods", "", "")),
        ("GET", "/api/v1/namespaces/a/pods/p", ("get", "", "v1", "a", "pods", "p", "")),
        ("HEAD", "/api/v1/namespaces/a/pods/p", ("get", "", "v1", "a", "pods", "p", "")),
        ("GET", "/api/v1/namespaces", ("list", "", "v1", "", "namespaces", "", "")),
        ("GET", "/api/v1/namespaces/a", ("get", "", "v1", "", "namespaces", "a", "")),
        ("PUT", "/api/v1/namespaces/a/finalize",
         ("update", "", "v1", "", "namespaces", "a", "finalize")),
        ("PATCH", "/api/v1/nodes/n/status", ("patch", "", "v1", "", "nodes", "n", "status")),
        ("POST", "/apis/g.io/v2/namespaces/a/xs", ("create", "g.io", "v2", "a", "xs", "", "")),
        ("DELETE", "/apis/g.io/v2/xs", ("deletecollection", "g.io", "v2", "", "xs", "", "")),
        ("DELETE", "/apis/g.io/v2/xs/x", ("delete", "g.io", "v2", "", "xs", "x", "")),
        ("GET", "/api/v1/namespaces/a/pods/p/proxy/x/y",
         ("get", "", "v1", "a", "pods", "p", "proxy/x/y")),
        ("GET", "/api/v1/watch/namespaces/a/pods", ("watch", "", "v1", "a", "pods", "", "")),
        ("OPTIONS", "/api/v1/pods", ("options", "", "v1", "", "pods", "", "")),
        ("GET", "/apis/g.io/v2", ("get", "", "", "", "", "", "")),
        ("GET", "/version", ("get", "", "", "", "", "", "")),
    ],
)  # fmt: skip
def test_paths(method: str, path: str, expected: tuple[str, ...]) -> None:
    assert parse(method, path) == expected


def test_watch_is_a_parameter_of_lists_only() -> None:
    assert parse("GET", "/api/v1/pods", watch="1")[0] == "watch"
    assert parse("GET", "/api/v1/pods", watch="")[0] == "watch"
    assert parse("GET", "/api/v1/pods", watch="false")[0] == "list"
    assert parse("GET", "/api/v1/nodes/n", watch="1")[0] == "get"
    assert parse("HEAD", "/api/v1/pods", watch="1")[0] == "list"


def test_booleans_as_upstream() -> None:
    assert [is_true(t) for t in ("", "1", "true", "yes", "0", "false", "False")] == [
        True, True, True, True, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/v1/namespaces/a/pods", True),
        ("POST", "/api/v1/namespaces/a/pods/p", False),
        ("POST", "/api/v1/namespaces/a/pods/p/eviction", True),
        ("PUT", "/api/v1/namespaces/a/pods", False),
        ("PATCH", "/api/v1/namespaces/a/pods", False),
        ("DELETE", "/api/v1/namespaces/a/pods", True),
        ("OPTIONS", "/api/v1/namespaces/a/pods", False),
    ],
)
def test_allowed(method: str, path: str, allowed: bool) -> None:
    assert is_allowed(parse_request(method, path, MultiDict())) is allowed


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/namespaces/a/pods/p/log", True),
        ("/api/v1/namespaces/a/services/s/proxy/x", True),
        ("/api/v1/namespaces/a/pods/p/status", False),
        ("/api/v1/pods", False),
    ],
)
def test_long_running(path: str, expected: bool) -> None:
    assert is_long_running(parse_request("GET", path, MultiDict())) is expected
    assert is_long_running(parse_request("GET", "/api/v1/pods", MultiDict(watch="1")))


def test_index_follows_the_tuple() -> None:
    index = ResourceIndex()
    key = ("example.com", "v1", "widgets")
    assert index.find((), key) is None
    assert index.find((WIDGETS,), key) is WIDGETS
    assert index.find((), key) is None
