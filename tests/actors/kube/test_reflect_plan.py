from __future__ import annotations

import random

import pytest

from actors.kube.reflect_plan import Ask, End, Ending, ReflectPlan, difference
from bus.feed.types import Change, Item

HELD = {"a": Item(8, b"a")}


def make(version: int = 0, uid: str = "") -> ReflectPlan:
    return ReflectPlan(version, uid, random=random.Random(1))


def following(version: int = 10) -> ReflectPlan:
    plan = make()
    plan.probed("u", None, HELD)
    plan.listed(version)
    plan.handed_on()
    assert plan.next().ask is Ask.WATCH
    assert dict(plan.next().query)["resourceVersion"] == str(version)
    return plan


def test_first_the_source_is_identified_then_a_watch_list_asks_for_the_most_recent() -> None:
    plan = make()
    assert plan.next() == (Ask.PROBE, ())
    plan.probed("u", None, HELD)
    ask, query = plan.next()
    assert ask is Ask.WATCH_LIST
    wanted = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "watch": "true"}
    assert wanted.items() <= dict(query).items()
    assert "resourceVersion" not in dict(query)


@pytest.mark.parametrize(
    "ending",
    [
        Ending(End.REFUSED, 0, 400),
        Ending(End.REFUSED, 0, 405),
        Ending(End.REFUSED, 0, 422),
        Ending(End.NO_MARK, 10),
    ],
)
def test_a_server_without_watch_list_is_listed_in_pages_at_once(ending: Ending) -> None:
    plan = make()
    plan.probed("u", None, HELD)
    assert plan.ended(Ask.WATCH_LIST, ending, 0) == 0
    assert plan.next() == (Ask.LIST, (("limit", "500"), ("resourceVersion", "0")))


def test_a_list_is_consistent_where_it_is_compared_with_what_we_had() -> None:
    plan = make(version=5)
    plan.watch_list = False
    plan.probed("u", 7, HELD)
    assert plan.next() == (Ask.LIST, (("limit", "500"),))


def test_an_expired_page_makes_the_next_list_whole() -> None:
    plan = make()
    plan.watch_list = False
    plan.probed("u", None, HELD)
    plan.ended(Ask.LIST, Ending(End.REFUSED, 1, 410), 0)
    assert dict(plan.next().query) == {"resourceVersion": "0"}
    plan.listed(8)
    plan.relist = "again"
    assert dict(plan.next().query) == {"limit": "500"}


def test_a_watch_that_ends_by_time_is_resumed_at_once_and_without_a_probe() -> None:
    plan = following()
    plan.advanced(12)
    plan.next()
    assert 300 <= plan.watch_seconds <= 600
    assert plan.ended(Ask.WATCH, Ending(End.CLEAN, plan.watch_seconds), 0) == 0
    ask, query = plan.next()
    assert ask is Ask.WATCH
    assert dict(query)["resourceVersion"] == "12"


def test_a_clean_end_before_its_time_is_looked_into() -> None:
    plan = following()
    assert plan.ended(Ask.WATCH, Ending(End.CLEAN, 50), 0) == 0
    assert plan.next() == (Ask.PROBE, (("limit", "1"),))


def test_a_server_that_ends_every_watch_is_not_asked_in_a_tight_loop() -> None:
    plan = following()
    pauses = []
    for _ in range(4):
        pauses.append(plan.ended(Ask.WATCH, Ending(End.CLEAN, 0.01), 0))
        plan.probed("u", 10, HELD)
    assert pauses[0] == 0
    assert pauses[1] < pauses[2] < pauses[3]


def test_broken_watches_pause_ever_longer_within_bounds_and_start_over_when_it_goes_well() -> None:
    plan = following()
    pauses = [plan.ended(Ask.WATCH, Ending(End.BROKEN, 0), 0) for _ in range(10)]
    assert 0.8 <= pauses[0] <= 1.2
    assert all(pause <= 9.6 for pause in pauses)
    assert pauses[-1] >= 6.4
    assert plan.ended(Ask.WATCH, Ending(End.BROKEN, 60), 0) <= 1.2


def test_pauses_vary() -> None:
    pauses = {
        ReflectPlan(random=random.Random(seed)).ended(Ask.WATCH, Ending(End.BROKEN, 0), 0)
        for seed in range(10)
    }
    assert len(pauses) == 10


def test_retry_after_is_a_least_pause() -> None:
    plan = following()
    assert plan.ended(Ask.WATCH, Ending(End.REFUSED, 0, 429, retry_after=7), 0) == 7


