"""What waits, in memory: chains by object, bounds, what was dropped. No I/O."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from actors.kube.status_errors import ApiError
from edge.offline.chain import Chain, Edit
from edge.offline.entry import Entry, decoded, encoded, meta_of, uid_of, version_of
from edge.offline.merge import Object
from edge.offline.reports import Report
from edge.offline.settings import OfflineSettings

Place = tuple[str, str]  # Resource.name, key
_MOST_SETTLED = 1024
_AWAITED = 600.0  # seconds; nobody may follow the object
_BEHIND = 30.0  # seconds that one watch may be behind another


@dataclass(frozen=True)
class Settled:
    """What the API server made of a replayed write, until the object comes by watch as well.

    Once it `is_there` it is kept a little longer, for the watches that are behind.
    """

    view: bytes | None
    version: int
    uid: str
    until: float  # seconds since 1970
    is_there: bool = False

    def shows(self, raw: bytes | None) -> tuple[bytes | None, bool]:
        """What to show when the cloud tells `raw`; and whether it is as far as we are."""
        if raw is None:
            return None, True
        obj = decoded(raw)
        if uid_of(obj) != self.uid:
            return raw, True
        if self.view is None:
            is_ending = "deletionTimestamp" in meta_of(obj)
            return (raw, True) if is_ending else (None, False)
        return (raw, True) if version_of(obj) >= self.version else (self.view, False)


def settled(answer: Object | None, uid: str, now: float) -> Settled:
    until = now + _AWAITED
    if answer is None:
        return Settled(None, 0, uid, until)
    return Settled(encoded(answer), version_of(answer), uid_of(answer), until)


class Book:
    def __init__(self, settings: OfflineSettings) -> None:
        self.settings = settings
        self.chains: dict[Place, Chain] = {}
        self.settled: OrderedDict[Place, Settled] = OrderedDict()
        self.busy: set[int] = set()  # on their way
        self.reports: deque[tuple[int, Report]] = deque(maxlen=settings.max_reports)
        self.counts: Counter[str] = Counter()
        self.bytes = 0
        self.entries = 0
        self.events = 0
        self._next = 1

    def load(self, entries: Iterable[Entry]) -> None:
        found: dict[Place, list[Entry]] = {}
        for entry in entries:
            found.setdefault(entry.place, []).append(entry)
            self._next = max(self._next, entry.id + 1)
        for place, chain in found.items():
            self.set(place, Chain.of(chain))

    def number(self) -> int:
        """Of a new entry."""
        self._next += 1
        return self._next - 1

    def report_number(self) -> int:
        return self.reports[-1][0] + 1 if self.reports else 1

    def set(self, place: Place, chain: Chain | None) -> None:
        """Replaces a chain; None, or an empty one: nothing waits any more."""
        self._count(self.chains.pop(place, None), -1)
        if chain is not None and chain.entries:
            self.chains[place] = chain
            self.settled.pop(place, None)
            self._count(chain, +1)

    def _count(self, chain: Chain | None, sign: int) -> None:
        for entry in chain.entries if chain is not None else ():
            self.entries += sign
            self.bytes += sign * entry.size
            self.events += sign * entry.is_event

    def settle(self, place: Place, found: Settled) -> None:
        self.settled[place] = found
        self.settled.move_to_end(place)
        while len(self.settled) > _MOST_SETTLED:
            self.settled.popitem(last=False)

    def awaited(self, place: Place, now: float) -> Settled | None:
        """What was replayed and has not come by watch yet."""
        found = self._settled(place, now)
        return found if found is not None and not found.is_there else None

    def _settled(self, place: Place, now: float) -> Settled | None:
        found = self.settled.get(place)
        if found is not None and found.until <= now:
            del self.settled[place]
            return None
        return found

    def told(self, place: Place, raw: bytes | None, now: float) -> bytes | None:
        """The cloud tells of an object of which nothing waits: what to show."""
        found = self._settled(place, now)
        if found is None:
            return raw
        visible, is_there = found.shows(raw)
        if is_there and not found.is_there:
            self.settled[place] = replace(found, until=now + _BEHIND, is_there=True)
        return visible

    def in_order(self) -> list[Entry]:
        """Of replay."""
        return sorted(self.all(), key=lambda entry: entry.order)

    def all(self) -> Iterator[Entry]:
        for chain in self.chains.values():
            yield from chain.entries

    def is_first(self, entry: Entry) -> bool:
        """Whether nothing of the same object has to be done before."""
        chain = self.chains.get(entry.place)
        return chain is not None and bool(chain.entries) and chain.entries[0].id == entry.id

    # -- bounds -----------------------------------------------------------------------------------

    def make_room(self, place: Place, edit: Edit, is_held: Callable[[Place], bool]) -> list[Entry]:
        """The events, oldest first, that must go so that the edit fits. Raises ApiError 507.

        Whose status waits is never dropped: a write that does not fit is refused.
        """
        held = self.chains.get(place)
        old = held.entries if held is not None else ()
        more = _weigh(edit.entries) - _weigh(old)
        limits = self.settings
        need_bytes = self.bytes + more.bytes - limits.max_bytes
        need_entries = self.entries + more.entries - limits.max_entries
        need_events = self.events + more.events - limits.max_events
        if more.bytes <= 0 and more.entries <= 0:
            return []
        victims: list[Entry] = []
        for event in self._oldest_events(place, is_held):
            if max(need_bytes, need_entries, need_events) <= 0:
                break
            victims.append(event)
            need_bytes -= event.size
            need_entries -= 1
            need_events -= 1
        if max(need_bytes, need_entries) > 0 or (need_events > 0 and more.events > 0):
            raise self.full()
        return victims

    def _oldest_events(self, place: Place, is_held: Callable[[Place], bool]) -> Iterator[Entry]:
        if self.events == 0:
            return
        for entry in sorted(self.all(), key=lambda entry: entry.id):
            if entry.is_event and entry.place != place and entry.id not in self.busy:
                chain = self.chains[entry.place]
                if len(chain.entries) == 1 and not is_held(entry.place):
                    yield entry

    def full(self, why: str = "") -> ApiError:
        why = why or (
            f"{self.entries} writes, {self.bytes} bytes wait for the API server, which cannot be"
            " reached"
        )
        message = f"no room for offline writes: {why}; this one was not queued"
        return ApiError(507, "InsufficientStorage", message, retry_after=self.settings.retry_after)


@dataclass(frozen=True)
class _Weight:
    bytes: int
    entries: int
    events: int

    def __sub__(self, other: _Weight) -> _Weight:
        return _Weight(
            self.bytes - other.bytes, self.entries - other.entries, self.events - other.events
        )


def _weigh(entries: Iterable[Entry]) -> _Weight:
    found = list(entries)
    return _Weight(sum(e.size for e in found), len(found), sum(e.is_event for e in found))
