from __future__ import annotations

import json

import pytest

from actors.kube.client_errors import Refused
from actors.kube.raw_events import Bookmark, Garbled, Lines, Shape
from bus.feed.types import Change
from tests.actors.kube.scripted import added, bookmark, deleted, failure, line, widget

SHAPE = Shape("example.com/v1", "Widget")


def test_lines_are_cut_wherever_chunks_are() -> None:
    stream = b'{"a":1}\n\n{"b":2}\n{"c":3}\n'
    for size in range(1, len(stream) + 1):
        lines = Lines()
        chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
        found = [one for chunk in chunks for one in lines.feed(chunk)]
        assert found == [b'{"a":1}', b'{"b":2}', b'{"c":3}']
        assert not lines.is_cut


def test_a_stream_that_stops_within_a_line_is_cut() -> None:
    lines = Lines()
    assert lines.feed(b'{"a":1}\n{"b"') == [b'{"a":1}']
    assert lines.is_cut


def test_an_endless_line_is_no_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.kube.raw_events.LINE_LIMIT", 10)
    lines = Lines()
    lines.feed(b"x" * 10)
    with pytest.raises(Garbled):
        lines.feed(b"x")


def test_an_object_is_the_same_bytes_from_a_list_and_from_a_watch() -> None:
    body = {"metadata": {"resourceVersion": "9"}, "items": [widget("a", 7, spec={"size": 1})]}
    page = SHAPE.page(json.dumps(body, separators=(",", ":")).encode())
    event = SHAPE.event(added("a", 7, spec={"size": 1}))
    assert isinstance(event, Change)
    [(key, item)] = page.objects
    assert (key, item.version, item.data) == (event.key, event.version, event.data)
    assert item.data == (
        b'{"kind":"Widget","apiVersion":"example.com/v1","metadata":'
        b'{"name":"a","namespace":"default","resourceVersion":"7"},"spec":{"size":1}}'
    )


def test_events() -> None:
    assert SHAPE.event(deleted("a", 8)) == Change("default/a", 8, None)
    assert SHAPE.event(bookmark(12)) == Bookmark(12, False)
    assert SHAPE.event(bookmark(12, end=True)) == Bookmark(12, True)
    error = SHAPE.event(line("ERROR", failure(410, "Expired", "too old")))
    assert isinstance(error, Refused)
    assert (error.code, error.reason) == (410, "Expired")


def test_an_empty_list_may_be_null() -> None:
    page = SHAPE.page(b'{"metadata":{"resourceVersion":"5"},"items":null}')
    assert page == ([], 5, "")


@pytest.mark.parametrize(
    "raw",
    [
        b"<html>",
        b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}',
        b'{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"x"}}}',
        b'{"type":"ADDED","object":{"metadata":3}}',
        b'{"type":"ADDED"}',
        b'{"type":"MOVED","object":{}}',
        b'{"type":"BOOKMARK","object":{}}',
        b'{"type":"ADDED","object":{"metadata":{"name":"a"',
    ],
)
def test_what_is_no_event_is_garbled(raw: bytes) -> None:
    with pytest.raises(Garbled):
        SHAPE.event(raw)
