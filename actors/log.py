"""Logs: one loguru sink a process, one line per event, the standard library's logs routed into it.

Text for people: an event starts at the left edge and nothing else does; a traceback follows it
indented, and line breaks or control characters in a message are escaped, so that no foreign text
can look like an event of ours. JSON (`log.json`): exactly one object a line, tracebacks inside.

A message repeated without end is told a few times, then counted (see `Repeats`).
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loguru import logger as logger  # for those below who are given none

from actors.specs import LogSettings

if TYPE_CHECKING:
    from loguru import Message, Record

Write = Callable[[str], object]

# These talk about their mechanics at info, and kubernetes puts bodies (with secrets) at debug.
_CHATTY = ("aiohttp", "asyncio", "filelock", "kubernetes", "nats", "ray", "urllib3", "watchfiles")
_OURS = ("bus", "configs")
_PLACE = ("site", "node", "actor", "logger")
_COLOURS = {"TRACE": 2, "DEBUG": 2, "WARNING": 33, "ERROR": 31, "CRITICAL": 31}
_BREAKS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")  # all but tab


def to_stderr(line: str) -> None:
    """Whatever standard error is now; a closed one is no reason to fail."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(line)
        sys.stderr.flush()


def setup(
    settings: LogSettings,
    write: Write = to_stderr,
    *,
    site: str = "",
    node: str = "",
    colour: bool | None = None,
) -> None:
    """Makes this process log as `settings` say, to `write` (whole lines), instead of before.

    `site` and `node` stand in events whose logger has none bound, such as the libraries'.
    """
    global _current
    teardown()
    colour = wants_colour() if colour is None else colour
    _current = _Log(write, {"site": site, "node": node}, colour and not settings.json)
    apply(settings)


def apply(settings: LogSettings) -> None:
    """Level and form from now on; needs no restart. Without a `setup` it makes one."""
    if _current is None:
        setup(settings)
    else:
        _current.apply(settings)


def relay(lines: str) -> None:
    """Passes on whole lines that another process of ours rendered, as they are."""
    write = _current.write if _current else to_stderr
    write(lines)


def adopt_libraries() -> None:
    """Routes the standard library's logging here. Again after importing ray: it adds handlers."""
    level = _current.stdlib_level if _current else logging.INFO
    root = logging.getLogger()
    for name in ("", *_CHATTY):
        _drop_printers(logging.getLogger(name))
    if _handler not in root.handlers:
        root.addHandler(_handler)
    root.setLevel(max(level, logging.INFO))
    for name in _OURS:
        logging.getLogger(name).setLevel(level)
    for name in _CHATTY:
        quiet = logging.INFO if level < logging.DEBUG else logging.WARNING
        logging.getLogger(name).setLevel(max(level, quiet))
    logging.captureWarnings(True)


def teardown() -> None:
    """Back to no sink at all, telling what was held back as a repetition."""
    global _current
    if _current is not None:
        _current.remove()
        _current = None
    logging.getLogger().removeHandler(_handler)
    logging.getLogger().setLevel(logging.WARNING)
    for name in (*_OURS, *_CHATTY):
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.captureWarnings(False)


class _Log:
    """The process's one sink and how it renders."""

    def __init__(self, write: Write, place: Mapping[str, str], colour: bool) -> None:
        self.write = write
        self._place = place
        self._colour = colour
        self._repeats = Repeats(time.monotonic)
        self._render: Callable[[Event], str] = render_text
        self._sink: int | None = None
        self.stdlib_level = logging.INFO

    def apply(self, settings: LogSettings) -> None:
        level = settings.level.upper()
        self.stdlib_level = logger.level(level).no
        if settings.json:
            self._render = render_json
        else:
            self._render = render_colour if self._colour else render_text
        self._remove_sink()
        # The traceback alone: the rest is rendered from the record. Values of variables stay out
        # of it (diagnose), for they may be secrets.
        self._sink = logger.add(
            self._emit, level=level, format=_exception_only, backtrace=False, diagnose=False
        )
        adopt_libraries()

    def remove(self) -> None:
        self._remove_sink()
        self._tell(self._repeats.flush())

    def _remove_sink(self) -> None:
        old, self._sink = self._sink, None
        with contextlib.suppress(ValueError):  # someone removed all sinks
            logger.remove(old)  # None, at first: all there are, loguru's own among them

    def _emit(self, message: Message) -> None:
        event = Event.of(message.record, str(message), self._place)
        is_told, due = self._repeats.see(event.identity, event)
        self._tell(due)
        if is_told:
            self.write(self._render(event))

    def _tell(self, due: Iterator[tuple[Any, int]]) -> None:
        for event, count in due:
            self.write(self._render(event.repeated(count)))


_current: _Log | None = None


@atexit.register
def _at_exit() -> None:
    if _current is not None:
        _current.remove()  # tells what was held back as a repetition


def _exception_only(_: Record) -> str:
    return "{exception}"


def wants_colour() -> bool:
    return sys.stderr is not None and sys.stderr.isatty() and "NO_COLOR" not in os.environ


