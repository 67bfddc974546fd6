"""The aiohttp application that looks like a kube-apiserver."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import msgspec
from aiohttp import web
from loguru import logger
from multidict import CIMultiDict

from actors.kube.serve import system
from actors.kube.serve.api import (
    READ_VERBS,
    Hooks,
    ReadBackend,
    RequestInfo,
    ServeSettings,
    Source,
    User,
    Writer,
    WriteResult,
)
from actors.kube.serve.bodies import headers_for, send
from actors.kube.serve.negotiate import View, negotiate
from actors.kube.serve.reads import Reader, pretty, warn
from actors.kube.serve.routes import ResourceIndex, is_allowed, is_long_running, parse_request
from actors.kube.serve.views import Presenter, to_yaml
from actors.kube.serve.watches import Watches
from actors.kube.status_errors import (
    ApiError,
    internal_error,
    method_not_allowed,
    service_unavailable,
    too_large,
    too_many_requests,
    unauthorized,
    unknown_resource,
)

WATCHES = web.AppKey("watches", Watches)
_GONE = 499  # for the audit log: the client hung up before it was answered


def build_app(
    backend: ReadBackend,
    hooks: Hooks | None = None,
    settings: ServeSettings | None = None,
) -> web.Application:
    """An application that serves `backend`; run it with `start_server` (or any aiohttp runner).

    At shutdown its watches end cleanly, so that clients resume instead of listing anew: those of
    `backend` and those that someone else reads through `app[API].read`.
    """
    settings = settings or ServeSettings()
    server = ApiServer(backend, hooks or Hooks(), settings)
    app = web.Application(client_max_size=settings.max_body)
    app[API] = server
    app[WATCHES] = server.watches
    app.router.add_route("*", "/{path:.*}", server.handle)
    app.on_shutdown.append(_end_watches)
    return app


async def _end_watches(app: web.Application) -> None:
    await app[WATCHES].stop()


class ApiServer:
    """One request at a time: who, what, then the handler; any failure becomes a Status."""

    def __init__(self, backend: ReadBackend, hooks: Hooks, settings: ServeSettings) -> None:
        self._backend = backend
        self._hooks = hooks
        self._settings = settings
        self._index = ResourceIndex()
        self._reader = Reader(settings)
        self.watches = Watches(self._reader, settings)
        self._system = system.SystemPaths(backend, hooks, settings)
        self._in_flight = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        info = self._parse(request)
        if self._hooks.begin is None:
            return await self._answered(request, info)
        finish, response = self._hooks.begin(request, info), None
        try:
            response = await self._answered(request, info)
            return response
        finally:
            finish(response)

    async def _answered(self, request: web.Request, info: RequestInfo) -> web.StreamResponse:
        started = time.perf_counter()
        try:
            info = replace(info, user=await self._authenticate(request, info))
            if self._hooks.authorize is not None and info.user is not None:
                self._hooks.authorize(info)
            response = await self._limited(request, info)
        except ApiError as error:
            response = failure(request, error)
        except web.HTTPRequestEntityTooLarge:
            response = failure(request, too_large(self._settings.max_body))
        except web.HTTPMovedPermanently:
            raise
        except ConnectionError:
            if request.transport is not None and not request.transport.is_closing():
                raise
            response = web.Response(status=_GONE)
        except Exception as error:
            logger.opt(exception=error).error("{} {} failed", request.method, request.rel_url)
            response = failure(request, internal_error(str(error) or type(error).__name__))
        if self._hooks.audit is not None:
            self._hooks.audit(info, response.status, time.perf_counter() - started)
        return response

    def _parse(self, request: web.Request) -> RequestInfo:
        info = parse_request(request.method, request.path, request.query)
        key = (info.group, info.version, info.plural)
        resource = None
        if info.is_resource:
            resource = self._index.find(self._backend.resources(), key)
        return replace(info, resource=resource, headers=request.headers)

    async def _authenticate(self, request: web.Request, info: RequestInfo) -> User | None:
        """Probes come without credentials."""
        if self._hooks.authenticate is None or system.is_probe(info.path):
            return None
        user = await self._hooks.authenticate(request)
        if user is None and not self._hooks.admits_nobody:
            raise unauthorized()
        return user

    async def _limited(self, request: web.Request, info: RequestInfo) -> web.StreamResponse:
        """Long ones are not counted: they last, and they cost little while nothing happens."""
        if is_long_running(info) or system.is_probe(info.path):
            return await self._route(request, info)
        if self._hooks.admit is not None:
            async with self._hooks.admit(info):
                return await self._route(request, info)
        if self._in_flight >= self._settings.max_in_flight:
            raise too_many_requests()
        self._in_flight += 1
        try:
            return await self._route(request, info)
        finally:
            self._in_flight -= 1

    async def _route(self, request: web.Request, info: RequestInfo) -> web.StreamResponse:
        if not info.is_resource:
            return await self._plain_path(request, info)
        if info.resource is None:
            return await self._unknown(request, info)
        if not is_allowed(info) or not _has_verb(info):
            raise method_not_allowed()
        self._check_scope(info, info.resource.namespaced)
        if info.subresource not in ("", "status"):
            return await self._subresource(request, info)
        if info.verb in ("get", "list", "watch"):
            return await self._read(request, info)
        return await self._write(request, info)

    def _check_scope(self, info: RequestInfo, namespaced: bool) -> None:
        """A namespace where there can be none, or none where one object is meant: no such path."""
        is_one = bool(info.name) and info.verb != "watch"
        needs = namespaced and (is_one or info.verb in ("create", "deletecollection"))
        if (info.namespace and not namespaced) or (needs and not info.namespace):
            raise unknown_resource()

    async def _read(self, request: web.Request, info: RequestInfo) -> web.StreamResponse:
        if (
            info.subresource
            and info.resource
            and info.subresource not in info.resource.subresources
        ):
            raise unknown_resource()
        return await self.read(request, info, await self._backend.source(info))

    async def read(
        self, request: web.Request, info: RequestInfo, source: Source
    ) -> web.StreamResponse:
        """Answer a get, list or watch from `source`, be it the backend's or not.

        `info.resource` is set, though it may be none of those that the backend serves. Raises
        ApiError.
        """
        if info.verb == "watch":
            return await self.watches.serve(request, info, source)
        if info.verb == "list":
            return await self._reader.list_(request, info, source)
        return await self._reader.get(request, info, source)

    async def _subresource(self, request: web.Request, info: RequestInfo) -> web.StreamResponse:
        known = info.resource is not None and info.subresource in info.resource.subresources
        if self._hooks.writer is not None and known:
            return await self._write(request, info)
        return await self._pass_on(request, info, unknown_resource())

    async def _plain_path(self, request: web.Request, info: RequestInfo) -> web.StreamResponse:
        response = await self._system.answer(request, info)
        if response is not None:
            return response
        return await self._unknown(request, info)

    async def own(self, request: web.Request, info: RequestInfo) -> web.StreamResponse | None:
        """Discovery and the like as known here, for a passthrough that got no answer."""
        return await self._system.own(request, info)

    async def _unknown(self, request: web.Request, info: RequestInfo) -> web.StreamResponse:
        """Upstream has a Status for a resource missing from a version it has, else a bare 404."""
        passthrough = self._hooks.passthrough
        # A watch that is passed on stays there for its whole life: not what is served here soon.
        is_early = (info.is_resource and info.verb in READ_VERBS) or passthrough is None
        if is_early and not self._backend.resources_known():
            raise service_unavailable(system.NOT_KNOWN_YET)
        if passthrough is not None:
            return await passthrough(request, info)
        known = {(r.group, r.version) for r in self._backend.resources()}
        if info.is_resource and (info.group, info.version) in known:
            raise unknown_resource()
        return web.Response(text="404 page not found\n", status=404)

    async def _pass_on(
        self, request: web.Request, info: RequestInfo, otherwise: ApiError
    ) -> web.StreamResponse:
        if self._hooks.passthrough is None:
            raise otherwise
        return await self._hooks.passthrough(request, info)

    # -- writes -----------------------------------------------------------------------------------

    async def _write(self, request: web.Request, info: RequestInfo) -> web.StreamResponse:
        writer = self._hooks.writer
        if writer is None:
            return await self._pass_on(request, info, _cannot_write(info))
        return await self.write(request, info, writer)

    async def write(
        self, request: web.Request, info: RequestInfo, writer: Writer
    ) -> web.StreamResponse:
        """Let `writer` do it, to its end whatever the client does. Raises ApiError."""
        wanted = negotiate(info.headers.get("Accept", ""))
        body = await request.read()
        result = await _to_the_end(writer.write(info, body, request.content_type), info.path)
        shown = result.body
        if wanted.view is not View.OBJECT and info.resource is not None and not _is_status(shown):
            shown = Presenter(info.resource, wanted).body(shown)
        elif wanted.yaml:
            shown = to_yaml(msgspec.json.decode(shown))
        headers = CIMultiDict(headers_for(wanted.content_type))
        for text in result.warnings:
            headers.add("Warning", warn(text))
        return await send(
            request, pretty(request, shown), self._settings, status=result.code, headers=headers
        )


API = web.AppKey("api", ApiServer)


def _has_verb(info: RequestInfo) -> bool:
    """Whether the resource knows the verb; subresources have their own."""
    verbs = info.resource.verbs if info.resource is not None and not info.subresource else ()
    return not verbs or info.verb in verbs


async def _to_the_end(write: Coroutine[Any, Any, WriteResult], path: str) -> WriteResult:
    """A client that hangs up must not stop a write half-way: it is finished, then we are ended."""
    task = asyncio.create_task(write, name=f"write {path}")
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _is_status(body: bytes) -> bool:
    kind = msgspec.json.decode(body).get("kind")
    return bool(kind == "Status")


def _cannot_write(info: RequestInfo) -> ApiError:
    return method_not_allowed(info.group, info.plural, info.verb)


def failure(request: web.Request, error: ApiError) -> web.Response:
    """The error as the client reads it: a Status, in YAML if that is what it reads."""
    headers = headers_for("application/json")
    if error.retry_after:
        headers["Retry-After"] = str(error.retry_after)
    if error.code == 401:
        headers["WWW-Authenticate"] = 'Basic realm="kubernetes-master"'
    return web.Response(body=pretty(request, error.body()), status=error.code, headers=headers)
