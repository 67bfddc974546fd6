"""A client as kube-proxy is one: lists, watches, resumes; counts its bytes and checks versions."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec


class _Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = "0"


class _Object(msgspec.Struct):
    metadata: _Meta
    code: int = 0  # of an ERROR event's Status


class _Event(msgspec.Struct):
    type: str
    object: _Object


class _List(msgspec.Struct):
    metadata: _Meta
    items: list[_Object]


@dataclass
class WatcherReport:
    """What the client saw; bytes as received on its socket (compressed lists count compressed)."""

    bytes: int = 0
    events: int = 0
    lists: int = 0
    went_back: list[str] = field(default_factory=list)  # keys whose version decreased: a defect
    warning: str | None = None  # of the last list


class Watcher:
    """Keeps `versions` (key → resourceVersion) of one resource in step with `base`'s API."""

    def __init__(self, session: aiohttp.ClientSession, base: str, path: str) -> None:
        self._session = session
        self._url = base + path
        self.versions: dict[str, int] = {}
        self.seen: dict[tuple[str, int], float] = {}  # when a version came, monotonic seconds
        self.report = WatcherReport()
        self._version = 0
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                if not self._version:
                    await self.list()
                await self._watch()
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                await asyncio.sleep(0.2 + 0.3 * random.random())

    async def until(self, key: str, version: int, timeout: float) -> None:
        """Raises TimeoutError if the key's version does not come within `timeout` seconds."""
        async with asyncio.timeout(timeout):
            while self.versions.get(key, 0) < version:
                await self._moved.wait()

    async def until_equal(self, truth: dict[str, int], timeout: float) -> None:
        """Raises TimeoutError if this client does not come to hold exactly `truth`."""
        async with asyncio.timeout(timeout):
            while self.versions != truth:
                await self._moved.wait()

    async def list(self) -> None:
        raw = self._session.get(self._url, params={"resourceVersion": "0"})
        async with raw as response:
            response.raise_for_status()
            body = await response.read()
            self.report.warning = response.headers.get("Warning")
            self.report.lists += 1
            self.report.bytes += _received(response, body)
        listed = msgspec.json.decode(body, type=_List)
        self.versions = {_key(item.metadata): _version(item.metadata) for item in listed.items}
        self._version = _version(listed.metadata)
        self._tell()

    async def _watch(self) -> None:
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": str(self._version),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_read=None)
        async with self._session.get(self._url, params=params, timeout=timeout) as response:
            response.raise_for_status()
            async for line in response.content:
                self.report.bytes += len(line)
                self._on_line(line)
                if not self._version:
                    return

    def _on_line(self, line: bytes) -> None:
        event = msgspec.json.decode(line, type=_Event)
        meta = event.object.metadata
        if event.type == "ERROR":
            self._version = 0  # 410: list anew
            return
        version = _version(meta)
        self._version = max(self._version, version)
        if event.type != "BOOKMARK":
            self._apply(event.type, _key(meta), version)

    def _apply(self, kind: str, key: str, version: int) -> None:
        self.report.events += 1
        if version < self.versions.get(key, 0):
            self.report.went_back.append(key)
        if kind == "DELETED":
            self.versions.pop(key, None)
        else:
            self.versions[key] = version
        self.seen[key, version] = time.monotonic()
        self._tell()

    def _tell(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


def _received(response: aiohttp.ClientResponse, body: bytes) -> int:
    """Bytes on the wire: a compressed body is counted as sent."""
    length: Any = response.headers.get("Content-Length")
    return int(length) if length else len(body)


def _key(meta: _Meta) -> str:
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name


def _version(meta: _Meta) -> int:
    return int(meta.resource_version or 0)
