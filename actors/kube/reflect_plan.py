"""What a reflector asks next, and what it makes of the end of each request. Pure.

As client-go's reflector: a watch-list first, a paged list where the server has none, then watches
from the version reached. A clean end resumes at once; a broken one after a pause, and only after a
look whether the source is still the one we know: a cluster restored from a backup would otherwise
let a watch from a version of its lost future hang in silence, or, once the new history has passed
that version, leave out what it did before (`seam.py`). Sources: KEP-365, KEP-956, KEP-3157.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from actors.backoff import Backoff, RestartPolicy
from actors.kube.seam import Seam, contradiction
from bus.feed.types import Change, Item

PAGE = 500  # objects; client-go's
WATCH_SECONDS = (300, 600)  # drawn anew each time, so that watches do not end in step
GARBLED_LIMIT = 2  # endings in a row by unreadable events, then all is listed anew
RELIST_AGAIN = 30.0  # seconds; a second 410 within this time has to wait
QUICK = 1.0  # seconds a watch may end before its time and still have ended by time

# A first pause of 0.8 to 1.2 s; ten good seconds wipe the slate. At last 6.4 to 9.6 s, where
# client-go goes to 30: we are one client for all nodes of all pools, and they wait for us.
PAUSES = RestartPolicy(first=1.0, factor=2.0, ceiling=8.0, jitter=0.2, settle=10.0)

NO_WATCH_LIST = frozenset({400, 405, 422})  # servers before 1.32, and some extension servers


class Ask(StrEnum):
    PROBE = "probe"  # is the source still the same? (uid, and the version if we have one)
    WATCH_LIST = "watch-list"
    LIST = "list"
    WATCH = "watch"


class Request(NamedTuple):
    ask: Ask
    query: tuple[tuple[str, str], ...] = ()


class End(StrEnum):
    """How a request ended."""

    CLEAN = "clean"
    BROKEN = "broken"  # broke off, or nobody answers
    REFUSED = "refused"  # with a code
    GARBLED = "garbled"
    NO_MARK = "no end mark"  # a watch-list that does not know what it is
    TORN = "another past"  # a watch that does not tell what we know


class Ending(NamedTuple):
    end: End
    lasted: float  # seconds since the answer began; 0 if none did
    code: int = 0  # HTTP's, or that of an ERROR event
    retry_after: float = 0.0
    text: str = ""


@dataclass
class ReflectPlan:
    """`version` and `uid` may come from an earlier life: they show a source that went back."""

    version: int = 0  # list version up to which the source is known
    uid: str = ""  # the cluster's identity; "" where nobody may read it
    random: random.Random = field(default_factory=random.Random)
    policy: RestartPolicy = PAUSES
    relist: str = "start"  # why the state has to be fetched anew; "" while it is whole
    rolled_back: str = ""  # why versions may go back; until a whole state has been handed on
    watch_list: bool = True
    paged: bool = True
    suspicious: bool = True  # the source may have been exchanged behind our back
    seam: Seam | None = None  # what the next or running watch has yet to prove
    watch_seconds: int = 0  # of the running watch
    _is_held: bool = False  # whether a whole state came in this life
    _garbled: int = 0
    _last_relist: float = float("-inf")
    _backoff: Backoff = field(init=False)

    def __post_init__(self) -> None:
        self._backoff = Backoff(self.policy, self.random)

    def next(self) -> Request:
        if self.suspicious:
            return Request(Ask.PROBE, (("limit", "1"),) if self.version else ())
        if not self.relist:
            return Request(Ask.WATCH, self._watch_query())
        if self.watch_list:
            return Request(Ask.WATCH_LIST, self._watch_list_query())
        return Request(Ask.LIST, self._list_query())

    def _watch_query(self) -> tuple[tuple[str, str], ...]:
        self.watch_seconds = self.random.randint(*WATCH_SECONDS)
        return (
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", str(self.seam.start if self.seam else self.version)),
            ("timeoutSeconds", str(self.watch_seconds)),
        )

    def _watch_list_query(self) -> tuple[tuple[str, str], ...]:
        # No resourceVersion: the most recent state. An older one could pass for a rollback.
        self.watch_seconds = self.random.randint(*WATCH_SECONDS)
        return (
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("sendInitialEvents", "true"),
            ("resourceVersionMatch", "NotOlderThan"),
            ("timeoutSeconds", str(self.watch_seconds)),
        )

    def _list_query(self) -> tuple[tuple[str, str], ...]:
        # "0" is served from the server's cache, which may be behind: only where we know nothing.
        ignorant = not self.version and not self.rolled_back
        cached = (("resourceVersion", "0"),) if ignorant else ()
        return (("limit", str(PAGE)), *cached) if self.paged else cached

    def probed(self, uid: str, version: int | None, held: Mapping[str, Item]) -> None:
        """`version`: of a consistent list; None if it was not asked for. `held`: what we have."""
        self.suspicious = False
        if uid and self.uid and uid != self.uid:
            self._went_back(f"another cluster: kube-system is {uid}, was {self.uid}")
        elif version is not None and version < self.version:
            self._went_back(f"version {version} after {self.version}")
        self.uid = uid or self.uid
        self.seam = None if self.relist else self._make_seam(held)

    def _make_seam(self, held: Mapping[str, Item]) -> Seam | None:
        seam = Seam(held, self.version)
        if seam.start > 0:
            return seam
        self.relist = "nothing to compare"  # and as little to list, most likely
        return None

    def _went_back(self, why: str) -> None:
        self.rolled_back = why
        self.relist = "rollback"
        self.version = 0

    def listed(
        self, version: int, held: Mapping[str, Item] = {}, found: Mapping[str, Item] = {}
    ) -> None:
        """A whole state, as of `version`, is there: `found`, where `held` was known."""
        if version < self.version:
            self._went_back(f"version {version} after {self.version}")
        elif self._is_held and (why := contradiction(held, self.version, found)):
            self._went_back(why)
        self.version = version
        self._is_held = True
        self.relist = ""
        self.paged = True
        self._garbled = 0

    def handed_on(self) -> None:
        """The whole state has reached whom it is for."""
        self.rolled_back = ""

    def advanced(self, version: int) -> None:
        if version > self.version:
            self.version = version
            self._garbled = 0

    def proven(self) -> None:
        """The running watch goes on from our state."""
        self.seam = None

    def resync(self, reason: str) -> None:
        self.relist = reason
        self.suspicious = True

    def ended(self, ask: Ask, ending: Ending, now: float) -> float:
        """Seconds to wait before the next request."""
        if ending.end is End.CLEAN:
            return self._ended_clean(ending)
        if ending.end is End.TORN:
            self.relist = "another past"
            return 0.0
        if ask is Ask.WATCH_LIST and self._lacks_watch_list(ending):
            self.watch_list = False
            return 0.0
        if ending.code == 410:
            return self._expired(ask, ending, now)
        self.suspicious = True
        if ending.end is End.GARBLED:
            self._note_garbled()
        return max(self._backoff.failed(ending.lasted), ending.retry_after)

    def _ended_clean(self, ending: Ending) -> float:
        if ending.lasted >= self.watch_seconds - QUICK and self.seam is None:
            return 0.0
        # Before its time: the server stops, in good order. Its successor may be another one, and
        # one that does nothing but end watches must not be asked in a tight loop.
        self.suspicious = True
        pause = self._backoff.failed(ending.lasted)
        return 0.0 if self._backoff.failures == 1 else pause

    def _lacks_watch_list(self, ending: Ending) -> bool:
        return ending.end is End.NO_MARK or ending.code in NO_WATCH_LIST

    def _expired(self, ask: Ask, ending: Ending, now: float) -> float:
        if ask is Ask.LIST:
            self.paged = False  # the pages' snapshot is gone: all at once, as client-go does
        self.relist = "expired"
        again, self._last_relist = now - self._last_relist < RELIST_AGAIN, now
        return max(self._backoff.failed(ending.lasted) if again else 0.0, ending.retry_after)

    def _note_garbled(self) -> None:
        self._garbled += 1
        if self._garbled >= GARBLED_LIMIT:
            self.relist = "garbled"


def difference(
    old: Mapping[str, Item], new: Mapping[str, Item], version: int
) -> tuple[Change, ...]:
    """What leads from `old` to `new`, deletes first, puts by version.

    A list tells no delete's own version; the list's own is right for all of them.
    """
    gone = [Change(key, version, None) for key in sorted(old.keys() - new.keys())]
    return (*gone, *_puts(old, new.items()))


def _puts(old: Mapping[str, Item], items: Iterable[tuple[str, Item]]) -> list[Change]:
    puts = [Change(key, *item) for key, item in items if old.get(key) != item]
    return sorted(puts, key=lambda put: put.version)
