"""An operator by kopf, run by tests as a process: widgets get a status; each handling is a line.

    python operator.py KUBECONFIG NAMESPACE

Ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import kopf

GROUP = "interop.atoll.example"


def tell(**line: Any) -> None:
    print(json.dumps(line), flush=True)


@kopf.on.create(GROUP, "v1", "widgets")
def created(name: str, spec: Any, patch: Any, **_: Any) -> None:
    tell(event="create", name=name, size=spec["size"])
    patch.status["size"] = spec["size"]


@kopf.on.update(GROUP, "v1", "widgets", field="spec.size")
def resized(name: str, spec: Any, patch: Any, **_: Any) -> None:
    tell(event="update", name=name, size=spec["size"])
    patch.status["size"] = spec["size"]


@kopf.on.delete(GROUP, "v1", "widgets")
def deleted(name: str, **_: Any) -> None:
    tell(event="delete", name=name)


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = True
    settings.watching.reconnect_backoff = 0.1


@kopf.on.login()
def login(**_: Any) -> kopf.ConnectionInfo:
    return kopf.ConnectionInfo(server=_server(), insecure=True)


def _server() -> str:
    import yaml

    with open(sys.argv[1]) as file:
        return str(yaml.safe_load(file)["clusters"][0]["cluster"]["server"])


async def main() -> None:
    stop, ready = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    reading = loop.run_in_executor(None, sys.stdin.read)
    reading.add_done_callback(lambda _: stop.set())
    running = asyncio.create_task(
        kopf.operator(standalone=True, namespaces=[sys.argv[2]], stop_flag=stop, ready_flag=ready)
    )
    await ready.wait()
    tell(event="ready")
    await running


if __name__ == "__main__":
    asyncio.run(main())
