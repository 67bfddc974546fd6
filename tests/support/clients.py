"""Strict Kubernetes clients: list, watch, resume, and note all that a real server never does.

Their `problems` stay empty with a right server: event versions only grow, ADDED only for what is
unknown, MODIFIED and DELETED only for what is known, 410 only where the test says so (`lists`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

SERVICES = "/api/v1/services"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
PATHS = (SERVICES, SLICES)
_AGAIN_SECONDS = 0.1
_LONGEST = 8 << 20  # bytes of one event


class Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = "0"

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def version(self) -> int:
        return int(self.resource_version or 0)


class _Object(msgspec.Struct):
    metadata: Meta = msgspec.field(default_factory=Meta)
    code: int = 0  # of an ERROR event's Status


class _Event(msgspec.Struct):
    type: str
    object: _Object


class _List(msgspec.Struct):
    metadata: Meta
    items: list[_Object]


class Client:
    """Keeps `versions` (key → resourceVersion) in step. `every`: resumes after so many events."""

    def __init__(
        self, session: aiohttp.ClientSession, base: str, path: str, name: str, every: int = 0
    ) -> None:
        self.name = name
        self.path = path
        self.versions: dict[str, int] = {}
        self.seen: dict[tuple[str, int], float] = {}  # when a version came, monotonic seconds
        self.problems: list[str] = []
        self.lists = 0
        self.watches = 0
        self.events = 0
        self._session = session
        self._url = base + path
        self._every = every
        self._version = 0
        self._moved = asyncio.Event()

    def __repr__(self) -> str:
        kept = f"{len(self.versions)} objects at {self._version}"
        return f"<{self.name}{self.path}: {kept}, {self.lists} lists, {self.watches} watches>"

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except (aiohttp.ClientError, TimeoutError, OSError):
                await asyncio.sleep(_AGAIN_SECONDS)

    async def until(self, key: str, version: int, timeout: float) -> None:
        """Until it holds just that version; AssertionError after `timeout` seconds."""
        await self._until(lambda: self.versions.get(key) == version, f"{key}@{version}", timeout)

    async def until_equal(self, truth: Mapping[str, int], timeout: float) -> None:
        def difference() -> str:
            missed = {k: v for k, v in truth.items() if self.versions.get(k) != v}
            phantom = {k: v for k, v in self.versions.items() if k not in truth}
            return f"missed or old: {missed}, phantom: {phantom}"

        try:
            await self._until(lambda: self.versions == truth, "equal to the API server", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}: {difference()}") from None

    async def _until(self, reached: Any, what: str, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                while not reached():
                    await self._moved.wait()
        except TimeoutError:
            raise AssertionError(f"{self}: not within {timeout} s: {what}") from None

    async def _list(self) -> None:
        async with self._session.get(self._url, params={"resourceVersion": "0"}) as response:
            response.raise_for_status()
            listed = msgspec.json.decode(await response.read(), type=_List)
        self.lists += 1
        self.versions = {item.metadata.key: item.metadata.version for item in listed.items}
        self._version = listed.metadata.version
        self._tell()

    async def _watch(self) -> None:
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": str(self._version),
        }
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get(self._url, params=params, timeout=timeout) as response:
            if response.status == 410:
                self._version = 0
                return
            response.raise_for_status()
            self.watches += 1
            begun = self.events
            async for line in response.content:
                self._on_event(msgspec.json.decode(line, type=_Event))
                enough = self._every and self.events - begun >= self._every
                if not self._version or enough:
                    return

    def _on_event(self, event: _Event) -> None:
        meta = event.object.metadata
        if event.type == "ERROR":
            if event.object.code != 410:
                self.problems.append(f"error event {event.object.code}")
            self._version = 0
            return
        if meta.version < self._version:
            self.problems.append(f"{event.type} {meta.key} went back: {meta.version} after {self}")
        self._version = max(self._version, meta.version)
        if event.type != "BOOKMARK":
            self._apply(event.type, meta.key, meta.version)

    def _apply(self, kind: str, key: str, version: int) -> None:
        self.events += 1
        if (key in self.versions) != (kind in ("MODIFIED", "DELETED")):
            self.problems.append(f"{kind} {key}@{version} while it has {self.versions.get(key)}")
        if version <= self.versions.get(key, 0):
            self.problems.append(f"{kind} {key}@{version} while it has {self.versions.get(key)}")
        if kind == "DELETED":
            self.versions.pop(key, None)
        else:
            self.versions[key] = version
        self.seen[key, version] = time.monotonic()
        self._tell()

    def _tell(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


def session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=15, sock_connect=2),
        read_bufsize=_LONGEST,
    )
