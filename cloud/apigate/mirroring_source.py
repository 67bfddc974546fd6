"""A mirror's questions to the API server: one list, page by page, and one watch after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, urlencode, urlsplit

from actors.kube.client import ClusterClient, Forwarded
from actors.kube.client_errors import KubeError
from actors.kube.raw_events import Page, Shape, list_version
from actors.kube.serve.passing import Headers
from actors.kube.status_errors import ApiError, service_unavailable
from bus.mirror import WENT_BACK
from cloud.apigate.identity import is_refused, not_in_their_name

PAGE = 500  # objects; client-go's
GRACE = 2.0  # seconds in which a 403 is no verdict: a starting API server has not read its RBAC yet
BODY_SECONDS = 60.0
_RECENT = 60.0  # seconds: what worked so shortly ago is not suddenly forbidden
_KEPT = 4096
_ERROR_BYTES = 64 * 1024
_PASSING = frozenset({429, 500, 502, 503, 504})
_SELECTORS = ("labelSelector", "fieldSelector")
_OWN = frozenset({"user-agent", "authorization"})  # of the asker's headers
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_JSON = "application/json"

Query = Sequence[tuple[str, str]]


class Refusal(Exception):
    """The API server's no, or ours in its form."""

    def __init__(self, code: int, body: bytes, retry_after: str = "") -> None:
        super().__init__(f"{code}: {body[:200].decode(errors='replace')}")
        self.code = code
        self.body = body
        self.retry_after = retry_after

    @classmethod
    def of(cls, error: ApiError) -> Refusal:
        return cls(error.code, error.body(), str(error.retry_after or ""))

    @property
    def may_pass(self) -> bool:
        return self.code in _PASSING


class Verdicts:
    """Which refusals of the API server to believe. Shared by all streams of a replica."""

    def __init__(self) -> None:
        self._unreachable = float("-inf")
        self._worked: dict[str, float] = {}
        self._forbidden: dict[str, float] = {}

    def unreachable(self, now: float) -> None:
        self._unreachable = now

    def worked(self, what: str, now: float) -> None:
        self._forbidden.pop(what, None)
        self._worked.pop(what, None)
        self._worked[what] = now
        if len(self._worked) > _KEPT:
            del self._worked[next(iter(self._worked))]

    def is_doubtful(self, what: str, now: float) -> bool:
        """Of a 403 that came just now: ask again."""
        since = self._forbidden.setdefault(what, now)
        if len(self._forbidden) > _KEPT:
            del self._forbidden[next(iter(self._forbidden))]
        was_fine = now - self._worked.get(what, float("-inf")) < _RECENT
        was_down = now - self._unreachable < GRACE
        return now - since < GRACE and (was_fine or was_down)


class Source:
    """One collection, as one user. All methods raise Refusal and KubeError."""

    def __init__(
        self,
        client: ClusterClient,
        target: str,
        headers: Headers,
        as_us: bool,
        on_refused: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_refused`: the API server does not let us act as that user."""
        split = urlsplit(target)
        asked = parse_qsl(split.query, keep_blank_values=True)
        self._path = split.path
        self._selectors = [(name, value) for name, value in asked if name in _SELECTORS]
        self._client = client
        self._headers = tuple(pair for pair in headers if _is_kept(pair[0].lower()))
        self._as_us = as_us
        self._on_refused = on_refused
        who = [value for name, value in headers if name.lower() == "impersonate-user"]
        own = [value for name, value in headers if name.lower() == "authorization"]
        self.name = f"{who or hash(tuple(own))} {target}"  # for verdicts

    async def version(self) -> int:
        """The newest one: a source that went back shows it."""
        async with self._get((("limit", "1"),), _METADATA) as answer:
            return list_version(await _whole(answer))

    async def page(self, shape: Shape, limit: int, after: str) -> Page:
        query = [("limit", str(limit))] if limit else []
        query += [("continue", after)] if after else []
        async with self._get(query) as answer:
            return shape.page(await _whole(answer))

    @asynccontextmanager
    async def watch(self, version: int, seconds: int) -> AsyncIterator[Forwarded]:
        query = (
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", str(version)),
            ("timeoutSeconds", str(seconds)),
        )
        async with self._get(query) as answer:
            yield answer

    @asynccontextmanager
    async def _get(
        self, query: Query, accept: str = "application/json"
    ) -> AsyncIterator[Forwarded]:
        target = f"{self._path}?{urlencode([*self._selectors, *query])}"
        headers = (*self._headers, ("Accept", accept))
        async with self._client.forward("GET", target, headers, None, as_us=self._as_us) as answer:
            if answer.status == 401 and self._as_us:
                raise Refusal.of(service_unavailable("ApiGate's own credentials are refused", 5))
            if answer.status != 200:
                refusal = await _refusal(answer)
                if self._as_us and is_refused(refusal.code, refusal.body):
                    self._on_refused()
                    raise Refusal.of(not_in_their_name())
                raise refusal
            yield answer


def went_back(why: str) -> Refusal:
    return Refusal.of(ApiError(410, WENT_BACK, why))


def _is_kept(name: str) -> bool:
    return name in _OWN or name.startswith("impersonate-")


async def _whole(answer: Forwarded) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return b"".join([chunk async for chunk in answer.chunks()])
    except TimeoutError:
        raise KubeError(f"no whole answer within {BODY_SECONDS} s") from None


async def _refusal(answer: Forwarded) -> Refusal:
    body = b""
    async for chunk in answer.chunks():
        body += chunk
        if len(body) > _ERROR_BYTES:
            raise KubeError(f"an error of over {_ERROR_BYTES} bytes, code {answer.status}")
    wait = next((value for name, value in answer.headers if name.lower() == "retry-after"), "")
    return Refusal(answer.status, body, wait)
