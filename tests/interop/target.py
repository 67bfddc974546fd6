"""Where a test reads and where it writes, and a plain HTTP client for both."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import kubernetes
import msgspec
import yaml

from tests.interop.samples import collection

DEADLINE = 15.0
EXPIRED = "1"  # a version of configmaps that no target remembers, see `World.churn`
_NO_END = aiohttp.ClientTimeout(total=None, sock_connect=5)
_LONGEST = 1 << 22  # bytes of an event

Json = dict[str, Any]


@dataclass(frozen=True)
class Access:
    """One API endpoint, by its kubeconfig."""

    kubeconfig: Path
    url: str
    tls: ssl.SSLContext | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, kubeconfig: Path) -> Access:
        """Tokens, certificates and exec plugins are the `kubernetes` package's to understand."""
        config = kubernetes.client.Configuration()
        load: Any = kubernetes.config.load_kube_config  # untyped
        load(str(kubeconfig), client_configuration=config)
        tls = None
        if config.host.startswith("https"):
            tls = ssl.create_default_context(cafile=config.ssl_ca_cert)
            if config.cert_file:
                tls.load_cert_chain(config.cert_file, config.key_file)
        known: Any = config.auth_settings()
        headers = {e["key"]: e["value"] for e in known.values() if e["in"] == "header"}
        return cls(kubeconfig, config.host, tls, headers)

    @classmethod
    def plain(cls, kubeconfig: Path, url: str) -> Access:
        """A server without credentials; writes the kubeconfig."""
        # client-node refuses plain HTTP without the latter.
        cluster = {"server": url, "insecure-skip-tls-verify": True}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "it", "cluster": cluster}],
            "users": [{"name": "me", "user": {}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
            "current-context": "it",
        }
        kubeconfig.write_text(yaml.safe_dump(content))
        return cls(kubeconfig, url)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Api]:
        connector = aiohttp.TCPConnector(ssl=self.tls if self.tls is not None else True)
        async with aiohttp.ClientSession(
            connector=connector,
            headers=self.headers,
            timeout=aiohttp.ClientTimeout(total=20, sock_connect=5),
            read_bufsize=_LONGEST,
        ) as session:
            yield Api(session, self.url)


@dataclass(frozen=True)
class Target:
    """`reads` is what is tested; `writes` is the API server behind it, which may be the same."""

    name: str
    reads: Access
    writes: Access

    @property
    def is_hub(self) -> bool:
        return self.reads != self.writes


class Refused(AssertionError):
    """A status that was not wanted."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Json:
        return dict(msgspec.json.decode(self.raw))


@dataclass(frozen=True)
class Seen:
    """One watch event."""

    type: str
    object: Json

    @property
    def version(self) -> int:
        return version_of(self.object)

    @property
    def is_end_mark(self) -> bool:
        notes = self.object.get("metadata", {}).get("annotations") or {}
        return self.type == "BOOKMARK" and notes.get("k8s.io/initial-events-end") == "true"


class Api:
    """Plain HTTP, so that tests see what is on the wire."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session = session
        self.base = base

    async def ask(
        self,
        path: str,
        method: str = "GET",
        body: Any = None,
        accept: str = "",
        kind: str = "",
        **params: Any,
    ) -> Answer:
        """Any answer, also of refusal. Parameters are named as in the query."""
        headers = {"Accept": accept or "application/json"}
        data = None
        if body is not None:
            headers["Content-Type"] = kind or "application/json"
            data = msgspec.json.encode(body)
        query = {name: str(value) for name, value in params.items()}
        async with self.session.request(
            method, self.base + path, params=query, data=data, headers=headers
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **params: Any) -> Json:
        return _good(await self.ask(path, **params))

    async def list(self, path: str, **params: Any) -> list[Json]:
        return [dict(item) for item in (await self.get(path, **params))["items"]]

    async def create(self, body: Json, namespace: str = "") -> Json:
        path = collection(body["kind"], namespace)
        return _good(await self.ask(path, "POST", body))

    async def patch(self, kind: str, namespace: str, name: str, body: Json) -> Json:
        path = f"{collection(kind, namespace)}/{name}"
        patch = "application/merge-patch+json"
        return _good(await self.ask(path, "PATCH", body, kind=patch))

    async def delete(self, kind: str, namespace: str, name: str) -> Json:
        return _good(await self.ask(f"{collection(kind, namespace)}/{name}", "DELETE"))

    @contextlib.asynccontextmanager
    async def watch(self, path: str, accept: str = "", **params: Any) -> AsyncIterator[Watching]:
        query = {"watch": "true", **{name: str(value) for name, value in params.items()}}
        headers = {"Accept": accept or "application/json"}
        async with self.session.get(
            self.base + path, params=query, headers=headers, timeout=_NO_END
        ) as response:
            if response.status != 200:
                raise Refused(response.status, await response.text())
            yield Watching(response)

    async def sees(self, path: str, version: int) -> None:
        """Returns once the server has at least this version of the resource."""
        params: Any = {
            "resourceVersionMatch": "NotOlderThan",
            "resourceVersion": version,
            "limit": 1,
        }
        async with asyncio.timeout(DEADLINE):
            while (answer := await self.ask(path, **params)).status == 504:  # it waited 3 s
                continue
        _good(answer)


class Watching:
    """A watch under way."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.events: list[Seen] = []

    async def next(self, timeout: float | None = DEADLINE) -> Seen | None:
        """None at the clean end; aiohttp raises at any other."""
        async with asyncio.timeout(timeout):
            line = await self.response.content.readline()
        if not line:
            return None
        event = msgspec.json.decode(line)
        self.events.append(Seen(event["type"], event["object"]))
        return self.events[-1]

    async def take(self, count: int) -> list[Seen]:
        """So many events; bookmarks are not counted and left out."""
        found: list[Seen] = []
        while len(found) < count:
            event = await self.next()
            assert event is not None, f"the watch ended after {found}"
            if event.type != "BOOKMARK":
                found.append(event)
        return found

    async def initial(self) -> list[Seen]:
        """A watch-list's events up to its end mark, which is the last of them."""
        begun = len(self.events)
        while not self.events or not self.events[-1].is_end_mark:
            assert await self.next() is not None, f"the watch ended after {self.events}"
        return self.events[begun:]

    async def rest(self) -> list[Seen]:
        """Everything up to the clean end."""
        begun = len(self.events)
        while await self.next() is not None:
            pass
        return self.events[begun:]


def version_of(obj: Json) -> int:
    return int(obj["metadata"]["resourceVersion"])


def name_of(obj: Json) -> str:
    return str(obj["metadata"]["name"])


def stripped(obj: Json) -> Json:
    """Without managedFields, which a hub leaves out."""
    metadata = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
    return {**obj, "metadata": metadata}


def bare(obj: Json) -> Json:
    """`stripped`, and without what kube-apiserver leaves out in lists."""
    return {k: v for k, v in stripped(obj).items() if k not in ("kind", "apiVersion")}


def _good(answer: Answer) -> Json:
    if answer.status >= 300:
        raise Refused(answer.status, answer.raw.decode(errors="replace"))
    return answer.json
