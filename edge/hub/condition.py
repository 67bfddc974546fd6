"""The node's `Autonomy` condition: whether its components could do without the cloud.

OpenYurt's is NodeAutonomy. True: what they read is kept on disk. False: the disk does not take it,
with the reason. Told when it changes and every ten minutes; an API server that does not want to
know is asked again only then, one that does not know the node ever more rarely.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from actors.kube.status_errors import ApiError

if TYPE_CHECKING:
    from loguru import Logger

    from edge.offline import Upstream

TYPE = "Autonomy"
AGAIN = 600.0  # seconds: a controller may have replaced the node's status meanwhile
LOOK = 5.0  # how soon a change is noticed
STEADY = 30.0  # so long it has to last: a disk that comes and goes is not worth the WAN's bytes
_HEADERS = {
    "Content-Type": "application/strategic-merge-patch+json",
    "Accept": "application/json",
    "User-Agent": "atoll-hub",
}


def condition(trouble: str, now: float, since: float) -> dict[str, str]:
    """`trouble` "": all is kept. Times are seconds since 1970."""
    return {
        "type": TYPE,
        "status": "False" if trouble else "True",
        "reason": "NotKept" if trouble else "Kept",
        "message": trouble or "what this node's components read is kept on its disk",
        "lastHeartbeatTime": _stamp(now),
        "lastTransitionTime": _stamp(since),
    }


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Autonomy:
    def __init__(
        self,
        node: str,
        trouble: Callable[[], str],
        upstream: Upstream,
        wall: Callable[[], float],
        log: Logger,
    ) -> None:
        self._path = f"/api/v1/nodes/{node}/status"
        self._trouble = trouble
        self._upstream = upstream
        self._wall = wall
        self._log = log
        self._told: str | None = None
        self._since = 0.0
        self._due = 0.0
        self._news_since: float | None = None
        self._is_refused = False
        self._unknown_for = LOOK

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK)

    def _is_news(self, trouble: str, now: float) -> bool:
        """Whether it is, and has been for a while, another thing than was told."""
        if self._told is None or bool(trouble) == bool(self._told):
            self._news_since = None  # a list more or less that is not kept can wait
            return False
        if self._news_since is None:
            self._news_since = now
        return now - self._news_since >= STEADY

    async def look(self) -> None:
        trouble, now = self._trouble(), self._wall()
        if now < self._due and not self._is_news(trouble, now):
            return
        is_same = self._told is not None and bool(trouble) == bool(self._told)
        since = self._since if is_same else now
        body = {"status": {"conditions": [condition(trouble, now, since)]}}
        try:
            status, _ = await self._upstream.request(
                "PATCH", self._path, _HEADERS, json.dumps(body).encode(), ""
            )
        except (ApiError, OSError, TimeoutError):
            return  # nobody can be asked: soon again
        self._told, self._since, self._due = trouble, since, now + AGAIN
        if status == 404:  # the node may not be registered yet
            self._told = None
            self._due = now + self._unknown_for
            self._unknown_for = min(2 * self._unknown_for, AGAIN)
            return
        self._unknown_for = LOOK
        is_refused = status >= 400
        if is_refused and not self._is_refused:
            self._log.warning("the API server does not take the node's Autonomy: {}", status)
        self._is_refused = is_refused
