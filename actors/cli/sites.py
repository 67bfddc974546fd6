"""What `atoll status` knows: the sites' processes and their answers, put together for a table.

Pure but for the first three functions. Every part of an answer may be missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.status import Report, ask_all, finite, state_directories
from configs import ConfigError, load, state_directory

_FINE = ("running", "ready", "up")


def of_file(path: Path) -> list[Site]:
    """The site of one file, running or not. ConfigError if the file does not tell its state."""
    state = state_directory(path)
    if state is None:
        load(path)
        raise AssertionError("a valid file has a state directory")
    reports = ask_all([state])
    return group(reports) or [Site(_name(path), problems=_why_down(path, state))]


def of_places(places: Iterable[Path]) -> list[Site]:
    """All sites that state directories at or right below `places` tell of."""
    return group(ask_all(state_directories(places)))


def _name(path: Path) -> str:
    try:
        return load(path).name
    except ConfigError:
        return str(path)


def _why_down(path: Path, state: Path) -> list[str]:
    try:
        load(path)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return [f"not running: no run file in {state / 'run'}"]


@dataclass
class Feed:
    """One feed as seen from one site; of several nodes the range and the worst."""

    name: str
    objects: list[int] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)  # seconds; inf: never in step
    sources: list[str] = field(default_factory=list)
    watchers: int | None = None
    frames: int | None = None
    sent: int | None = None  # bytes


@dataclass
class Host:
    """One host: a node of a pool, or the cloud's."""

    name: str
    state: str
    links: dict[str, bool | None]
    source: str = ""  # where a hub has its data from
    age: float | None = None  # of its oldest feed, seconds
    objects: int | None = None
    wan_in: int | None = None  # bytes
    wan_out: int | None = None
    waiting: int = 0  # writes that wait for the API server
    restarts: int = 0
    api: str = ""


@dataclass
class Site:
    """One site, of all its processes on this machine."""

    name: str
    kind: str = ""
    reports: list[Report] = field(default_factory=list)
    hosts: list[Host] = field(default_factory=list)
    feeds: dict[str, Feed] = field(default_factory=dict)
    servers: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    leader: str = ""
    coordinator: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def is_up(self) -> bool:
        return bool(self.reports) and all(report.is_up for report in self.reports)

    @property
    def statuses(self) -> list[Mapping[str, Any]]:
        return [report.status for report in self.reports if report.status is not None]


def group(reports: Iterable[Report]) -> list[Site]:
    """Reports of the same site together, in the order they came."""
    sites: dict[str, Site] = {}
    for report in reports:
        name = report.run.site if report.run else report.name
        site = sites.setdefault(name, Site(name))
        site.reports.append(report)
        site.kind = site.kind or (report.run.kind if report.run else "")
        if report.status is None:
            site.problems.append(report.error)
        else:
            _add(site, report.status)
    return list(sites.values())


def as_json(sites: Iterable[Site]) -> dict[str, Any]:
    """For programs: every process with what its run file and its /status say."""
    return {"sites": [_site_json(site) for site in sites]}


def _site_json(site: Site) -> dict[str, Any]:
    processes = [
        {
            "name": report.name,
            "up": report.is_up,
            "error": report.error or None,
            "health": report.run.health if report.run else None,
            "pid": report.run.pid if report.run else None,
            "status": finite(report.status),
        }
        for report in site.reports
    ]
    return {
        "site": site.name,
        "kind": site.kind or None,
        "up": site.is_up,
        "leader": site.leader or None,
        "coordinator": site.coordinator or None,
        "problems": site.problems,
        "processes": processes,
    }


def _add(site: Site, status: Mapping[str, Any]) -> None:
    site.kind = site.kind or str(status.get("kind", ""))
    if error := _map(status, "config").get("error"):
        site.problems.extend(f"edit not applied: {line}" for line in str(error).split("\n"))
    for name, server in _map(status, "servers").items():
        site.servers[name] = server
        if not server.get("up", True):
            site.problems.append(f"bus {name} is down")
        if error := server.get("error"):
            site.problems.append(f"bus {name} cannot store anything: {error}")
    for name, host in _map(status, "hosts").items():
        _add_host(site, name, host)


