"""Answers from the tables: what a component may be told, and how old it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from actors.kube.resource import key_of
from bus.feed.types import Item, Position
from edge.cache.plan import ListQuery, best_cover, covers
from edge.cache.rows import ViewRow, identity
from edge.cache.tables import Tables

NOBODY = ""  # the component of feeds


@dataclass(frozen=True, slots=True)
class View:
    """A list as it was last known. Where `query` is wider than what was asked, select from it."""

    query: ListQuery
    version: int  # the list's resourceVersion
    age: float  # seconds since it was known to be current; inf if the clock went back
    items: Mapping[str, Item] = field(repr=False)
    id: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    item: Item
    age: float
    id: int = 0  # of the view it was found in


@dataclass(frozen=True, slots=True)
class Missing:
    """It is known that there was no such object (404)."""

    age: float
    id: int = 0


@dataclass(frozen=True, slots=True)
class FeedState:
    """Where not `whole`, objects are missing or older than `position` says: do not go on from it.

    Who serves it all the same must know that a missing object reads as a deleted one.
    """

    items: Mapping[str, Item] = field(repr=False)
    position: Position
    age: float
    whole: bool


def encode_query(query: ListQuery) -> str:
    return msgspec.json.encode(query).decode()


def _decode_query(view: ViewRow) -> ListQuery | None:
    try:
        return msgspec.json.decode(view.query, type=ListQuery)
    except msgspec.DecodeError:
        return None  # a checksum that holds: written by another version of this program


def _age(view: ViewRow, now: float) -> float:
    passed = now - view.at / 1000
    return passed if passed >= 0 else float("inf")


def find_view(tables: Tables, component: str, asked: ListQuery, now: float) -> View | None:
    """The same list, else the narrowest that has all of it and is whole; None is "unknown"."""
    held = {query: view for query, view in _queries(tables, component) if covers(query, asked)}
    while (best := best_cover(held, asked)) is not None:
        view = held.pop(best)
        contents = tables.contents(view, best.kept_as)
        if contents.whole:
            return View(best, view.version, _age(view, now), contents.items, view.id)
    return None


def _queries(tables: Tables, component: str) -> list[tuple[ListQuery, ViewRow]]:
    found = [(_decode_query(view), view) for view in tables.views_of(component)]
    return [(query, view) for query, view in found if query is not None]


def find_object(
    tables: Tables, component: str, asked: ListQuery, now: float, missing_age: float
) -> Found | Missing | None:
    """By name, from all that this component has read: the newest evidence counts."""
    missing = _remembered_missing(tables, component, asked, now, missing_age)
    thing = identity(asked.kept_as, key_of(asked.namespace, asked.name))
    views = tables.views_with(component, thing)
    if not views:
        return missing or _missing_in_list(tables, component, asked, now)
    newest = max((view for view, _ in views), key=lambda view: view.at)
    age = _age(newest, now)
    if missing is not None and missing.age <= age:
        return missing
    item = tables.item(thing)
    since = max(version for _, version in views)
    return Found(item, age, newest.id) if item is not None and item.version >= since else None


def _remembered_missing(
    tables: Tables, component: str, asked: ListQuery, now: float, missing_age: float
) -> Missing | None:
    view = tables.view(identity(component, encode_query(asked)))
    if view is None or view.count:
        return None
    age = _age(view, now)
    return Missing(age, view.id) if age <= missing_age else None


def _missing_in_list(
    tables: Tables, component: str, asked: ListQuery, now: float
) -> Missing | None:
    """A list without selectors that would have it, and is whole."""
    held = [(q, v) for q, v in _queries(tables, component) if not q.name and covers(q, asked)]
    for _, view in sorted(held, key=lambda pair: -pair[1].at):
        if tables.has_all_members(view):
            return Missing(_age(view, now), view.id)
    return None


def read_feed(tables: Tables, feed: str, now: float) -> FeedState | None:
    view = tables.view(feed_id(feed))
    if view is None:
        return None
    contents = tables.contents(view, feed_resource(feed))
    position = Position(view.lineage, view.version)
    return FeedState(contents.items, position, _age(view, now), contents.whole)


def read_components(tables: Tables) -> frozenset[str]:
    return frozenset(component for component, _ in tables.readers() if component != NOBODY)


def read_feeds(tables: Tables) -> frozenset[str]:
    names = {query for component, query in tables.readers() if component == NOBODY}
    return frozenset(name.removeprefix(feed_resource("")) for name in names)


def feed_resource(feed: str) -> str:
    """No resource's name has a colon."""
    return f"feed:{feed}"


def feed_id(feed: str) -> int:
    return identity(NOBODY, feed_resource(feed))
