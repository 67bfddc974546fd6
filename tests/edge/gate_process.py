"""A replica of ApiGate in a process of its own, to be killed: URL, seed file, kubeconfig."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from actors.kube.client import ApiAccess
from bus import permissions
from bus.connection import BusSettings, Connection
from cloud.apigate.actor import ApiGate, ApiGateSettings
from tests.cloud.rig import running
from tests.edge.gateways import QUICK


async def main(url: str, seed: Path, kubeconfig: Path) -> None:
    """Until its standard input ends."""
    settings = BusSettings("cloud", (url,), seed, "replica", permissions.ADMIN_INBOX)
    bus = Connection(settings)
    await bus.start()
    await bus.wait_up(10.0)
    access = ApiAccess(kubeconfig=kubeconfig)
    async with running(ApiGate, ApiGateSettings(access, (), QUICK), seed.parent, {"cloud": bus}):
        await bus.flush(10.0)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
    await bus.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