def test_the_first_410_lists_at_once_a_second_one_soon_after_waits() -> None:
    plan = following()
    assert plan.ended(Ask.WATCH, Ending(End.REFUSED, 1, 410), 100.0) == 0
    assert plan.relist == "expired"
    plan.listed(50)
    assert plan.ended(Ask.WATCH, Ending(End.REFUSED, 1, 410), 101.0) > 0
    plan.listed(60)
    assert plan.ended(Ask.WATCH, Ending(End.REFUSED, 60, 410), 161.0) == 0


def test_unreadable_events_are_resumed_once_then_all_is_listed() -> None:
    plan = following()
    plan.ended(Ask.WATCH, Ending(End.GARBLED, 1), 0)
    plan.probed("u", 10, HELD)
    assert plan.next().ask is Ask.WATCH
    plan.ended(Ask.WATCH, Ending(End.GARBLED, 1), 0)
    plan.probed("u", 10, HELD)
    assert plan.next().ask is Ask.WATCH_LIST
    assert plan.relist == "garbled"


def test_progress_between_unreadable_events_is_no_row() -> None:
    plan = following()
    plan.ended(Ask.WATCH, Ending(End.GARBLED, 1), 0)
    plan.advanced(11)
    plan.ended(Ask.WATCH, Ending(End.GARBLED, 1), 0)
    assert not plan.relist


@pytest.mark.parametrize(("uid", "version"), [("other", 900), ("u", 9)])
def test_a_source_that_went_back_is_listed_anew_and_told(uid: str, version: int) -> None:
    plan = following(10)
    plan.ended(Ask.WATCH, Ending(End.BROKEN, 60), 0)
    plan.probed(uid, version, HELD)
    assert plan.next().ask is Ask.WATCH_LIST
    plan.listed(version)
    assert plan.rolled_back
    plan.handed_on()
    assert not plan.rolled_back
    assert plan.version == version


def test_a_source_that_goes_on_is_watched_from_where_we_were() -> None:
    plan = following(10)
    plan.ended(Ask.WATCH, Ending(End.BROKEN, 60), 0)
    plan.probed("u", 30, HELD)
    assert dict(plan.next().query)["resourceVersion"] == "7"  # and must tell again what we hold
    assert not plan.rolled_back
    plan.proven()
    assert dict(plan.next().query)["resourceVersion"] == "10"


def test_a_watch_that_ends_by_time_before_it_has_proven_anything_is_asked_again() -> None:
    plan = following(10)
    plan.ended(Ask.WATCH, Ending(End.BROKEN, 60), 0)
    plan.probed("u", 30, HELD)
    plan.next()
    plan.ended(Ask.WATCH, Ending(End.CLEAN, plan.watch_seconds), 0)
    assert plan.next().ask is Ask.PROBE


def test_another_past_is_listed_at_once() -> None:
    plan = following(10)
    assert plan.ended(Ask.WATCH, Ending(End.TORN, 1), 0) == 0
    assert plan.next().ask is Ask.WATCH_LIST
    plan.listed(12, HELD, {"a": Item(7, b"a")})
    assert plan.rolled_back


def test_a_first_list_contradicts_nothing() -> None:
    plan = make(version=10, uid="u")
    plan.probed("u", 12, {})
    plan.listed(12, {}, HELD)
    assert not plan.rolled_back


def test_an_identity_that_may_not_be_read_proves_nothing() -> None:
    plan = make(uid="u")
    plan.probed("", None, HELD)
    assert not plan.rolled_back
    assert plan.uid == "u"


def test_what_an_earlier_life_knew_shows_a_rollback_at_the_first_list() -> None:
    plan = make(version=100, uid="u")
    assert plan.next().query == (("limit", "1"),)
    plan.probed("u", 100, HELD)
    plan.listed(99)
    assert plan.rolled_back


def test_a_list_becomes_the_difference() -> None:
    same = Item(3, b"same")
    old = {"same": same, "old": Item(4, b"x"), "gone": Item(5, b"g"), "twin": Item(6, b"1")}
    new = {"new": Item(9, b"n"), "same": same, "old": Item(8, b"y"), "twin": Item(6, b"2")}
    assert difference(old, new, 20) == (
        Change("gone", 20, None),
        Change("twin", 6, b"2"),
        Change("old", 8, b"y"),
        Change("new", 9, b"n"),
    )
