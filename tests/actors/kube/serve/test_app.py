"""Who may ask, how much at once, what is refused, and what is handed to writer and passthrough."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec
import pytest
from aiohttp import web

from actors.kube.serve.api import Hooks, RequestInfo, User, WriteResult
from actors.kube.serve.app import API
from actors.kube.serve.backend import CacheBackend, CacheSource
from actors.kube.status_errors import already_exists, conflict
from actors.kube.watchcache import WatchCache
from tests.actors.kube.objects import WIDGETS, make
from tests.actors.kube.objects import Source as Gadgets
from tests.actors.kube.serve.serving import CONFIGMAPS_URL, Api, serving

PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"


class Recorder:
    """A writer that notes what it is asked, and gives the next of `results`."""

    def __init__(self, *results: WriteResult | Exception) -> None:
        self.results = list(results)
        self.asked: list[tuple[RequestInfo, bytes, str]] = []
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.is_asked = asyncio.Event()
        self.finished = 0

    async def write(self, info: RequestInfo, body: bytes, content_type: str) -> WriteResult:
        self.asked.append((info, body, content_type))
        self.is_asked.set()
        await self.may_go_on.wait()
        self.finished += 1
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


CREATED = WriteResult(201, msgspec.json.encode(make(WIDGETS, "default/w", 5)))


# -- what is not there ----------------------------------------------------------------------------


async def test_unknown_paths_and_resources() -> None:
    async with serving() as api:
        for path in ("/nothing", "/apis/unknown.io/v1/things", "/apis/unknown.io", "/api/v9"):
            answer = await api.get(path)
            assert (answer.status, answer.text) == (404, "404 page not found\n"), path
        missing = await api.get("/api/v1/things")
        assert missing.json == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "the server could not find the requested resource",
            "reason": "NotFound",
            "details": {},
            "code": 404,
        }


async def test_scopes() -> None:
    async with serving() as api:
        assert (await api.get("/api/v1/namespaces/a/nodes/n")).status == 404
        assert (await api.get("/api/v1/configmaps/n")).status == 404


async def test_methods_that_make_no_sense() -> None:
    async with serving() as api:
        for method, path in (("PUT", CONFIGMAPS_URL), ("POST", f"{CONFIGMAPS_URL}/a")):
            answer = await api.get(path, method)
            assert (answer.status, answer.json["reason"]) == (405, "MethodNotAllowed")
        assert (await api.get("/version", "POST")).status == 405


async def test_writes_without_a_writer() -> None:
    async with serving() as api:
        answer = await api.get(CONFIGMAPS_URL, "POST", data=b"{}")
        assert answer.status == 405
        assert answer.json["details"] == {"kind": "configmaps"}


async def test_not_filled_yet_is_503() -> None:
    backend = CacheBackend([WatchCache(WIDGETS)])
    async with serving(backend=backend) as api:
        backend.add(WatchCache(WIDGETS))
        answer = await api.get("/apis/example.com/v1/widgets")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


# -- who and how much -----------------------------------------------------------------------------


async def authenticate(request: web.Request) -> User | None:
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return User(token) if token else None


async def test_authentication() -> None:
    recorder = Recorder(CREATED)
    async with serving(Hooks(authenticate=authenticate, writer=recorder)) as api:
        refused = await api.get(CONFIGMAPS_URL)
        assert (refused.status, refused.json["reason"]) == (401, "Unauthorized")
        assert (await api.get("/livez")).status == 200
        assert (await api.get(CONFIGMAPS_URL, Authorization="Bearer me")).status == 200
        await api.get(CONFIGMAPS_URL, "POST", data=b"{}", Authorization="Bearer me")
        assert recorder.asked[0][0].user == User("me")


async def test_audit() -> None:
    told: list[tuple[str, str, int]] = []

    def audit(info: RequestInfo, status: int, seconds: float) -> None:
        assert seconds >= 0
        told.append((info.verb, info.plural, status))

    async with serving(Hooks(audit=audit)) as api:
        await api.get(CONFIGMAPS_URL)
        await api.get(f"{CONFIGMAPS_URL}/a")
    assert told == [("list", "configmaps", 200), ("get", "configmaps", 404)]


async def test_the_limit_of_requests_in_flight_spares_watches_and_probes() -> None:
    recorder = Recorder(CREATED)
    recorder.may_go_on.clear()
    async with serving(Hooks(writer=recorder), max_in_flight=1) as api:
        async with api.watch(f"{CONFIGMAPS_URL}?watch=1&resourceVersion=10"):
            writing = asyncio.create_task(api.get(CONFIGMAPS_URL, "POST", data=b"{}"))
            await recorder.is_asked.wait()
            answer = await api.get(CONFIGMAPS_URL)
            assert (answer.status, answer.json["reason"]) == (429, "TooManyRequests")
            assert answer.headers["Retry-After"] == "1"
            assert (await api.get("/healthz")).status == 200
            recorder.may_go_on.set()
            assert (await writing).status == 201
        assert (await api.get(CONFIGMAPS_URL)).status == 200


async def test_too_large_bodies() -> None:
    async with serving(Hooks(writer=Recorder()), max_body=1000) as api:
        answer = await api.get(CONFIGMAPS_URL, "POST", data=b"x" * 2000)
        assert (answer.status, answer.json["reason"]) == (413, "RequestEntityTooLarge")


# -- writes ---------------------------------------------------------------------------------------


async def test_a_write_reaches_the_writer_whole() -> None:
    recorder = Recorder(WriteResult(200, b'{"kind":"ConfigMap"}', ("old", 'say "new"')))
    async with serving(Hooks(writer=recorder)) as api:
        path = f"{CONFIGMAPS_URL}/a?fieldManager=me"
        kind = "application/merge-patch+json; charset=utf-8"
        answer = await api.get(path, "PATCH", data=b"{}", Content_Type=kind)
    assert (answer.status, answer.json) == (200, {"kind": "ConfigMap"})
    assert list(answer.headers.getall("Warning")) == ['299 - "old"', r'299 - "say \"new\""']  # type: ignore[attr-defined]
    ((info, body, content_type),) = recorder.asked
    assert (info.verb, info.namespace, info.name) == ("patch", "default", "a")
    assert info.resource is not None
    assert info.query["fieldManager"] == "me"
    assert (body, content_type) == (b"{}", "application/merge-patch+json")


async def test_errors_of_the_writer_are_answers() -> None:
    recorder = Recorder(
        already_exists("", "configmaps", "a"),
        conflict("apps", "deployments", "d"),
        RuntimeError("x"),
    )
    async with serving(Hooks(writer=recorder)) as api:
        answers = [await api.get(CONFIGMAPS_URL, "POST", data=b"{}") for _ in range(3)]
    assert [a.json["reason"] for a in answers] == ["AlreadyExists", "Conflict", "InternalError"]
    assert answers[0].json["message"] == 'configmaps "a" already exists'
    assert answers[1].json["message"] == (
        'Operation cannot be fulfilled on deployments.apps "d": the object has been modified;'
        " please apply your changes to the latest version and try again"
    )
    assert answers[2].json["message"] == "Internal error occurred: x"


async def test_written_objects_in_the_view_that_is_asked_for() -> None:
    async with serving(Hooks(writer=Recorder(CREATED, CREATED))) as api:
        url = "/apis/example.com/v1/namespaces/default/widgets"
        partial = await api.get(url, "POST", data=b"{}", Accept=PARTIAL)
        assert partial.json["kind"] == "PartialObjectMetadata"
        yaml = await api.get(url, "POST", data=b"{}", Accept="application/yaml")
        assert yaml.text.startswith("apiVersion: example.com/v1\n")


async def test_a_write_is_finished_when_its_client_goes() -> None:
    recorder = Recorder(CREATED)
    recorder.may_go_on.clear()
    async with serving(Hooks(writer=recorder)) as api:
        request = asyncio.create_task(api.get(CONFIGMAPS_URL, "POST", data=b"{}"))
        await recorder.is_asked.wait()
        request.cancel()
        await asyncio.wait([request])
        recorder.may_go_on.set()
    assert recorder.finished == 1


async def test_subresources_go_to_the_writer_where_they_exist() -> None:
    recorder = Recorder(CREATED)
    async with serving(Hooks(writer=recorder)) as api:
        assert (await api.get("/api/v1/nodes/n/status", "PATCH", data=b"{}")).status == 201
        assert recorder.asked[0][0].subresource == "status"
        assert (await api.get("/api/v1/nodes/n/proxy", "POST", data=b"{}")).status == 404


# -- passed on ------------------------------------------------------------------------------------


async def pass_on(request: web.Request, info: RequestInfo) -> web.StreamResponse:
    return web.json_response({"verb": info.verb, "plural": info.plural, "path": info.path})


async def test_what_is_not_served_here_is_passed_on() -> None:
    async with serving(Hooks(passthrough=pass_on), own_discovery=False) as api:
        for method, path in (
            ("GET", "/api/v1/secrets"),
            ("POST", CONFIGMAPS_URL),
            ("GET", "/api/v1/namespaces/a/pods/p/log"),
            ("GET", "/apis"),
            ("GET", "/openapi/v3"),
            ("GET", "/metrics"),
        ):
            answer = await api.get(path, method)
            assert answer.json["path"] == path
        assert (await api.get(CONFIGMAPS_URL)).json["kind"] == "ConfigMapList"
        assert (await api.get("/livez")).text == "ok"


# -- reads of what the backend does not list ------------------------------------------------------


class Mirrored:
    """A passthrough that reads what it has itself, as a hub's mirror does."""

    def __init__(self) -> None:
        self.gadgets = Gadgets(msgspec.structs.replace(WIDGETS, plural="gadgets", kind="Gadget"))
        self.app: web.Application | None = None

    async def __call__(self, request: web.Request, info: RequestInfo) -> web.StreamResponse:
        assert self.app is not None
        assert info.resource is None
        known = replace(info, resource=self.gadgets.resource)
        return await self.app[API].read(request, known, CacheSource(self.gadgets.cache))


