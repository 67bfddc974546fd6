"""The leader's link, lent to nodes of the pool that have none.

A pipe: sealed requests of a borrower go on as they are, their answers come back as they are. What
is in them neither side lets the lender know (`bus/borrow`). A plain request is refused: it would
be ours to ApiGate, which knows who asks by whose link it came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from bus.api import Bus
from bus.borrow import GATE_HEADER, METHODS, SEALED, WHO
from bus.errors import StreamBroken
from bus.stream import Exchange, Request, StreamClient, StreamServer, StreamSettings
from bus.subjects import POOL_STREAMS

MAX_STREAMS = 1024  # borrowed at once; a hub's watches are few, mirrors share them
MAX_OF_NODE = 256  # so that one borrower leaves room for others


@dataclass
class LendingCounters:
    """Of all terms."""

    requests: int = 0
    refused: int = 0
    bytes: int = 0  # of answers


@dataclass
class Lending:
    """Runs while we lead; `token` raises LeaseLost once we do not."""

    cloud: Bus
    pool: Bus
    site: str
    node: str
    token: Callable[[], int]
    settings: StreamSettings = field(default_factory=StreamSettings)
    counters: LendingCounters = field(default_factory=LendingCounters)

    def __post_init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._client = StreamClient(self.cloud, self.site, self.node, self.settings)
        # Sealed bodies are a little larger than what is in them.
        bounds = replace(
            self.settings, max_streams=MAX_STREAMS, max_body=self.settings.max_body + (64 << 10)
        )
        self._server = StreamServer(
            self.pool, self.node, self._carry, bounds, subjects=POOL_STREAMS
        )

    @property
    def open_streams(self) -> int:
        return self._server.open_streams

    async def start(self) -> None:
        await self._client.start()
        await self._server.start()

    async def stop(self) -> None:
        """Streams under way break: their borrowers go to the next leader."""
        await self._server.stop()
        await self._client.stop()

    async def _carry(self, exchange: Exchange) -> None:
        self.token()
        if exchange.request.method == WHO:
            await exchange.start(200, ())
            return
        self.counters.requests += 1
        if exchange.request.method not in METHODS or exchange.pool != self.site:
            self.counters.refused += 1
            raise StreamBroken("only sealed requests are carried")
        if self._open[exchange.node] >= MAX_OF_NODE:
            self.counters.refused += 1
            raise StreamBroken(f"{exchange.node} has {MAX_OF_NODE} borrowed streams")
        self._open[exchange.node] += 1
        try:
            await self._pipe(exchange)
        finally:
            self._open[exchange.node] -= 1

    async def _pipe(self, exchange: Exchange) -> None:
        """Reads on only when the borrower took what was read: it alone sets the pace."""
        gate = next((v for name, v in exchange.request.headers if name == GATE_HEADER), "")
        request = Request(exchange.request.method, "/", (SEALED,))
        body = await exchange.body()
        async with self._client.open(request, body, gate) as answer:
            await exchange.start(answer.status, answer.headers, compress=False)
            async for chunk in answer.chunks():
                self.counters.bytes += len(chunk)
                await exchange.write(chunk)
