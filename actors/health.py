"""A site's HTTP port for probes, Prometheus and `atoll status`: four pages, fed by callables.

/healthz  200 while the process answers at all
/readyz   200, or 503 with the reasons why not, one a line
/metrics  Prometheus text
/status   JSON, see `actors.status`
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web
from loguru import logger

from actors.status import finite

if TYPE_CHECKING:
    from loguru import Logger

T = TypeVar("T")

ANSWER_SECONDS = 5.0  # a host that hangs must not hang the probe
CLOSE_SECONDS = 0.5  # what open requests get to end, and again to be cancelled


@dataclass(frozen=True)
class Probes:
    """Where the answers come from; each may be a plain or an async callable."""

    ready: Callable[[], Sequence[str] | Awaitable[Sequence[str]]]  # why not; empty: ready
    metrics: Callable[[], str | Awaitable[str]]
    status: Callable[[], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]


class HealthServer:
    """Serves the pages until stopped. A probe that fails or hangs costs its own answer only."""

    def __init__(
        self, probes: Probes, host: str = "127.0.0.1", port: int = 0, log: Logger | None = None
    ) -> None:
        self._probes = probes
        self._host = host
        self._port = port
        self._log = log or logger.bind(actor="health")
        self._runner: web.AppRunner | None = None

    async def start(self) -> tuple[str, int]:
        """Returns the bound address. OSError if it is taken; nothing is left open then."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/status", self._status)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        host, port = runner.addresses[0][:2]
        return str(host), int(port)

    async def stop(self) -> None:
        """Closes the port and open requests; idempotent."""
        runner, self._runner = self._runner, None
        if runner:
            await runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        async def answer() -> web.Response:
            reasons = await _value(self._probes.ready)
            if reasons:
                return _unavailable(*reasons)
            return web.Response(text="ok\n")

        return await self._guarded("/readyz", answer)

    async def _metrics(self, _: web.Request) -> web.Response:
        async def answer() -> web.Response:
            text = await _value(self._probes.metrics)
            headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
            return web.Response(body=text.encode(), headers=headers)

        return await self._guarded("/metrics", answer)

    async def _status(self, _: web.Request) -> web.Response:
        async def answer() -> web.Response:
            status = finite(await _value(self._probes.status))
            return web.json_response(text=json.dumps(status, default=str))

        return await self._guarded("/status", answer)

    async def _guarded(
        self, page: str, answer: Callable[[], Awaitable[web.Response]]
    ) -> web.Response:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer()
        except TimeoutError:
            return _unavailable(f"no answer within {ANSWER_SECONDS:g} s")
        except Exception as error:
            self._log.opt(exception=error).error("{} failed: {!r}", page, error)
            return _unavailable(f"failed: {error!r}")


def _unavailable(*reasons: str) -> web.Response:
    return web.Response(status=503, text="".join(f"{reason}\n" for reason in reasons))


async def _value(probe: Callable[[], T | Awaitable[T]]) -> T:
    value = probe()
    return await value if inspect.isawaitable(value) else value
