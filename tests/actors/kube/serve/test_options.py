"""List and watch options: upstream's rules and words."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from multidict import MultiDict

from actors.kube.serve.options import ListOptions, Match, check_continue, parse_options
from actors.kube.status_errors import ApiError


def options(is_watch: bool = False, /, **query: str) -> ListOptions:
    return parse_options(MultiDict(query), is_watch)


def test_watch_list_of_kube_proxy() -> None:
    found = options(
        True,
        allowWatchBookmarks="true",
        resourceVersionMatch="NotOlderThan",
        sendInitialEvents="true",
        timeoutSeconds="473",
        timeout="7m53s",
        watch="true",
    )
    assert found == ListOptions(
        match=Match.NOT_OLDER, timeout=473, bookmarks=True, initial_events=True
    )


def test_defaults() -> None:
    assert options() == ListOptions()
    assert options(resourceVersion="0").version == 0


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"resourceVersion": "abc"}, 'strconv.ParseUint: parsing "abc": invalid syntax'),
        ({"resourceVersion": "-1"}, 'strconv.ParseUint: parsing "-1": invalid syntax'),
        ({"resourceVersion": "9" * 30}, "value out of range"),
        ({"limit": "x"}, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ({"timeoutSeconds": "1.5"}, 'strconv.ParseInt: parsing "1.5": invalid syntax'),
    ],
)
def test_malformed(query: dict[str, str], text: str) -> None:
    with pytest.raises(ApiError) as raised:
        options(False, **query)
    assert raised.value.code == 400
    assert text in raised.value.message


@pytest.mark.parametrize(
    ("is_watch", "query", "text"),
    [
        (False, "resourceVersionMatch=Exact", "unless resourceVersion is provided"),
        (
            False,
            "resourceVersionMatch=Exact&resourceVersion=0",
            'resourceVersionMatch "Exact" is forbidden for resourceVersion "0"',
        ),
        (
            False,
            "resourceVersionMatch=Near&resourceVersion=5",
            'Unsupported value: "Near": supported values: "", "Exact", "NotOlderThan"',
        ),
        (
            False,
            "resourceVersionMatch=Exact&resourceVersion=5&continue=x",
            "forbidden when continue is provided",
        ),
        (False, "sendInitialEvents=true", "sendInitialEvents is forbidden for list"),
        (
            True,
            "sendInitialEvents=true",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            True,
            "sendInitialEvents=true&resourceVersionMatch=Exact",
            'supported values: "NotOlderThan"',
        ),
        (
            True,
            "resourceVersionMatch=NotOlderThan",
            "forbidden for watch unless sendInitialEvents is provided",
        ),
        (True, "continue=x", "continue is forbidden for watch"),
    ],
)
def test_invalid(is_watch: bool, query: str, text: str) -> None:
    with pytest.raises(ApiError) as raised:
        options(is_watch, **dict(parse_qsl(query)))
    status = raised.value.status()
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert status["message"].startswith('ListOptions.meta.k8s.io "" is invalid: ')
    assert text in status["message"]
    assert status["details"]["causes"]


def test_continue_carries_its_own_version() -> None:
    check_continue(options(False, **{"continue": "x", "resourceVersion": "0"}))
    with pytest.raises(ApiError, match="not allowed when using continue"):
        check_continue(options(False, **{"continue": "x", "resourceVersion": "5"}))
