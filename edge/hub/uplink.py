"""The hub's way to the API server: what it does not serve itself goes through ApiGate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from actors.kube.serve.passing import (
    UNDONE,
    UNREACHABLE,
    Headers,
    end_to_end,
    header_of,
    pass_answer,
)
from actors.kube.status_errors import ApiError
from bus.errors import BusDown, BusError, NoResponders, RequestTimeout, StreamBroken
from bus.stream import Answering, Request, Streams
from edge.hub.gone import Gone, gone_of
from edge.hub.resume import Resume, version_of

if TYPE_CHECKING:
    from aiohttp import web

    from actors.kube.resource import Resource
    from actors.kube.serve.api import RequestInfo

RETRY_SECONDS = 1  # what a client is told while the link is down: hubs try every quarter second
MOST_WHOLE = 64 << 20  # bytes; larger lists come in pages
_REFUSAL_BYTES = 64 * 1024
SEEN_SECONDS = 1.0  # a feed's change takes milliseconds, and the WAN's delay
_OF_WHO_ASKS = frozenset({"authorization", "user-agent"})
_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_PASSING = frozenset({401, 429, 500, 502, 503, 504})  # answers that may be others soon
_PAUSES = (0.0, 0.2, 0.5, 1.0, 2.0)  # seconds before a watch's next attempts; then the last


class Unreachable(ApiError):
    """The API server could not be asked; where not `is_undone` it may have done it all the same."""

    def __init__(self, code: int, reason: str, message: str, is_undone: bool) -> None:
        super().__init__(code, reason, message, retry_after=RETRY_SECONDS if code == 503 else 0)
        self.is_undone = is_undone


class Whole(NamedTuple):
    """An answer with all of its body."""

    status: int
    headers: Headers
    body: bytes


class OwnReads(Protocol):
    """The hub's own caches of feeds. Each waits, so many seconds at most, and says whether it came
    to pass."""

    async def wait_version(self, resource: Resource, version: int, timeout: float) -> bool: ...
    async def wait_gone(self, resource: Resource, gone: Gone, timeout: float) -> bool: ...


class Uplink:
    """Implements `actors.kube.serve.api.Passthrough`. `identities`: component -> user."""

    def __init__(
        self,
        client: Streams,
        identities: Callable[[], Mapping[str, str]],
        own: OwnReads,
    ) -> None:
        self._client = client
        self.resuming = 0  # watches that wait for a way
        self.resumed = 0
        self._identities = identities
        self._own = own
        self._watches: set[Answering] = set()
        self._closing = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether there is a link; what answers at its end is not known."""
        return self._client.is_up

    def close(self) -> None:
        """Ends watches cleanly, so that their clients go on elsewhere; they are not resumed."""
        self._closing.set()
        for answer in self._watches:
            answer.break_off("the hub stops")

    async def whole(self, request: web.Request, body: bytes, *more: tuple[str, str]) -> Whole:
        """What the API server says, once it is all there; with `more` headers, or these instead.

        Only for what is no watch. The body comes uncompressed. Raises Unreachable; ApiError 502
        for an answer without end.
        """
        asked = self._asked(request)
        replaced = {"accept-encoding", *(name.lower() for name, _ in more)}
        kept = (pair for pair in asked.headers if pair[0].lower() not in replaced)
        return await self._whole(replace(asked, headers=(*kept, *more)), body)

    async def read(self, request: web.Request) -> Whole:
        """The object that a write was about, as whoever wrote it. Raises as `whole`."""
        asked = self._asked(request)
        kept = (pair for pair in asked.headers if pair[0].lower() in _OF_WHO_ASKS)
        headers = (*kept, ("Accept", "application/json"))
        return await self._whole(Request("GET", request.path, headers, asked.identity), b"")

    async def ask(self, path: str, accept: str, identity: str = "") -> Whole:
        """For the hub itself. Raises as `whole`."""
        headers = (("Accept", accept), ("User-Agent", "atoll-hub"))
        return await self._whole(Request("GET", path, headers, identity), b"")

    async def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, identity: str
    ) -> tuple[int, bytes]:
        """For writes that were queued: implements `edge.offline.Upstream`. Raises as `whole`."""
        whole = await self._whole(Request(method, path, tuple(headers.items()), identity), body)
        return whole.status, whole.body

    async def _whole(self, asked: Request, body: bytes) -> Whole:
        async with AsyncExitStack() as stack:
            answer = await self._open(stack, asked, body)
            found = bytearray()
            try:
                async for chunk in answer.chunks():
                    found += chunk
                    if len(found) > MOST_WHOLE:
                        raise ApiError(502, "BadGateway", f"more than {MOST_WHOLE} bytes came")
            except BusError as error:
                raise _as_api_error(error) from error
            return Whole(answer.status, end_to_end(answer.headers), bytes(found))

    async def __call__(self, request: web.Request, info: RequestInfo) -> web.StreamResponse:
        """Raises ApiError, Unreachable among them."""
        if request.headers.get("Upgrade"):
            raise ApiError(501, "NotImplemented", "exec, attach and port-forward: not by this way")
        body = await request.read()
        asked = self._asked(request)
        async with AsyncExitStack() as stack:
            answer = await self._open(stack, asked, body)
            chunks: AsyncGenerator[bytes] = answer.chunks()
            if info.verb == "watch" and answer.status == 200:
                chunks = self._resumed(stack, asked, answer)
            elif info.resource is not None and info.verb in _WRITES and answer.status < 300:
                chunks = self._seen(info, info.resource, answer)
            return await pass_answer(request, answer.status, end_to_end(answer.headers), chunks)

    def _asked(self, request: web.Request) -> Request:
        agent = request.headers.get("User-Agent", "")
        component = agent.partition("/")[0]
        identity = self._identities().get(component, "")
        headers = end_to_end(request.headers.items())
        return Request(request.method, request.rel_url.raw_path_qs, headers, identity)

    async def _open(self, stack: AsyncExitStack, asked: Request, body: bytes) -> Answering:
        """Tries twice where that can do no harm. Raises Unreachable."""
        try:
            return await self._reached(stack, asked, body)
        except (StreamBroken, RequestTimeout, NoResponders) as error:
            is_harmless = asked.method in ("GET", "HEAD") or isinstance(error, NoResponders)
            if not is_harmless:
                raise _as_api_error(error) from error
        except BusError as error:
            raise _as_api_error(error) from error
        try:
            return await self._reached(stack, asked, body)
        except BusError as error:
            raise _as_api_error(error) from error

    async def _reached(self, stack: AsyncExitStack, asked: Request, body: bytes) -> Answering:
        """Raises BusError; Unreachable where ApiGate could not ask the API server."""
        answer = await self._once(stack, asked, body)
        unreachable = header_of(answer.headers, UNREACHABLE)
        if not unreachable:
            return answer
        why = await _message_of(answer)
        if unreachable == UNDONE:
            raise Unreachable(503, "ServiceUnavailable", why, is_undone=True)
        raise Unreachable(504, "Timeout", why, is_undone=False)

    async def _once(self, stack: AsyncExitStack, asked: Request, body: bytes = b"") -> Answering:
        return await stack.enter_async_context(self._client.open(asked, body))

    async def _seen(
        self, info: RequestInfo, resource: Resource, answer: Answering
    ) -> AsyncGenerator[bytes]:
        """A write's answer, once our own cache has what it made: clients read what they wrote.

        Only for a while: the write is done, whatever the feeds do.
        """
        chunks = [chunk async for chunk in answer.chunks()]  # one object, or those deleted
        body = b"".join(chunks)
        if gone := gone_of(info, body):
            await self._own.wait_gone(resource, gone, SEEN_SECONDS)
        elif version := version_of(body):
            await self._own.wait_version(resource, version, SEEN_SECONDS)
        for chunk in chunks:
            yield chunk

    # -- watches ----------------------------------------------------------------------------------

    async def _resumed(
        self, stack: AsyncExitStack, asked: Request, answer: Answering
    ) -> AsyncGenerator[bytes]:
        """Whole events, on and on: where a stream breaks, the next goes on behind its last event.

        Raises BusError where the client has to see the break.
        """
        headers = dict(answer.headers)
        is_plain = "Content-Encoding" not in headers
        resume = Resume(asked.path, headers.get("Content-Type", "") if is_plain else "")
        while True:
            try:
                async with aclosing(self._events(answer, resume)) as events:
                    async for whole in events:
                        yield whole
                return
            except BusError:
                if self._closing.is_set():
                    return
                if not resume.is_possible:
                    raise
            await stack.aclose()
            again = await self._again(stack, asked, resume)
            if again is None:
                return
            answer = again
            if answer.status != 200:
                yield await resume.refusal(answer)
                return

    async def _events(self, answer: Answering, resume: Resume) -> AsyncGenerator[bytes]:
        """To the answer's end. Raises BusError."""
        self._watches.add(answer)
        try:
            async for chunk in answer.chunks():
                if whole := resume.feed(chunk):
                    yield whole
            if rest := resume.rest():
                yield rest
        finally:
            self._watches.discard(answer)

    async def _again(
        self, stack: AsyncExitStack, asked: Request, resume: Resume
    ) -> Answering | None:
        """As long as our client waits; it hears nothing meanwhile, as in a quiet cluster.

        None when the hub stops.
        """
        tries = 0
        self.resuming += 1
        try:
            while not await self._pause(_PAUSES[min(tries, len(_PAUSES) - 1)]):
                tries += 1
                request = Request(asked.method, resume.path(), asked.headers, asked.identity)
                try:
                    answer = await self._once(stack, request)
                except BusError:
                    continue
                if answer.status not in _PASSING:
                    self.resumed += 1
                    return answer
                await stack.aclose()
            return None
        finally:
            self.resuming -= 1

    async def _pause(self, seconds: float) -> bool:
        """So long, and until there is a link. Whether the hub stops."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
        waits = [
            asyncio.create_task(self._closing.wait(), name="the hub's end"),
            asyncio.create_task(_until_up(self._client), name="a link"),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
            await asyncio.wait(waits)
        return self._closing.is_set()


async def _until_up(client: Streams) -> bool:
    try:
        await client.bus.wait_up()
    except BusDown:  # closed for good
        await asyncio.Event().wait()
    return True


async def _message_of(answer: Answering) -> str:
    body = b""
    async for chunk in answer.chunks():
        body += chunk
        if len(body) > _REFUSAL_BYTES:
            break
    try:
        return str(msgspec.json.decode(body)["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return "ApiGate cannot reach the API server"


def _as_api_error(error: BusError) -> Unreachable:
    if isinstance(error, BusDown):
        why = f"no link to the cloud: {error}"
        return Unreachable(503, "ServiceUnavailable", why, is_undone=True)
    if isinstance(error, NoResponders):
        why = f"the cloud's ApiGate is not there: {error}"
        return Unreachable(503, "ServiceUnavailable", why, is_undone=True)
    why = f"the API server's answer did not come: {error}"
    return Unreachable(504, "Timeout", why, is_undone=False)
