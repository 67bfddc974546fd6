"""What stands behind the served API: the protocols that a hub or an embedded server implements."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web
from multidict import MultiDict, MultiMapping

from actors.kube.resource import Resource
from actors.kube.watchcache import WatchCache

READ_VERBS = frozenset({"get", "list", "watch"})


@dataclass(frozen=True, slots=True)
class User:
    """Who asks; with `acting` (impersonation), as whom."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    acting: User | None = None

    @property
    def effective(self) -> User:
        """Whose rights count."""
        return self.acting or self


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """A parsed request, as upstream's RequestInfo.

    `verb` is get, list, watch, create, update, patch, delete or deletecollection for a resource
    (`resource` is None where it is not served here), else the lower-case method.
    """

    verb: str
    path: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""  # "status", "log", "proxy/metrics" ...
    resource: Resource | None = None
    query: MultiMapping[str] = field(default_factory=MultiDict)
    headers: Mapping[str, str] = field(default_factory=dict)  # case-insensitive when served
    user: User | None = None


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The answer to a write: the object after it as JSON, or a `Status` for a finished delete."""

    code: int
    body: bytes
    warnings: tuple[str, ...] = ()  # shown by kubectl, one `Warning: 299` header each


class Source(Protocol):
    """One readable set of objects: what a request is answered from."""

    @property
    def cache(self) -> WatchCache:
        """Filled, and the same one for the whole life of this source."""

    async def wait_version(self, version: int | None, timeout: float) -> bool:
        """Wait until the cache has `version`; None: until it is as fresh as can be expected.

        False when `timeout` (seconds) passed first. With None a source that knows it is cut off
        returns at once: age is told by `warning`.
        """

    def warning(self) -> str | None:
        """What readers must be told (the data is old), else None."""


class ReadBackend(Protocol):
    """Where reads come from."""

    def resources(self) -> tuple[Resource, ...]:
        """All served resources. The same tuple object until one comes, goes or changes."""

    def resources_known(self) -> bool:
        """Whether that is all. Until then what is not found, and discovery, is 503: clients would
        believe a 404 (kubectl keeps what it discovered for hours)."""

    async def source(self, info: RequestInfo) -> Source:
        """What this request reads from; `info.resource` is set.

        Raises ApiError, 503 while it has never been filled: an empty answer would be a wrong one.
        It may wait, and it may choose by whoever asks and for what.
        """

    def health(self) -> Mapping[str, str]:
        """Named readiness checks: "" is well, other text says what is wrong. /readyz tells them."""


class Writer(Protocol):
    """Writes of an embedded API server, and reads of subresources other than `status`."""

    async def write(self, info: RequestInfo, body: bytes, content_type: str) -> WriteResult:
        """Do it. Raises `ApiError`, which is what the client gets.

        `body` is as sent (JSON, YAML, or protobuf with its `k8s\\0` envelope: see `content_type`,
        which comes without parameters); a delete's body is DeleteOptions or empty. The change must
        be in the resource's WatchCache before this returns, so that the client reads what it wrote.
        """


class OpenApi(Protocol):
    """OpenAPI documents. Whoever returns the same bytes object saves hashing and compression."""

    def openapi_v2(self) -> bytes:
        """/openapi/v2 as JSON."""

    def openapi_v3(self) -> Mapping[str, bytes]:
        """Documents of /openapi/v3 by path: "api/v1", "apis/apps/v1", "version" ... as JSON."""


Authenticate = Callable[[web.Request], Awaitable[User | None]]
"""Who sent this request; None: nobody known (see `Hooks.admits_nobody`). May raise ApiError."""

Authorize = Callable[[RequestInfo], None]
"""May `info.user` do this? Raises ApiError (403)."""

Passthrough = Callable[[web.Request, RequestInfo], Awaitable[web.StreamResponse]]
"""Answers what is not served here (the hub's way to the API server). May raise ApiError."""

Admit = Callable[[RequestInfo], AbstractAsyncContextManager[None]]
"""Entered around the work for a request that does not last. Raises ApiError (429)."""

Finish = Callable[[web.StreamResponse | None], None]
"""Told once of the answer; None: the client went before there was one."""

Begin = Callable[[web.Request, RequestInfo], Finish]
"""Told about each request when it comes."""

Audit = Callable[[RequestInfo, int, float], None]
"""Told about each finished request: what, HTTP status, seconds it took."""


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """How the API is served. Units: seconds and bytes."""

    max_in_flight: int = 400  # upstream's --max-requests-inflight; watches are not counted
    bookmark: float = 60.0  # upstream sends about one a minute
    watch_min: float = 1800.0  # a watch without timeoutSeconds lasts watch_min..2*watch_min
    wait_version: float = 3.0  # upstream blocks 3 s for a resourceVersion that is not there yet
    fresh_wait: float = 1.0  # how long a "most recent" read waits for a follower that is behind
    stall: float = 30.0  # a watcher that takes nothing for so long is cut off
    stop: float = 5.0  # watches have so long to end cleanly at stop
    gzip_from: int = 128 * 1024  # as upstream
    max_body: int = 3 * 1024 * 1024  # as upstream
    own_discovery: bool = True  # False: discovery and OpenAPI go to `passthrough`
    git_version: str = "v1.36.0"  # what /version says

    def __post_init__(self) -> None:
        if self.max_in_flight < 1:
            raise ValueError("max_in_flight must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What a server adds to reading; each may be absent."""

    writer: Writer | None = None
    passthrough: Passthrough | None = None
    openapi: OpenApi | None = None
    authenticate: Authenticate | None = None
    admits_nobody: bool = False  # whom `authenticate` does not know: else he gets a 401
    authorize: Authorize | None = None
    audit: Audit | None = None
    admit: Admit | None = None  # else `ServeSettings.max_in_flight` alone decides
    begin: Begin | None = None
    passes_discovery: Callable[[], bool] | None = None  # to `passthrough`, now; see own_discovery