def _add_host(site: Site, name: str, host: Mapping[str, Any]) -> None:
    actors = _map(host, "actors")
    node = str(host.get("node") or name)
    site.problems.extend(_host_problems(node, host))
    hub = _own(actors, "hub")
    site.problems.extend(_hub_problems(node, hub))
    lead = _own(actors, "leader") or _map(hub, "leader")
    keep = _own(actors, "coordinator")
    site.leader = node if lead.get("is_leader") else site.leader or _holder(lead)
    is_keeper = keep.get("active") or keep.get("is_leader")
    site.coordinator = node if is_keeper else site.coordinator or _holder(keep)
    for actor in actors.values():
        _add_feeds(site, _map(_map(actor, "status"), "feeds"), is_hub="hub" in actors)
    site.hosts.append(_host(node, host, hub))


def _host(node: str, host: Mapping[str, Any], hub: Mapping[str, Any]) -> Host:
    actors, buses = _map(host, "actors"), _map(host, "buses")
    feeds = [feed for feed in _map(hub, "feeds").values() if isinstance(feed, Mapping)]
    ages = [_age(feed) for feed in feeds]
    sources = {str(feed.get("source")) for feed in feeds if feed.get("source")}
    wan = _map(buses, "cloud") if hub or host.get("node") else {}
    return Host(
        name=node,
        state=str(host.get("state", "unknown")),
        links={bus: link.get("up") for bus, link in buses.items() if isinstance(link, Mapping)},
        source=str(hub.get("source") or "") or ", ".join(sorted(sources)),
        age=max(ages) if ages else None,
        objects=sum(int(feed.get("objects") or 0) for feed in feeds) if feeds else None,
        wan_in=wan.get("in_bytes"),
        wan_out=wan.get("out_bytes"),
        waiting=sum(int(_map(hub, "writes").get(what) or 0) for what in ("objects", "events")),
        restarts=sum(int(part.get("restarts") or 0) for part in (host, *actors.values())),
        api=str(hub.get("listen") or _own(actors, "apiserver").get("url") or ""),
    )


def _add_feeds(site: Site, feeds: Mapping[str, Any], is_hub: bool) -> None:
    for name, found in feeds.items():
        if not isinstance(found, Mapping) or (is_hub and "source" not in found):
            continue  # of a pool's actors, what the hubs serve counts
        feed = site.feeds.setdefault(name, Feed(name))
        feed.objects.append(int(found.get("objects") or 0))
        feed.versions.append(int(found.get("version") or 0))
        feed.ages.append(_age(found))
        if found.get("source"):
            feed.sources.append(str(found["source"]))
        feed.watchers = _sum(feed.watchers, found.get("watchers"))
        feed.frames = _sum(feed.frames, found.get("frames"))
        feed.sent = _sum(feed.sent, found.get("bytes"))


def _hub_problems(node: str, hub: Mapping[str, Any]) -> Iterator[str]:
    if hub.get("way") == "borrowed":
        yield f"{node} has no cloud link of its own and borrows {hub.get('lender') or 'another'}'s"
    lost = hub.get("not_replayed") or ()
    if lost:
        last = lost[-1]
        yield (
            f"{node}: {len(lost)} writes made offline could not be replayed; the last, "
            f"{last.get('verb')} {last.get('resource')} {last.get('name')}: {last.get('why')}"
        )


def _host_problems(node: str, host: Mapping[str, Any]) -> Iterator[str]:
    state = str(host.get("state", "unknown"))
    if state not in _FINE:
        yield f"{node} is {state}{_because(host.get('error') or host.get('silence'))}"
    for name, actor in _map(host, "actors").items():
        state = str(actor.get("state", "unknown"))
        if state not in _FINE:
            yield f"{node} {name} is {state}{_because(actor.get('error'))}"
        if actor.get("config_error"):
            yield f"{node} {name} keeps its old settings{_because(actor['config_error'])}"
        if warning := _map(actor, "status").get("warning"):
            yield f"{node} {name}: {warning}"


def _because(reason: Any) -> str:
    return f": {reason}" if reason else ""


def _own(actors: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return _map(_map(actors, name), "status")


def _map(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = data.get(key)
    return found if isinstance(found, Mapping) else {}


def _holder(lease: Mapping[str, Any]) -> str:
    return str(lease.get("holder") or "")


def _age(feed: Mapping[str, Any]) -> float:
    age = feed.get("age")
    return float(age) if isinstance(age, int | float) else math.inf


def _sum(known: int | None, more: Any) -> int | None:
    return known if more is None else (known or 0) + int(more)
