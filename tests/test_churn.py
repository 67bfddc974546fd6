"""The churn of the end-to-end tests: when it has stopped, nothing changes any more."""

from __future__ import annotations

import asyncio
from typing import cast

from tests.support.churn import Api, Churn, Object


class SlowApi:
    """Writes take effect late, as those of a busy server do, also where the client has gone."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.under_way = 0

    async def list(self, _path: str) -> list[tuple[str, Object]]:
        return []

    async def call(self, _method: str, _path: str, _body: Object | None = None) -> Object:
        self.under_way += 1
        self.begun.set()
        await asyncio.sleep(0.02)
        self.under_way -= 1
        return {"metadata": {"resourceVersion": "1"}}


async def test_the_last_write_is_over_when_it_has_stopped() -> None:
    api = SlowApi()
    churn = Churn(cast(Api, api), rate=1000.0, names=2)
    await churn.start()
    api.begun.clear()
    await api.begun.wait()
    await churn.stop()
    assert api.under_way == 0
    assert churn.writes > 0
