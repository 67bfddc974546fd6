"""In a network namespace of its own: a watch whose peer falls silent without a word.

    unshare -rn python -m tests.actors.kube.black_hole GIVE_UP_SECONDS

Prints JSON: the age after two idle seconds, the age three seconds into the black hole, and the
seconds until the watch was given up.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time

from actors.kube import liveness
from actors.kube.client import ClusterClient
from actors.kube.client_errors import Unreachable
from tests.actors.kube.scripted import PATH, ScriptedApi, Watching

RULES = """
table ip hole {{
  chain out {{
    type filter hook output priority 0;
    tcp dport {port} drop
    tcp sport {port} drop
  }}
}}
"""


def run(*command: str, text: str = "") -> None:
    subprocess.run(command, input=text, text=True, check=True)


async def main(give_up_seconds: int) -> dict[str, float]:
    liveness.GIVE_UP_SECONDS = give_up_seconds
    api, watch = ScriptedApi(), Watching()
    api.then(watch)
    found = {}
    async with (
        api.serving(),
        ClusterClient(api.access) as client,
        client.stream(PATH, (("watch", "true"),)) as stream,
    ):
        await asyncio.sleep(2.5)
        found["idle"] = stream.silence() or 0.0
        port = api.access.url.rpartition(":")[2]
        await asyncio.to_thread(run, "nft", "-f", "-", text=RULES.format(port=port))
        began = time.monotonic()
        given_up = asyncio.create_task(read(stream.chunks()), name="read")
        await asyncio.sleep(3.0)
        found["silent"] = stream.silence() or 0.0
        async with asyncio.timeout(40):
            await given_up
        found["given_up"] = time.monotonic() - began
        await asyncio.to_thread(run, "nft", "delete", "table", "ip", "hole")
    return found


async def read(chunks: object) -> None:
    try:
        async for _ in chunks:  # type: ignore[attr-defined]
            raise AssertionError("nothing was sent")
    except Unreachable:
        return
    raise AssertionError("a black hole is no clean end")


if __name__ == "__main__":
    run("ip", "link", "set", "lo", "up")
    print(json.dumps(asyncio.run(main(int(sys.argv[1])))))  # noqa: T201