@asynccontextmanager
async def mirroring() -> AsyncIterator[tuple[Api, Gadgets]]:
    mirrored = Mirrored()
    async with serving(Hooks(passthrough=mirrored), wait_version=0.05) as api:
        mirrored.app = api.server.app
        yield api, mirrored.gadgets


async def test_any_source_is_read_as_the_backend_is() -> None:
    path = "/apis/example.com/v1/namespaces/default/gadgets"
    async with mirroring() as (api, gadgets):
        version = gadgets.put("g")
        assert (await api.get(path)).names() == ["g"]
        assert (await api.get(f"{path}/g")).json["kind"] == "Gadget"
        assert (await api.get(f"{path}/h")).status == 404
        assert (await api.get(f"{path}?resourceVersion={version + 1}")).status == 504
        async with api.watch(f"{path}?watch=1&resourceVersion=10") as watch:
            assert await watch.next_seen() == ("ADDED", "g")


async def test_watches_of_any_source_end_cleanly_at_stop() -> None:
    path = "/apis/example.com/v1/gadgets?watch=1&allowWatchBookmarks=1"
    async with mirroring() as (api, gadgets), api.watch(f"{path}&resourceVersion=10") as watch:
        gadgets.put("g")
        assert await watch.next_seen() == ("ADDED", "g")
        await api.server.stop()
        assert [event["type"] for event in await watch.rest()] == ["BOOKMARK"]


