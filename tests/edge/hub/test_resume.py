"""Where a broken watch goes on."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.hub.resume import Resume, version_of

JSON = "application/json"
PODS = "/api/v1/pods?watch=true&resourceVersion="


def event(kind: str, version: int) -> bytes:
    body = {"type": kind, "object": {"metadata": {"resourceVersion": str(version)}}}
    return json.dumps(body).encode() + b"\n"


def table(kind: str, version: int) -> bytes:
    """As kubectl asks for them: the version may be in the row only."""
    row = {"cells": [], "object": {"metadata": {"resourceVersion": str(version)}}}
    return json.dumps({"type": kind, "object": {"kind": "Table", "rows": [row]}}).encode() + b"\n"


def asked(resume: Resume) -> dict[str, list[str]]:
    return parse_qs(urlsplit(resume.path()).query)


def test_it_goes_on_behind_the_last_whole_event() -> None:
    resume = Resume(f"{PODS}5&labelSelector=a%3Db", JSON)
    later = event("ADDED", 8)
    given = event("MODIFIED", 6) + event("ADDED", 7) + later[:10]
    assert resume.feed(given) == given[:-10]
    assert asked(resume) == {"watch": ["true"], "resourceVersion": ["7"], "labelSelector": ["a=b"]}
    assert resume.feed(later) == later
    assert asked(resume)["resourceVersion"] == ["8"]


def test_nothing_came_yet() -> None:
    resume = Resume(f"{PODS}5", JSON)
    assert resume.is_possible
    assert asked(resume)["resourceVersion"] == ["5"]


@pytest.mark.parametrize("start", ["", "0", "9&sendInitialEvents=true"])
def test_initial_objects_are_in_no_order(start: str) -> None:
    resume = Resume(f"{PODS}{start}", JSON)
    seen = [resume.is_possible]  # nothing was given out: the same again
    for each in (event("ADDED", 30), event("BOOKMARK", 40)):
        resume.feed(each)
        seen.append(resume.is_possible)
    assert seen == [True, False, True]
    resume.feed(event("ADDED", 41))
    assert asked(resume) == {"watch": ["true"], "resourceVersion": ["41"]}


def test_tables() -> None:
    resume = Resume(f"{PODS}5", JSON)
    resume.feed(table("ADDED", 6))
    assert asked(resume)["resourceVersion"] == ["6"]


def test_protobuf_is_handed_on_as_it_comes() -> None:
    resume = Resume(f"{PODS}5", "application/vnd.kubernetes.protobuf;stream=watch")
    assert resume.feed(b"\0\0\0\n\1") == b"\0\0\0\n\1"
    assert not resume.is_possible


@given(st.data())
def test_however_it_is_cut_the_same_events_come_out(data: st.DataObject) -> None:
    whole = b"".join(event("MODIFIED", n) for n in range(10, 15))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=8)))
    resume = Resume(f"{PODS}5", JSON)
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    out = [resume.feed(piece) for piece in pieces]
    assert b"".join(out) == whole
    assert all(not piece or piece.endswith(b"\n") for piece in out)
    assert asked(resume)["resourceVersion"] == ["14"]


@pytest.mark.parametrize(
    ("body", "version"),
    [
        (b'{"metadata":{"resourceVersion":"12"}}', 12),
        (b'{"kind":"Table","rows":[{"object":{"metadata":{"resourceVersion":"13"}}}]}', 13),
        (b'{"kind":"Status","metadata":{}}', 0),
        (b"k8s\0", 0),
        (b'{"metadata":{"resourceVersion":"opaque"}}', 0),
    ],
)
def test_the_version_that_a_write_made(body: bytes, version: int) -> None:
    assert version_of(body) == version
