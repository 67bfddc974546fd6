"""Which feeds shall run, and what the catalog shall say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from actors.kube.client_errors import UnknownResource
from actors.kube.discovery import pick
from actors.kube.resource import Resource
from bus.feed.types import Change, Item


class Picked(NamedTuple):
    found: dict[str, Resource]  # by the name in the site file
    unknown: dict[str, str]  # name -> why, with the nearest names


def pick_all(names: Iterable[str], among: Sequence[Resource]) -> Picked:
    picked = Picked({}, {})
    for name in names:
        try:
            picked.found[name] = pick(name, among)
        except UnknownResource as error:
            picked.unknown[name] = str(error)
    return picked


class Step(NamedTuple):
    stop: tuple[str, ...]  # feeds
    start: tuple[Resource, ...]


def step(running: Mapping[str, Resource], wanted: Iterable[Resource]) -> Step:
    """From the feeds that run to those that shall; what only looks otherwise (columns) goes on."""
    by_feed = {resource.feed: resource for resource in wanted}
    stop = [
        feed
        for feed, resource in running.items()
        if feed not in by_feed or _reads_otherwise(resource, by_feed[feed])
    ]
    start = [resource for feed, resource in by_feed.items() if feed in stop or feed not in running]
    return Step(tuple(stop), tuple(start))


def _reads_otherwise(old: Resource, new: Resource) -> bool:
    return (old.kind, old.namespaced) != (new.kind, new.namespaced)


def catalog_changes(published: Mapping[str, Item], wanted: Iterable[Resource]) -> list[Change]:
    """What leads to the wanted catalog; versions are for the caller to give."""
    entries = {resource.feed: msgspec.json.encode(resource) for resource in wanted}
    gone = [Change(feed, 0, None) for feed in published if feed not in entries]
    new = [
        Change(feed, 0, data)
        for feed, data in entries.items()
        if feed not in published or published[feed].data != data
    ]
    return gone + new
