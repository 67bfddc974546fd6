"""A proxy that looks on: what clients send becomes the steps of a session. Used by `record.py`."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from tests.interop.differential.steps import OWN, Step

_SENT_ON = ("Accept", "Content-Type", "Accept-Encoding", "If-None-Match", "If-Modified-Since")
_DROPPED = ("content-encoding", "content-length", "transfer-encoding", "connection")
_NO_END = aiohttp.ClientTimeout(total=None, sock_connect=5)
_KEPT = ("resourceVersion", "uid", "continue")


@dataclass
class Recorder:
    """Values that a client can only have from an answer become names that are kept of it."""

    upstream: str
    session: str = ""
    namespace: str = ""  # stands for `OWN`
    steps: list[Step] = field(default_factory=list)
    _known: dict[str, tuple[int, str]] = field(default_factory=dict)  # value: step, where in it

    def begin(self, session: str, namespace: str) -> None:
        self.session, self.namespace = session, namespace
        self._known.clear()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """The proxy's URL."""
        async with aiohttp.ClientSession(timeout=_NO_END, auto_decompress=False) as http:
            self._http = http
            app = web.Application(client_max_size=1 << 24)
            app.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.5)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            try:
                yield f"http://127.0.0.1:{port}"
            finally:
                await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        number = self._record(request, body)
        async with self._http.request(
            request.method,
            URL(self.upstream + request.raw_path, encoded=True),
            data=body or None,
            headers=request.headers,
        ) as answer:
            headers = CIMultiDict(answer.headers)
            for name in ("Content-Length", "Transfer-Encoding", "Connection"):
                headers.popall(name, None)
            response = web.StreamResponse(status=answer.status, headers=headers)
            await response.prepare(request)
            whole = b""
            async for chunk in answer.content.iter_any():
                whole += chunk
                await response.write(chunk)
            if answer.status < 300 and not self.steps[number].is_watch:
                self._learn(number, whole)
            await response.write_eof()
            return response

    def _record(self, request: web.Request, body: bytes) -> int:
        keeping: dict[int, dict[str, str]] = {}
        path = re.sub(r"\btimeout(Seconds)?=\d+s?&?", "", request.raw_path).rstrip("?&")
        if "watch=" in path:
            path += "&timeoutSeconds=1"
        path = self._named(path, keeping, "={}")
        headers = {name: request.headers[name] for name in _SENT_ON if name in request.headers}
        step = Step(self.session, path, request.method, request.headers.get("User-Agent", ""))
        step = msgspec.structs.replace(step, headers=headers, **self._body(body, keeping))
        for number, names in keeping.items():
            old = self.steps[number]
            self.steps[number] = msgspec.structs.replace(old, keep=old.keep | names)
        self.steps.append(step)
        return len(self.steps) - 1

    def _body(self, body: bytes, keeping: dict[int, dict[str, str]]) -> dict[str, Any]:
        if not body:
            return {}
        try:
            text = msgspec.json.encode(msgspec.json.decode(body)).decode()
        except msgspec.DecodeError:
            mine = body.replace(self.namespace.encode(), OWN.encode())
            return {"raw": base64.b64encode(mine).decode()}
        return {"body": msgspec.json.decode(self._named(text, keeping, '"{}"'))}

    def _named(self, text: str, keeping: dict[int, dict[str, str]], around: str) -> str:
        for value, (number, where) in self._known.items():
            found = around.format(value if around[0] == '"' else quote(value, safe=""))
            if re.search(re.escape(found) + r"(?![0-9a-zA-Z])", text):
                name = f"{where.rpartition('.')[2]}{number}"
                keeping.setdefault(number, {})[name] = where
                text = text.replace(found, around.format(f"{{{name}}}"))
        return text.replace(self.namespace, OWN)

    def _learn(self, number: int, raw: bytes) -> None:
        try:
            answer = msgspec.json.decode(raw)
        except msgspec.DecodeError:
            return
        holders = {"metadata": answer.get("metadata")} if isinstance(answer, dict) else {}
        for index, item in enumerate(answer.get("items", ()) if holders else ()):
            holders[f"items.{index}.metadata"] = item.get("metadata")
        for where, metadata in holders.items():
            for name in _KEPT:
                value = metadata.get(name) if isinstance(metadata, dict) else None
                if value and value != "0":
                    self._known[value] = (number, f"{where}.{name}")
