"""Sends steps to one side. What a session keeps is its own."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
import yaml
from yarl import URL

from tests.interop.differential.steps import OWN, Json, Step

LONGEST = 20.0  # seconds a step may take
_LINE = 1 << 23


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any = None  # parsed, where it can be
    events: list[Json] | None = None  # of a watch


@dataclass
class Player:
    """One session on one side."""

    http: aiohttp.ClientSession
    base: str
    namespace: str
    kept: dict[str, str] = field(default_factory=dict)
    watches: dict[str, aiohttp.ClientResponse] = field(default_factory=dict)

    async def play(self, step: Step) -> Answer:
        async with asyncio.timeout(LONGEST):
            if step.ends:
                return await self._end(step)
            response = await self._send(step)
            if step.open:
                self.watches[step.open] = response
                return Answer(response.status, response.headers)
            async with response:
                answer = await self._read(step, response)
        for name, path in step.keep.items():
            self.kept[name] = str(_part(answer.body, path))
        return answer

    def close(self) -> None:
        for response in self.watches.values():
            response.close()

    async def _send(self, step: Step) -> aiohttp.ClientResponse:
        headers = {"User-Agent": step.agent} if step.agent else {}
        data = base64.b64decode(step.raw) if step.raw else None
        if step.body is not None:
            data = self._filled(msgspec.json.encode(step.body).decode()).encode()
            headers["Content-Type"] = "application/json"
        if data is not None:
            data = data.replace(OWN.encode(), self.namespace.encode())
        skip = () if step.agent else ("User-Agent",)
        url = URL(self.base + self._filled(step.path), encoded=True)
        return await self.http.request(
            step.method, url, data=data, headers=headers | step.headers, skip_auto_headers=skip,
            allow_redirects=False,
        )  # fmt: skip

    def _filled(self, text: str) -> str:
        for name, value in self.kept.items():
            text = text.replace(f"{{{name}}}", value)
        return text.replace(OWN, self.namespace)

    async def _read(self, step: Step, response: aiohttp.ClientResponse) -> Answer:
        if step.is_watch and response.status == 200:
            events = [event async for event in _events(response)]
            return Answer(response.status, response.headers, events=events)
        body = _parsed(await response.read(), response.headers.get("Content-Type", ""))
        return Answer(response.status, response.headers, body)

    async def _end(self, step: Step) -> Answer:
        response = self.watches.pop(step.ends)
        events: list[Json] = []
        try:
            async for event in _events(response):
                events += [event] if event["type"] != "BOOKMARK" else []
                if len(events) >= step.take:
                    break
        except TimeoutError:
            raise AssertionError(f"{step}: {self.base} tells only {events}") from None
        finally:
            response.close()
        return Answer(response.status, response.headers, events=events)


async def _events(response: aiohttp.ClientResponse) -> Any:
    while line := await response.content.readline():
        yield _parsed(line, response.headers.get("Content-Type", ""))


def _parsed(raw: bytes, media: str) -> Any:
    if "yaml" in media:
        return yaml.load(raw, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return raw.decode(errors="replace")


def _part(value: Any, path: str) -> Any:
    """ "none" where it is missing: an answer that is wrong is found by comparing."""
    try:
        for name in path.split("."):
            value = value[int(name) if isinstance(value, list) else name]
    except (KeyError, IndexError, TypeError):
        return "none"
    return value
