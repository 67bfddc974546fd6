"""An operator by kopf, run by tests as a process: widgets get a status; each handling is a line.

    python operator.py KUBECONFIG NAMESPACE

Ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import kopf
import yaml

GROUP = "interop.atoll.example"


def tell(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


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
    content = yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8"))
    return str(content["clusters"][0]["cluster"]["server"])


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
