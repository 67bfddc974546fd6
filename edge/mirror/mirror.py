"""One mirror: a scope's objects, kept current by one stream, readable whatever becomes of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf, isinf
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from actors.backoff import Backoff, RestartPolicy
from actors.kube.filters import make_filter
from actors.kube.resource import Resource
from actors.kube.selectors import parse_fields, parse_labels
from actors.kube.status_errors import ApiError, service_unavailable
from actors.kube.watchcache import CacheSettings, Entry, WatchCache
from bus.clock import awake_time
from bus.errors import BusDown, BusError, DecodeError
from bus.feed.types import Change
from bus.mirror import HEADER, WENT_BACK, Failed, Frames, encode_ask, fits
from bus.stream import Answering, Request, Streams
from edge.hub.gone import Gone, is_gone
from edge.hub.progress import Progress
from edge.mirror.follow import AskAnew, Follow, as_told
from edge.mirror.keeping import Keeper, MirrorDisk
from edge.mirror.scope import TOKEN, Scope

if TYPE_CHECKING:
    from loguru import Logger

Headers = Sequence[tuple[str, str]]
Spawn = Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]

_VERDICTS = frozenset({400, 401, 403, 404, 405, 406})  # a first list that ends so is not asked anew
_ERROR_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class MirrorSettings:
    """Units: seconds and bytes."""

    stale_after: float = 5.0  # older contents are served with a Warning
    idle: float = 600.0  # without a reader, then the stream ends; the contents stay
    most: int = 256  # scopes at a time
    care: float = 30.0  # how often the disk is told that nothing happened
    verdict: float = 1.0  # for which a refusal holds: no hammering, but changed rights work soon
    cache: CacheSettings = field(default_factory=CacheSettings)
    pauses: RestartPolicy = field(
        default_factory=lambda: RestartPolicy(first=0.2, ceiling=5.0, jitter=0.3, settle=10.0)
    )


class LocalWrites(Protocol):
    """What was written here and is not yet at the API server."""

    def shown(self, resource: Resource, key: str, raw: bytes | None) -> bytes | None:
        """What to show of an object, now that the API server tells `raw` (None: it is gone)."""

    def views(self, resource: Resource) -> Iterable[tuple[str, bytes | None]]:
        """All objects that look otherwise than the API server told last, by key."""


class MirrorCache(WatchCache):
    """That tells whether anybody waits for its events."""

    @property
    def is_watched(self) -> bool:
        return bool(self._on_event)


class Mirror:
    """Implements `actors.kube.serve.api.Source`. Made by `Mirrors`.

    Contents are never dropped because of an error; they only get older. What they may lack is told
    by `age` and `warning`.
    """

    def __init__(
        self,
        scope: Scope,
        client: Streams,
        disk: MirrorDisk | None,
        settings: MirrorSettings,
        *,
        spawn: Spawn,
        log: Logger,
        clock: Callable[[], float] = awake_time,
        writes: LocalWrites | None = None,
    ) -> None:
        self.scope = scope
        self.cache = MirrorCache(scope.resource, settings.cache)
        self.headers: Headers = ()  # sent at the next connection
        self.progress = Progress()
        self.counts: Counter[str] = Counter()
        self.used = clock()
        self.error = ""  # what is wrong now
        self._client = client
        self._settings = settings
        self._spawn = spawn
        self._log = log
        self._clock = clock
        self._writes = writes
        shown = as_told if writes is None else partial(writes.shown, scope.resource)
        self._follow = Follow(self.cache, shown)
        self._keeper = Keeper(disk, scope, log)
        self._backoff = Backoff(settings.pauses)
        self._task: asyncio.Task[None] | None = None
        self._answer: Answering | None = None
        self._heard = -inf  # when the contents were last known to be current
        self._holders = 0
        self._is_loaded = False
        self._wanted = asyncio.Event()  # somebody waits for the first fill
        self._verdict: tuple[ApiError, float] | None = None  # and until when it holds

    def __repr__(self) -> str:
        return f"<Mirror {self.scope}: {len(self.cache)} at {self.cache.version}>"

    # -- Source -----------------------------------------------------------------------------------

    async def wait_version(self, version: int | None, timeout: float) -> bool:
        """None: until it is as fresh as can be expected; where nobody can be asked, that is now."""
        if version is not None:
            return await self.progress.wait_for(lambda: self.cache.version >= version, timeout)
        if not self._client.is_up or self.error or self._follow.stale:
            return True
        return await self.progress.wait_for(lambda: self.is_live, timeout)

    async def wait_gone(self, gone: Gone, timeout: float) -> bool:
        return await self.progress.wait_for(lambda: is_gone(self.cache, gone), timeout)

    def warning(self) -> str | None:
        age = self.age()
        if age <= self._settings.stale_after:
            return None
        how_old = "nobody knows how old" if isinf(age) else f"last known current {age:.0f} s ago"
        return f"served from the edge cache, {how_old}"

    # -- more for readers -------------------------------------------------------------------------

    async def filled(self, timeout: float) -> None:
        """Until there is something to read. Raises ApiError: the API server's own, or 503."""
        if self.cache.filled:
            return
        self._raise_verdict()
        self._wanted.set()
        await self.progress.wait_for(
            lambda: self.cache.filled or self._verdict is not None, timeout
        )
        if not self.cache.filled:
            self._raise_verdict()
            what = self.scope.resource.name
            why = f": {self.error}" if self.error else ""
            raise service_unavailable(f"{what} are not known here yet{why}")

    def _raise_verdict(self) -> None:
        if self._verdict is None:
            return
        error, until = self._verdict
        if self._clock() < until:
            raise error
        self._verdict = None

    @property
    def is_live(self) -> bool:
        """Whether what happens now is told at once."""
        return self._follow.is_live and self._answer is not None

    def age(self) -> float:
        """Seconds since the contents were known to be current; inf while there are none.

        An open stream proves it by its keep-alives: what its server would have told is not older.
        """
        if self.is_live and self._answer is not None:
            silence = self._answer.silence()
            if not isinf(silence):
                self._heard = max(self._heard, self._clock() - silence)
        return max(0.0, self._clock() - self._heard)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """While somebody watches, also by way of a derived cache, it is not idle."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            self.used = self._clock()

    @property
    def is_watched(self) -> bool:
        return self._holders > 0 or self.cache.is_watched

    # -- what is written here ---------------------------------------------------------------------

    def revise(self, key: str, raw: bytes | None) -> None:
        """Show this object so from now on, until the API server tells of it; None: not at all.

        An object that is not in the scope is not shown.
        """
        if not self.cache.filled:
            return
        held = self.cache.get(key)
        version = held.version if held is not None else self.cache.version
        shown = raw if raw is not None and self._selects(Entry(key, version, raw)) else None
        self.cache.revise([Change(key, version, shown)])

    def restore(self, key: str) -> None:
        """Show again what the API server told last."""
        told = self._follow.items.get(key)
        self.cache.restore([key])
        self.revise(key, told.data if told is not None else None)

    def _selects(self, entry: Entry) -> bool:
        scope = self.scope
        labels, fields = parse_labels(scope.labels), parse_fields(scope.fields)
        chosen = make_filter(
            scope.resource, self.cache.reader, scope.namespace, labels=labels, fields=fields
        )
        return chosen.matches(entry, self.cache.reader)

    def _show_writes(self) -> None:
        if self._writes is not None:
            for key, raw in self._writes.views(self.scope.resource):
                self.revise(key, raw)

    # -- life -------------------------------------------------------------------------------------

    @property
    def is_following(self) -> bool:
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Idempotent."""
        if not self.is_following:
            self._task = self._spawn(f"mirror of {self.scope}", self._run())

    async def pause(self) -> None:
        """Ends the stream; contents stay. `start` goes on from their version."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def close(self) -> None:
        """For good: watchers end."""
        await self.pause()
        self.cache.close()
        self.progress.moved()

    def care(self) -> None:
        """Now and then: the disk shall know that it is still current."""
        if self.is_live:
            self._keeper.care(self._follow.items, self.cache.version)

    async def _run(self) -> None:
        try:
            await self._restore()
            while True:
                began = self._clock()
                await self._attempt()
                await self._pause(self._backoff.failed(self._clock() - began))
        finally:
            self._lost()

    async def _restore(self) -> None:
        if self._is_loaded:
            return
        view = await self._keeper.load()
        self._is_loaded = True
        if view is not None:
            self._follow.restore(view.items, view.version)
            self._show_writes()
            self._heard = self._clock() - view.age
            self.progress.moved()

    async def _attempt(self) -> None:
        """One stream, to its end."""
        try:
            await self._stream()
            self.error = "the stream ended"
        except ApiError as error:
            self._refused(error)
        except (BusError, AskAnew) as error:
            self.counts["broken"] += 1
            self.error = str(error) or type(error).__name__
            self._log.debug("{}: {}", self.scope, self.error)
        finally:
            self._lost()

    async def _stream(self) -> None:
        """Raises ApiError, BusError, AskAnew."""
        async with self._client.open(self._request(), self._body()) as answer:
            if answer.status != 200:
                raise await _error_of(answer)
            frames = Frames()
            self._answer = answer
            async for chunk in answer.chunks():
                self.counts["bytes"] += len(chunk)
                for said in frames.feed(chunk):
                    if isinstance(said, Failed):
                        raise _as_error(said.code, said.body)
                    self._take(said)

    def _request(self) -> Request:
        identity = "" if self.scope.identity.startswith(TOKEN) else self.scope.identity
        headers = (*self.headers, (HEADER, "1"))
        return Request("GET", self.scope.target, headers, identity)

    def _body(self) -> bytes:
        ask = self._follow.ask()
        body = encode_ask(ask)
        if not fits(ask) or len(body) > self._client.settings.max_body:
            self._log.info("{}: too many objects to tell them, all come anew", self.scope)
            body = encode_ask(self._follow.ask(tell=False))
        self.counts["resumes" if ask.version else "lists"] += 1
        return body

    def _take(self, said: Any) -> None:
        before, was_filled = self.cache.version, self.cache.filled
        step = self._follow.take(said)
        if step.is_whole:
            self._show_writes()
        if step.went_back:
            self._log.warning("{} went back to version {}", self.scope, self.cache.version)
        if step.is_whole or step.changes or self.cache.version != before:
            self._keeper.note(step, self._follow.items, self.cache.version)
        if self.cache.filled and not self._follow.must_list and not self._follow.stale:
            self._heard = self._clock()
        if self.is_live and self.error:
            self._log.debug("{} follows again", self.scope)
            self.error = ""
        if self.cache.filled and not was_filled:
            self._verdict = None
            self._log.debug("{}: {} objects", self.scope, len(self.cache))
        self.progress.moved()

    def _refused(self, error: ApiError) -> None:
        self.counts["refused"] += 1
        self.error = f"{error.code}: {error.message}"
        if error.code == 410 and error.reason == WENT_BACK:
            self._follow.gone_back()
        elif error.code == 410:
            self._follow.expired()
        elif error.code in _VERDICTS and not self.cache.filled:
            self._verdict = error, self._clock() + self._settings.verdict
            self._wanted.clear()
        self._log.debug("{}: {}", self.scope, self.error)

    def _lost(self) -> None:
        self.age()  # notes what the stream proved
        self._answer = None
        self._follow.lost()
        self.progress.moved()

    async def _pause(self, seconds: float) -> None:
        """Until it is worth another try."""
        if self._follow.must_list and self._backoff.failures == 1:
            seconds = 0.0  # it only has to say what it has
        if self._verdict is not None:
            await asyncio.sleep(self._settings.verdict)
            await self._wanted.wait()  # nobody needs to know it any sooner
        else:
            await asyncio.sleep(seconds)
        with suppress(BusDown):
            await self._client.bus.wait_up()
            return
        await asyncio.Event().wait()  # closed for good


async def _error_of(answer: Answering) -> ApiError:
    """Raises BusError."""
    body = b""
    async for chunk in answer.chunks():
        body += chunk
        if len(body) > _ERROR_BYTES:
            raise DecodeError("too long for a Status", body[:64])
    return _as_error(answer.status, body)


class _Status(msgspec.Struct):
    message: str = ""
    reason: str = ""
    details: dict[str, Any] | None = None


def _as_error(code: int, body: bytes) -> ApiError:
    """As the API server said it."""
    try:
        status = msgspec.json.decode(body, type=_Status)
    except msgspec.DecodeError:
        status = _Status(message=body[:200].decode(errors="replace"))
    return ApiError(code or 500, status.reason, status.message, status.details)