@dataclass(frozen=True)
class Event:
    """What is told of one log call."""

    time: float  # seconds since the epoch
    level: str
    place: Mapping[str, str]  # site, node, actor, logger; "" where unknown
    message: str
    extra: Mapping[str, Any]
    exception: str = ""  # the traceback

    @classmethod
    def of(cls, record: Record, exception: str, defaults: Mapping[str, str]) -> Event:
        bound = record["extra"]
        place = {key: str(bound.get(key) or defaults.get(key, "")) for key in _PLACE}
        extra = {key: value for key, value in bound.items() if key not in _PLACE}
        stamp = record["time"].timestamp()
        return cls(stamp, record["level"].name, place, record["message"], extra, exception.strip())

    @property
    def identity(self) -> Hashable:
        return (self.level, *self.place.values(), self.message)

    def repeated(self, count: int) -> Event:
        message = f"{self.message} ({count} more like this)"
        return Event(time.time(), self.level, self.place, message, self.extra)


class Repeats:
    """Tells an identical message `limit` times a window, then counts it until the window is over.

    The count is told by the next event after that, or by `flush`. Bounded: beyond `keys` different
    messages the one seen first is forgotten (its count told).
    """

    def __init__(
        self,
        clock: Callable[[], float],
        limit: int = 5,
        window: float = 10.0,  # seconds
        keys: int = 1000,
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._window = window
        self._keys = keys
        self._seen: OrderedDict[Hashable, tuple[float, int, Any]] = OrderedDict()

    def see(self, key: Hashable, event: Any) -> tuple[bool, Iterator[tuple[Any, int]]]:
        """Whether to tell `event`, and before it: earlier events with how often they were not."""
        now = self._clock()
        due = list(self._expired(now))
        since, count, _ = self._seen.get(key, (now, 0, event))
        self._seen[key] = (since, count + 1, event)
        if len(self._seen) > self._keys:
            due += self._forget()
        return count < self._limit, iter(due)

    def flush(self) -> Iterator[tuple[Any, int]]:
        """All that is held back."""
        while self._seen:
            yield from self._forget()

    def _expired(self, now: float) -> Iterator[tuple[Any, int]]:
        # In order of their beginnings, so that only those that are over are looked at.
        while self._seen and now - next(iter(self._seen.values()))[0] >= self._window:
            yield from self._forget()

    def _forget(self) -> Iterator[tuple[Any, int]]:
        _, (_, count, event) = self._seen.popitem(last=False)
        if count > self._limit:
            yield event, count - self._limit


def render_json(event: Event) -> str:
    """One object: time (UTC), level, site, node, actor, logger, message, extras, exception."""
    fields: dict[str, Any] = {
        "time": f"{_utc(event.time)}Z",
        "level": event.level.lower(),
        **{key: value for key, value in event.place.items() if value},
        "message": event.message,
        **{key: value for key, value in event.extra.items() if key not in ("time", "level")},
    }
    if event.exception:
        fields["exception"] = event.exception
    text = json.dumps(fields, ensure_ascii=False, default=str)
    return f"{_encodable(_BREAKS.sub(_json_escape, text))}\n"


def render_text(event: Event) -> str:
    """time LEVEL site/node actor: message key=value"""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
    stamp = f"{stamp}.{int(event.time % 1 * 1000):03d}"
    where = _where(event.place)
    return f"{stamp} {event.level:<7} {where}{_body(event)}{_traceback(event)}\n"


def render_colour(event: Event) -> str:
    """The same for a terminal: only the time of day, and colours."""
    stamp = time.strftime("%H:%M:%S", time.localtime(event.time))
    code = _COLOURS.get(event.level, 36)
    level, where = f"\x1b[{code}m{event.level:<7}\x1b[0m", f"\x1b[2m{_where(event.place)}\x1b[0m"
    return f"\x1b[2m{stamp}\x1b[0m {level} {where}{_body(event)}{_traceback(event)}\n"


def _where(place: Mapping[str, str]) -> str:
    spot = "/".join(part for part in (place["site"], place["node"]) if part)
    who = place["actor"] or place["logger"]
    text = " ".join(part for part in (spot, who) if part)
    return f"{_escaped(text)}: " if text else ""


def _body(event: Event) -> str:
    extras = "".join(f" {key}={value}" for key, value in event.extra.items())
    return _escaped(f"{event.message}{extras}")


def _traceback(event: Event) -> str:
    return "".join(f"\n    {_escaped(line)}" for line in event.exception.split("\n") if line)


def _escaped(text: str) -> str:
    return _encodable(_BREAKS.sub(lambda match: repr(match.group())[1:-1], text))


def _json_escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _utc(stamp: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(stamp))
    return f"{whole}.{int(stamp % 1 * 1000):03d}"


class _ToLoguru(logging.Handler):
    """The standard library's records, told as ours."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname if record.levelname in _LEVELS else record.levelno
        if str(record.msg).startswith(_HARMLESS):
            level = "DEBUG"
        told = logger.bind(logger=record.name).opt(exception=record.exc_info)
        told.log(level, "{}", record.getMessage().rstrip())


_HARMLESS = ("returning true from eof_received",)
"""asyncio says it whenever a TLS connection ends that was upgraded as nats-py does it."""

_LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}
_handler = _ToLoguru()


def _drop_printers(library: logging.Logger) -> None:
    for handler in list(library.handlers):
        is_printer = isinstance(handler, logging.StreamHandler) and not isinstance(
            handler, logging.FileHandler
        )
        if is_printer and type(handler).__module__.split(".")[0] in ("logging", "ray"):
            library.removeHandler(handler)
    library.propagate = True