# -- health ---------------------------------------------------------------------------------------


class Sick(CacheBackend):
    def health(self) -> dict[str, str]:
        return {"feeds": "not synced"}

    async def source(self, info: RequestInfo) -> CacheSource:
        return Old((await super().source(info)).cache)


class Old(CacheSource):
    def warning(self) -> str | None:
        return "data is 5 min old"


async def test_health() -> None:
    async with serving() as api:
        for path in ("/healthz", "/livez", "/readyz", "/readyz/ping"):
            assert (await api.get(path)).text == "ok"
        assert "[+]ping ok" in (await api.get("/readyz?verbose")).text
        assert (await api.get("/readyz/nothing")).status == 404


async def test_what_is_wrong() -> None:
    async with serving(backend=Sick()) as api:
        assert (await api.get("/livez")).text == "ok"
        answer = await api.get("/readyz")
        assert answer.status == 500
        assert "[-]feeds failed: not synced" in answer.text
        assert (await api.get("/readyz/feeds")).status == 500


async def test_old_data_comes_with_a_warning() -> None:
    async with serving(backend=Sick()) as api:
        answer = await api.get(CONFIGMAPS_URL)
        assert answer.headers["Warning"] == '299 - "data is 5 min old"'
        async with api.watch(f"{CONFIGMAPS_URL}?watch=1") as watch:
            assert watch.response.headers["Warning"] == '299 - "data is 5 min old"'


class NotKnownYet(CacheBackend):
    """As a hub that has just started."""

    def resources_known(self) -> bool:
        return False


@pytest.mark.parametrize("path", ["/api", "/apis", "/api/v1", "/openapi/v3", "/api/v1/gadgets"])
async def test_resources_not_known_yet_are_no_404(path: str) -> None:
    async with serving(backend=NotKnownYet()) as api:
        answer = await api.get(path)
        known = await api.get(CONFIGMAPS_URL)
    assert (answer.status, answer.json["reason"]) == (503, "ServiceUnavailable")
    assert answer.headers["Retry-After"] == "1"
    assert known.status == 200


async def test_what_may_soon_be_served_here_is_not_read_past_us() -> None:
    """A watch passed on now would cross the WAN, by itself, for its whole life."""
    async with serving(backend=NotKnownYet(), hooks=Hooks(passthrough=pass_on)) as api:
        early = await api.get("/api/v1/gadgets?watch=true")
    async with serving(hooks=Hooks(passthrough=pass_on)) as api:
        known = await api.get("/api/v1/gadgets")
    assert early.status == 503
    assert known.json["path"] == "/api/v1/gadgets"


async def test_a_client_that_hangs_up_early_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    asked = asyncio.Event()
    codes: asyncio.Queue[int] = asyncio.Queue()

    async def authenticate(request: web.Request) -> User | None:
        asked.set()
        assert request.transport is not None
        # At the first sign of it: later aiohttp has heard of it, and the request is cancelled.
        while not request.transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(0)
        return User("somebody")

    hooks = Hooks(authenticate=authenticate, audit=lambda _, code, __: codes.put_nowait(code))
    async with serving(hooks) as api:
        _, writer = await asyncio.open_connection("127.0.0.1", api.server.port)
        path = f"{CONFIGMAPS_URL}?watch=1&resourceVersion=10"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await asyncio.wait_for(asked.wait(), 5)
        writer.transport.abort()
        assert await asyncio.wait_for(codes.get(), 5) == 499
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
