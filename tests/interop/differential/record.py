"""Writes `recorded.jsonl`: real clients at work on an embedded API server, each in a session.

    python -m tests.interop.differential.record

By hand, when a client is to be added or has changed; the test reads the file alone.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import kr8s
import kubernetes as kube

from tests.interop.conftest import NODE
from tests.interop.differential.recorder import Recorder
from tests.interop.differential.steps import RECORDED, text_of
from tests.interop.samples import WIDGETS, config_map, namespace, node, service, widget
from tests.interop.target import Access, Api
from tests.interop.world import World

_EVERYWHERE = re.compile(r"/api/v1/namespaces(\?.*)?")  # all sessions' at replay
INTEROP = Path(__file__).parents[1]
CM, SVC, WD = config_map("it"), service("it", tier="web"), widget("it")
KUBECTL: dict[str, list[str | tuple[str, Any]]] = {
    "reads": [
        "api-resources",
        "api-versions",
        "version",
        "get nodes",
        f"get node {NODE} -o yaml",
        f"describe node {NODE}",
        "get all",
        "get configmaps,services,widgets",
        "get cm absent",
        "get absents",
        "get events",
        "get cm -o wide --sort-by=.metadata.name",
        "get --raw /healthz",
        "get --raw /openapi/v2",
        "auth can-i list pods",
        "auth whoami",
        "cluster-info",
        "explain service.spec.ports",
        "explain widget.spec",
    ],
    "apply": [
        ("apply -f -", CM),
        ("apply -f -", {**CM, "data": {"a": "2"}}),
        ("apply -f -", SVC),
        ("apply -f -", {**SVC, "spec": {**SVC["spec"], "sessionAffinity": "ClientIP"}}),
        ("apply -f -", WD),
        ("apply -f -", widget("it", size=7)),
        ("diff -f -", {**CM, "data": {"a": "3"}}),
        ("apply --dry-run=server -f -", {**CM, "data": {"a": "3"}}),
        "describe cm it",
        "describe service it",
        "describe widget it",
        "get service it -o json",
        "delete service it",
        "delete widget it",
    ],
    "server-side": [
        ("apply --server-side -f -", CM),
        ("apply --server-side -f -", {**CM, "data": {"a": "2"}}),
        ("apply --server-side --field-manager=other -f -", {**CM, "data": {"a": "3"}}),
        ("apply --server-side --field-manager=other --force-conflicts -f -", CM),
        ("apply --server-side -f -", WD),
        ("apply --server-side -f -", SVC),
        "get cm it --show-managed-fields -o yaml",
        "delete cm,service,widget it",
    ],
    "writes": [
        ("create -f -", CM),
        ("create -f -", CM),
        ("create -f -", {**CM, "metadata": {"generateName": "gen-"}}),
        "create configmap made --from-literal=a=1",
        "create secret generic secret --from-literal=a=1",
        "create serviceaccount sa",
        "label cm it a=b",
        "annotate cm it a=b",
        'patch cm it -p \'{"data":{"b":"1"}}\'',
        'patch cm it --type=merge -p \'{"data":{"b":"2"}}\'',
        'patch cm it --type=json -p \'[{"op":"replace","path":"/data/b","value":"3"}]\'',
        'patch cm it --type=json -p \'[{"op":"test","path":"/data/b","value":"4"}]\'',
        ("create -f -", WD),
        'patch widget it --subresource=status --type=merge -p \'{"status":{"ok":true}}\'',
        "wait --for=jsonpath={.status.ok}=true widget/it --timeout=3s",
        "wait --for=delete widget/absent --timeout=3s",
        ("replace -f -", {**CM, "data": {"z": "1"}}),
        "delete cm it --dry-run=server",
        "delete cm made",
        "delete cm absent",
        "delete cm,secret,widget --all",
    ],
}


class Clients:
    def __init__(self, access: Access, home: Path) -> None:
        self._access = access
        self._home = home

    async def kubectl(self, ns: str, lines: list[str | tuple[str, Any]]) -> None:
        for line in lines:
            text, stdin = line if isinstance(line, tuple) else (line, None)
            config = ["--kubeconfig", str(self._access.kubeconfig), "--namespace", ns]
            caches = ["--cache-dir", str(self._home / "cache" / ns)]
            command = ["kubectl", *config, *caches, *shlex.split(text)]
            given = json.dumps(stdin).encode() if stdin else b""
            done = await asyncio.to_thread(
                subprocess.run, command, input=given, capture_output=True, check=False
            )
            sys.stderr.write(f"{text}: {done.returncode} {done.stderr.decode()[:150]}\n")

    async def kubectl_watch(self, ns: str) -> None:
        await self.kubectl(ns, [("create -f -", CM)])
        for text in ("get cm -w --request-timeout=2s", "get cm it -w -o json --request-timeout=2s"):
            await self.kubectl(ns, [text])

    async def kubernetes(self, ns: str) -> None:
        """The `kubernetes` package: what a script would do."""
        await asyncio.to_thread(self._kubernetes, ns)

    def _kubernetes(self, ns: str) -> None:
        untyped: Any = kube
        client = untyped.config.new_client_from_config(str(self._access.kubeconfig))
        core = untyped.client.CoreV1Api(client)
        custom = untyped.client.CustomObjectsApi(client)
        core.create_namespaced_config_map(ns, CM)
        found = core.list_namespaced_config_map(ns, limit=1)
        core.patch_namespaced_config_map("it", ns, {"data": {"k": "2"}})
        core.replace_namespaced_config_map("it", ns, CM)
        core.read_namespaced_config_map("it", ns)
        watch = untyped.watch.Watch()
        for _ in watch.stream(
            core.list_namespaced_config_map,
            ns,
            resource_version=found.metadata.resource_version,
            timeout_seconds=1,
        ):
            pass
        where = ("interop.atoll.example", "v1", ns, "widgets")
        custom.create_namespaced_custom_object(*where, WD)
        status = {"status": {"ok": True}}
        custom.patch_namespaced_custom_object_status(*where, "it", status)
        custom.list_namespaced_custom_object(*where, label_selector="a!=b")
        custom.delete_namespaced_custom_object(*where, "it")
        core.delete_collection_namespaced_config_map(ns)
        untyped.client.VersionApi(client).get_code()
        untyped.client.ApisApi(client).get_api_versions()

    async def kr8s(self, ns: str) -> None:
        api = await kr8s.asyncio.api(kubeconfig=str(self._access.kubeconfig), namespace=ns)
        await api.version()
        await api.api_resources()
        made = await kr8s.asyncio.objects.ConfigMap({**CM, "metadata": {"name": "it"}}, api=api)
        await made.create()
        await made.patch({"data": {"b": "1"}})
        await made.label(x="y")
        await made.refresh()
        _ = [each async for each in api.get("configmaps", label_selector="x=y", namespace=ns)]
        _ = [each async for each in api.get("widgets", namespace=ns)]
        _ = await made.exists()
        await made.delete()
        session: Any = api._session
        await session.aclose()

    async def client_node(self, ns: str) -> None:
        process = await asyncio.create_subprocess_exec(
            "node",
            str(INTEROP / "node" / "informer.mjs"),
            str(self._access.kubeconfig),
            ns,
            "1",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
        )
        await asyncio.sleep(2.5)
        await process.communicate(b"")

    async def kopf(self, ns: str) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(INTEROP / "operator.py"),
            str(self._access.kubeconfig),
            ns,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
        )
        await asyncio.sleep(2.0)
        await self.kubectl(ns, [("create -f -", WD)])
        await asyncio.sleep(1.5)
        await process.communicate(b"")


async def record(world: World, home: Path) -> bytes:
    recorder = Recorder(world.api_url)
    async with recorder.serving() as url, Access.read(world.kubeconfig).open() as api:
        clients = Clients(Access.plain(home / "kubeconfig", url), home)
        sessions: dict[str, Callable[[str], Awaitable[None]]] = {
            f"kubectl {name}": lambda ns, lines=lines: clients.kubectl(ns, lines)  # type: ignore[misc]
            for name, lines in KUBECTL.items()
        }
        sessions["kubectl watch"] = clients.kubectl_watch
        sessions |= {
            "kubernetes": clients.kubernetes,
            "kr8s": clients.kr8s,
            "client-node": clients.client_node,
            "kopf": clients.kopf,
        }
        for number, (name, run) in enumerate(sessions.items()):
            own = f"differ-{number:02}-rec"
            recorder.begin(f"write: {name}", own)
            await _prepare(api, own)
            await run(own)
    steps = [step for step in recorder.steps if not _EVERYWHERE.fullmatch(step.path)]
    return text_of(steps)


async def _prepare(api: Api, own: str) -> None:
    await api.create(namespace(own))


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory))
        try:
            world.start("cloud")
            asyncio.run(_all(world, Path(directory)))
        finally:
            world.stop()


async def _all(world: World, home: Path) -> None:
    async with Access.read(world.kubeconfig).open() as api:
        await api.create(WIDGETS)
        await api.create(node(NODE))
    RECORDED.write_bytes(await record(world, home))


if __name__ == "__main__":
    main()
