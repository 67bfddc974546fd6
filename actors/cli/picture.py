"""`atoll status` for people: a few lines and two tables a site."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table

from actors.cli.sites import Feed, Host, Site

_INDENT = 2  # columns
_UNCUT = 1000  # columns, beyond any table
STALE = 5.0  # seconds: as old as data may be before a hub warns, by default


def show(sites: Iterable[Site], console: Console | None = None) -> None:
    """Prints to standard output; where nobody looks (a pipe, a file) lines are never cut."""
    console = console or _console()
    with console.capture() as captured:
        for number, site in enumerate(sites):
            if number:
                console.print()
            console.print(picture(site, console))
    lines = captured.get().split("\n")
    console.file.write("\n".join(line.rstrip() for line in lines))


def _console() -> Console:
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, width=_UNCUT)


def picture(site: Site, console: Console) -> RenderableType:
    parts: list[RenderableType] = [*_head(site)]
    if site.hosts:
        parts.append(_indented(_fitting(site, console)))
    if site.feeds:
        parts.append(_indented(_feeds(site)))
    return Group(*parts)


def _fitting(site: Site, console: Console) -> Table:
    """The hosts' table, poorer where the terminal is narrow; the API addresses go first."""
    for with_api, gap in ((True, 2), (False, 2), (False, 1)):
        table = _hosts(site, with_api, gap)
        wanted = Measurement.get(console, console.options, table).maximum
        if wanted <= console.width - _INDENT:
            break
    return table


def _indented(table: Table) -> Padding:
    return Padding(table, (1, 0, 0, _INDENT), expand=False)


def _head(site: Site) -> Iterator[str]:
    colour = "yellow" if site.problems else "green"
    up = f"[{colour}]up[/]" if site.is_up else "[bold red]DOWN[/]"
    ages = [age for status in site.statuses if (age := _since(status.get("started"))) is not None]
    for_long = f" for {span(max(ages))}" if ages else ""
    pids = ", ".join(str(status["pid"]) for status in site.statuses if status.get("pid"))
    kind = f"{site.kind} site, " if site.kind else ""
    yield f"[bold]{escape(site.name)}[/]  {kind}{up}{for_long}{f', pid {pids}' if pids else ''}"
    if site.kind == "pool" and site.is_up:
        yield f"  leader {_role(site.leader)}, coordinator {_role(site.coordinator)}"
    for name, server in site.servers.items():
        yield f"  bus {escape(name)} at {escape(str(server.get('url')))}"
    yield from _config_lines(site)
    yield from (f"  [yellow]![/] {escape(problem)}" for problem in site.problems)


def _config_lines(site: Site) -> Iterator[str]:
    for status in site.statuses:
        config = status.get("config") or {}
        if config.get("path"):
            age = _since(config.get("loaded"))
            loaded = f", read {span(age)} ago" if age is not None else ""
            yield f"  config {escape(str(config['path']))}{loaded}"


def _role(node: str) -> str:
    return f"[bold]{escape(node)}[/]" if node else "[red]nobody[/]"


def _hosts(site: Site, with_api: bool, gap: int) -> Table:
    links = sorted({link for host in site.hosts for link in host.links})
    is_pool = site.kind == "pool"
    table = _table(
        gap, "node" if is_pool else "host", "state", *(f"{link}\nlink" for link in links)
    )
    if is_pool:
        for name in ("data\nfrom", "age", "objects", "WAN\nin", "WAN\nout"):
            _column(table, name, is_number=not name.startswith("data"))
    has_waiting = any(host.waiting for host in site.hosts)
    if has_waiting:
        _column(table, "writes\nwaiting", is_number=True)
    _column(table, "restarts", is_number=True)
    if with_api:
        _column(table, "API")
    for host in site.hosts:
        cells = [escape(host.name), _state(host.state)]
        cells += [_link(host.links.get(link)) for link in links]
        cells += _data_cells(host) if is_pool else []
        cells += [f"[yellow]{_count(host.waiting)}[/]"] if has_waiting else []
        cells += [_restarts(host.restarts)]
        table.add_row(*cells, *([escape(host.api) or "-"] if with_api else []))
    return table


def _data_cells(host: Host) -> list[str]:
    return [
        _source(host.source),
        _age(host.age),
        _count(host.objects),
        _bytes(host.wan_in),
        _bytes(host.wan_out),
    ]


def _feeds(site: Site) -> Table:
    feeds = site.feeds.values()
    optional: list[tuple[str, Any, Any]] = [
        ("watchers", _count, lambda feed: feed.watchers),
        ("frames", _count, lambda feed: feed.frames),
        ("sent", _bytes, lambda feed: feed.sent),
    ]
    shown = [column for column in optional if any(column[2](feed) is not None for feed in feeds)]
    table = _table(2, "feed")
    for name in ("objects", "version", "age", *(name for name, _, _ in shown)):
        _column(table, name, is_number=True)
    for feed in sorted(feeds, key=lambda feed: feed.name):
        extra = [render(value(feed)) for _, render, value in shown]
        table.add_row(escape(feed.name), *_feed_cells(feed), *extra)
    return table


def _feed_cells(feed: Feed) -> list[str]:
    return [_range(feed.objects), _range(feed.versions, plain=True), _age(max(feed.ages))]


def _table(gap: int, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, gap, 0, 0))
    for column in columns:
        _column(table, column)
    return table


def _column(table: Table, name: str, is_number: bool = False) -> None:
    table.add_column(
        name, justify="right" if is_number else "left", overflow="fold", vertical="bottom"
    )


def _state(state: str) -> str:
    return state if state == "running" else f"[bold red]{escape(state)}[/]"


def _link(is_up: bool | None) -> str:
    return {True: "[green]up[/]", False: "[bold red]down[/]"}.get(is_up, "-")  # type: ignore[arg-type]


def _source(source: str) -> str:
    if source in ("", "none"):
        return "[bold red]nobody[/]" if source else "-"
    return source if source == "pool" else f"[yellow]{escape(source)}[/]"


def _age(age: float | None) -> str:
    if age is None:
        return "-"
    if math.isinf(age):
        return "[yellow]never[/]"
    return span(age) if age < STALE else f"[yellow]{span(age)}[/]"


def _restarts(count: int) -> str:
    return f"[yellow]{count}[/]" if count else "0"


def _count(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _range(values: list[int], plain: bool = False) -> str:
    low, high = min(values), max(values)
    shown = str if plain else _count
    return shown(low) if low == high else f"{shown(low)}..{shown(high)}"


def _bytes(count: int | None) -> str:
    """1.2 MB, as links are billed: powers of ten."""
    if count is None:
        return "-"
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.3g} {units[0]}" if units[0] != "B" else f"{count} B"


def span(seconds: float) -> str:
    """A length of time in one or two units: "0.4 s", "75 s", "3 min", "2 h 5 min", "4 d 1 h"."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if minutes < 120:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def _since(stamp: Any) -> float | None:
    try:
        return time.time() - datetime.fromisoformat(str(stamp)).timestamp()
    except ValueError:
        return None
