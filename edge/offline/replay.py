"""One pass over what waits: each entry is sent, settled on disk, then the next.

An entry leaves the queue after the API server's answer. A process that dies in between sends it
again, which finds it done (see `plan`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from actors.kube.resource import path_of
from actors.kube.status_errors import ApiError
from edge.offline import plan as plans
from edge.offline.api import Replayed, Upstream
from edge.offline.bodies import as_api_error
from edge.offline.book import Book, settled
from edge.offline.chain import Chain, fold
from edge.offline.entry import Entry, Kind, decoded, encoded
from edge.offline.merge import Object
from edge.offline.plan import Action, Call, Step
from edge.offline.reports import Report, event_of, report_of
from edge.offline.settings import OfflineSettings
from edge.offline.store import Ops, StoreFailed

if TYPE_CHECKING:
    from loguru import Logger

    from edge.offline.offline import Offline

_CUT = (ApiError, OSError, TimeoutError)
_LATER = frozenset({408, 425, 429})


@dataclass(frozen=True)
class _Done:
    """`answer`: what the API server has now, None where it has none; `is_known`: that was told."""

    answer: Object | None
    is_known: bool
    fields: tuple[str, ...] = ()
    why: str = ""
    is_dropped: bool = False


class _Later(Exception):
    """Not now."""

    def __init__(self, why: str, is_refusal: bool = False) -> None:
        super().__init__(why)
        self.is_refusal = is_refusal


@dataclass
class _Retry:
    tries: int = 0
    refusals: int = 0
    at: float = 0.0


class Replay:
    def __init__(
        self,
        offline: Offline,
        book: Book,
        settings: OfflineSettings,
        clock: Callable[[], float],
        log: Logger,
    ) -> None:
        self._offline = offline
        self._book = book
        self._settings = settings
        self._clock = clock
        self._log = log
        self._retries: dict[int, _Retry] = {}
        self._one = asyncio.Lock()

    async def __call__(self, upstream: Upstream) -> Replayed:
        async with self._one:
            before = self._book.counts["replayed"], self._book.counts["dropped"]
            is_cut = False
            try:
                await self._pass(upstream)
            except _CUT as error:
                is_cut = True
                self._log.debug("the replay of offline writes is cut off: {}", error)
            except StoreFailed as error:
                self._log.error("the queue of offline writes cannot be written: {}", error)
            return self._result(before, is_cut)

    def _result(self, before: tuple[int, int], is_cut: bool) -> Replayed:
        counts, left = self._book.counts, self._book.entries
        ids = {entry.id for entry in self._book.in_order()}
        self._retries = {n: retry for n, retry in self._retries.items() if n in ids}
        times = [retry.at - self._clock() for retry in self._retries.values()]
        done = Replayed(
            sent=counts["replayed"] - before[0],
            dropped=counts["dropped"] - before[1],
            left=left,
            retry_in=max(0.0, min(times)) if left and times else None,
            is_cut=is_cut,
        )
        if done.sent or done.dropped:
            self._log.info("offline writes replayed: {}", done)
        return done

    async def _pass(self, upstream: Upstream) -> None:
        """Raises what says that the API server cannot be reached, and StoreFailed."""
        failures, events_wait = 0, False
        while (found := self._next(events_wait)) is not None:
            entry = await self._taken(found)
            if entry is None:
                continue
            try:
                done = await self._tried(entry, upstream)
                if done is not None:
                    settling = self._offline.own("offline-settle", self._settle(entry, done))
                    await asyncio.shield(settling)
            finally:
                self._book.busy.discard(entry.id)
            failures = 0 if done is not None else failures + 1
            # Those behind it wait as well: events keep their order.
            events_wait = events_wait or (done is None and entry.is_event)
            if failures >= self._settings.failures:
                return

    async def _taken(self, found: Entry) -> Entry | None:
        """As it is once no write is being joined into it; from now on none will be."""
        async with self._offline.locked(found.place):
            if not self._book.is_first(found):
                return None
            entry = self._book.chains[found.place].entries[0]
            self._book.busy.add(entry.id)
            return entry

    async def _tried(self, entry: Entry, upstream: Upstream) -> _Done | None:
        """None: it is put off."""
        try:
            return await self._sent(entry, upstream)
        except _Later as later:
            return self._put_off(entry, later)

    def _next(self, events_wait: bool) -> Entry | None:
        now = self._clock()
        for entry in self._book.in_order():
            retry = self._retries.get(entry.id)
            is_due = retry is None or retry.at <= now
            if entry.is_event and (events_wait or not is_due):
                return None  # events come last, and in order
            if is_due and self._book.is_first(entry):
                return entry
        return None

    def _put_off(self, entry: Entry, later: _Later) -> _Done | None:
        """None: until later; else it is given up."""
        retry = self._retries.setdefault(entry.id, _Retry())
        retry.tries += 1
        retry.refusals += later.is_refusal
        if retry.refusals >= self._settings.refusals:
            return _Done(None, is_known=False, why=str(later), is_dropped=True)
        settings = self._settings
        pause = min(settings.backoff * 2 ** min(retry.tries - 1, 20), settings.max_backoff)
        retry.at = self._clock() + pause
        self._log.debug("{} of {} is put off for {} s: {}", entry.kind, entry.place, pause, later)
        return None

    # -- sending ----------------------------------------------------------------------------------

    async def _sent(self, entry: Entry, upstream: Upstream) -> _Done:
        """Raises _Later, and what says that the API server cannot be reached."""
        server, is_asked = plans.assumed(entry), False
        for _ in range(self._settings.conflicts):
            action = plans.plan(entry, server, self._clock(), is_asked=is_asked)
            done = await self._done(entry, action, server, is_asked, upstream)
            if done is not None:
                return done
            server, is_asked = await self._ask(entry, upstream), True
        raise _Later("the object changes faster than it can be written")

    async def _done(
        self,
        entry: Entry,
        action: Action,
        server: Object | None,
        is_asked: bool,
        upstream: Upstream,
    ) -> _Done | None:
        """None: the server has to be asked what it has."""
        if action.step is Step.ASK:
            return None
        if action.step is not Step.SEND:
            is_dropped = action.step is Step.DROP
            return _Done(server, is_asked, action.dropped, action.why, is_dropped)
        answer = server
        for call in action.calls:
            code, body = await self._call(call, entry, upstream)
            if code == 409 or (code == 404 and call.method != "POST"):
                if code == 404 and call.method == "DELETE":
                    return _Done(None, is_known=True)
                if code == 404 and is_asked and entry.kind is not Kind.DELETE:
                    return _dropped(code, body)
                return None
            if code >= 300:
                return _dropped(code, body)
            answer = _object(body, entry)
        if entry.kind is Kind.DELETE:
            return _Done(None, is_known=True)
        return _Done(answer, is_known=answer is not None, fields=action.dropped)

    async def _call(self, call: Call, entry: Entry, upstream: Upstream) -> tuple[int, bytes]:
        """Raises _Later for what may end otherwise another time."""
        headers = {
            "Content-Type": call.content_type,
            "Accept": "application/json",
            "User-Agent": f"{entry.component or 'unknown'}/offline (atoll)",
        }
        code, body = await upstream.request(
            call.method, call.path, headers, msgspec.json.encode(call.body), entry.identity
        )
        return self._checked(code, body)

    async def _ask(self, entry: Entry, upstream: Upstream) -> Object | None:
        path = path_of(entry.resource, entry.namespace, entry.name)
        headers = {"Accept": "application/json", "User-Agent": "atoll-hub"}
        code, body = self._checked(
            *await upstream.request("GET", path, headers, b"", entry.identity)
        )
        if code == 404:
            return None
        if code != 200:
            raise _Later(f"it cannot be read: {as_api_error(code, body).message}", is_refusal=True)
        return decoded(body)

    def _checked(self, code: int, body: bytes) -> tuple[int, bytes]:
        if code >= 500 or code in _LATER:
            raise _Later(f"{code}: {as_api_error(code, body).message}")
        if code in (401, 403):  # a server that has just started says so to everyone
            raise _Later(f"{code}: {as_api_error(code, body).message}", is_refusal=True)
        return code, body

    # -- settling ---------------------------------------------------------------------------------

    async def _settle(self, entry: Entry, done: _Done) -> None:
        """What was answered, on disk and in what is shown. Raises StoreFailed."""
        async with self._offline.locked(entry.place):
            chain = self._book.chains[entry.place]
            held = chain.entries[0]
            assert held.id == entry.id
            left, rest = self._left(held, done), chain.entries[1:]
            if held.kind is Kind.CREATE and done.answer is not None and not done.is_dropped:
                rest = tuple(plans.renamed(each, done.answer) for each in rest)
            entries = (left, *rest) if left is not None else rest
            report, event = self._report(held, done)
            ops = Ops(
                puts=tuple(
                    each
                    for each in (*entries, event)
                    if each is not None and each not in chain.entries
                ),
                removes=() if left is not None else (held.id,),
                reports=(self._offline.note(report),) if report is not None else (),
                oldest_report=self._book.reports[0][0] if self._book.reports else 0,
            )
            await self._offline.commit(ops)
            self._close(held, entries, done)
            if event is not None:
                self._book.set(event.place, Chain.of([event]))
        self._offline.catch_up(entry.place)

    def _left(self, entry: Entry, done: _Done) -> Entry | None:
        """What is still to be done of it."""
        if entry.kind is not Kind.CREATE or done.answer is None or done.is_dropped:
            return None
        return plans.adopted(entry, done.answer)

    def _report(self, entry: Entry, done: _Done) -> tuple[Report | None, Entry | None]:
        fields = () if done.is_dropped else done.fields
        if not (done.is_dropped or fields):
            return None, None
        why = done.why if done.is_dropped else "the API server's object has changed there meanwhile"
        report = report_of(entry, why, fields, self._clock())
        self._log.warning(
            "an offline {} of {} {} is dropped{}: {}", entry.kind.value, entry.resource.name,
            entry.key, f" ({', '.join(fields)})" if fields else "", why,
        )  # fmt: skip
        settings = self._settings
        has_room = self._book.events < settings.max_events
        if not has_room:
            return report, None
        return report, event_of(entry, report, self._book.number(), settings.node)

    def _close(self, entry: Entry, entries: tuple[Entry, ...], done: _Done) -> None:
        book, place = self._book, entry.place
        book.counts["dropped" if done.is_dropped else "replayed"] += 1
        self._retries.pop(entry.id, None)
        answer = plans.without_managers(done.answer) if done.answer is not None else None
        if not entries:
            book.set(place, None)
            if not done.is_known:
                self._offline.restore(entry)
                return
            book.settle(place, settled(answer, entry.uid, self._clock()))
            self._offline.show(entry, book.settled[place].view)
            return
        chain = Chain(entries, None)
        if done.is_known:
            chain, _ = chain.on(answer)
        else:
            visible = fold(entries, decoded(entry.base) if entry.base is not None else None)
            chain = Chain(entries, encoded(visible) if visible is not None else None)
        book.set(place, chain)
        self._offline.show(entry, chain.view)


def _dropped(code: int, body: bytes) -> _Done:
    why = f"{code}: {as_api_error(code, body).message}"
    return _Done(None, is_known=False, why=why, is_dropped=True)


def _object(body: bytes, entry: Entry) -> Object | None:
    """What the server answers to a write; of a delete maybe a Status."""
    try:
        obj = decoded(body)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    return obj if obj.get("kind") == entry.resource.kind else None
