"""Subjects: the names in them stay one token each, and patterns match as NATS says."""

from __future__ import annotations

import pytest

from bus import subjects


def test_a_node_s_subjects() -> None:
    assert subjects.api("pool-a", "n1") == "api.pool-a.n1"
    assert subjects.beat("pool-a", "n1") == "beat.pool-a.n1"
    assert subjects.link("pool-a", "n1") == "link.pool-a.n1"
    assert subjects.pool_beat("n1") == "pool.beat.n1"


def test_feeds_of_different_origin_never_mix() -> None:
    feeds = (subjects.CLOUD_FEEDS, subjects.POOL_UP_FEEDS, subjects.POOL_FEEDS)
    prefixes = [each for feed in feeds for each in (feed.frames, feed.sync, feed.tick)]
    for one in prefixes:
        assert [other for other in prefixes if other.startswith(one)] == [one]


@pytest.mark.parametrize("name", ["", "a.b", "*", ">", "a b", "a\r\nPUB x 0", "a>", "a*", "a\x00"])
def test_a_name_that_would_be_more_than_a_token_is_refused(name: str) -> None:
    for join in (subjects.api, subjects.beat, subjects.link):
        with pytest.raises(ValueError, match="token"):
            join(name, "n1")
        with pytest.raises(ValueError, match="token"):
            join("pool-a", name)
    with pytest.raises(ValueError, match="token"):
        subjects.pool_beat(name)


@pytest.mark.parametrize(
    ("pattern", "heard", "unheard"),
    [
        ("a.b", ["a.b"], ["a", "a.b.c", "a.x"]),
        ("a.*", ["a.b", "a.*"], ["a", "a.b.c", "b.a", "a.>"]),
        ("a.>", ["a.b", "a.b.c", "a.*", "a.>"], ["a", "b.a"]),
        (">", ["a", "a.b", ">"], []),
        ("*.b.>", ["a.b.c"], ["a.b", "a.c.b"]),
        ("*", ["a"], ["a.b", ">"]),
    ],
)
def test_matching(pattern: str, heard: list[str], unheard: list[str]) -> None:
    assert [each for each in heard if not subjects.matches(pattern, each)] == []
    assert [each for each in unheard if subjects.matches(pattern, each)] == []


@pytest.mark.parametrize(
    "good", ["a", "a.b", "$JS.API.STREAM.INFO.KV_x", "_INBOX.a.b", "ä.é", "-=_/"]
)
def test_good_subjects(good: str) -> None:
    subjects.check_subject(good)
    subjects.check_pattern(good)


@pytest.mark.parametrize("bad", ["", ".", "a.", ".a", "a..b", "a b", "a\n", "a\t", "a\x7f", "a.b*"])
def test_bad_subjects(bad: str) -> None:
    with pytest.raises(ValueError, match="subject"):
        subjects.check_subject(bad)
    with pytest.raises(ValueError, match="subject"):
        subjects.check_pattern(bad)


def test_patterns_are_no_subjects() -> None:
    for pattern in ("*", ">", "a.*", "a.>", "*.b.>"):
        subjects.check_pattern(pattern)
        with pytest.raises(ValueError, match="subject"):
            subjects.check_subject(pattern)
    for bad in (">.a", "a.>.b", "a.>>"):
        with pytest.raises(ValueError, match="pattern"):
            subjects.check_pattern(bad)
