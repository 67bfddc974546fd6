"""Says on a bus what nobody should: a program for the network of one of the lab's machines.

python -m tests.support.intruder URL SEED INBOX [CA], then lines of JSON: subject, data (base64),
headers; "go" flushes them and says how many went out and how many the server denied.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path

from bus.connection import BusSettings, Connection
from bus.errors import BusError

_DENIAL_SECONDS = 5.0  # a flush answers behind all denials, so this bounds a dead bus only


async def main(url: str, seed: str, inbox: str, ca: str = "") -> None:
    settings = BusSettings(
        name="intruded",
        urls=(url,),
        seed_file=Path(seed),
        client="intruder",
        inbox_prefix=inbox,
        ca=Path(ca) if ca else None,
    )
    bus = Connection(settings)
    await bus.start()
    await bus.wait_up(10.0)
    sys.stderr.write("ready\n")
    try:
        sent = 0
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            if line != "go":
                sent += await _say(bus, json.loads(line))
                continue
            await bus.flush(_DENIAL_SECONDS)
            sys.stderr.write(f"sent {sent}, denied {bus.denied}\n")
    finally:
        await bus.close()


async def _say(bus: Connection, said: dict[str, str]) -> int:
    data = base64.b64decode(said["data"])
    headers = json.loads(said.get("headers", "{}"))
    try:
        await bus.publish(said["subject"], data, reply=said.get("reply", ""), headers=headers)
    except BusError as error:
        sys.stderr.write(f"not sent: {error}\n")
        return 0
    return 1


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
