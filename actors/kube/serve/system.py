"""Paths that are no resources: discovery, OpenAPI, version and health."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from actors.kube.resource import Resource
from actors.kube.serve import discovery, openapi
from actors.kube.serve.api import Hooks, ReadBackend, RequestInfo, ServeSettings
from actors.kube.serve.bodies import headers_for, send
from actors.kube.serve.negotiate import discovery_version, parse_accept
from actors.kube.serve.reads import pretty
from actors.kube.status_errors import method_not_allowed, not_acceptable, service_unavailable

NOT_KNOWN_YET = "the resources that are served here are not known yet"
_PROBES = re.compile(r"/(healthz|livez|readyz)(/.*)?")
_DISCOVERED = re.compile(r"/(api|apis|openapi)(/.*)?")
_PASSED = re.compile(r"/|/(api|apis|openapi|version)(/.*)?")  # to who knows better


def is_probe(path: str) -> bool:
    return _PROBES.fullmatch(path) is not None


OPENAPI_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
OLD_KUBECTL = frozenset(
    {OPENAPI_PROTOBUF, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"}
)
"""kubectl up to 1.28 asks for the schema in protobuf only, and stops at a 406. No bytes are a
valid, empty document: it then goes on without client-side validation."""


class Documents:
    """Discovery and OpenAPI as encoded bytes, made once for each set of resources."""

    def __init__(self, hooks: Hooks) -> None:
        self._openapi = hooks.openapi
        self._writable = hooks.writer is not None or hooks.passthrough is not None
        self._source: tuple[Resource, ...] | None = None
        self._groups: discovery.Groups = {}
        self._held: dict[object, bytes] = {}
        self._minimal_v3: Mapping[str, bytes] = {}
        self._digests: dict[str, tuple[bytes, str]] = {}  # by path

    def use(self, resources: tuple[Resource, ...]) -> None:
        if resources is not self._source:
            self._source = resources
            self._groups = discovery.grouped(resources)
            self._held.clear()
            self._minimal_v3 = openapi.minimal_v3(resources)

    def _keep(self, key: object, make: Callable[[], object]) -> bytes:
        if key not in self._held:
            self._held[key] = msgspec.json.encode(make())
        return self._held[key]

    def root(self, core: bool, aggregated: str, host: str) -> bytes:
        """/api or /apis."""
        groups, writable = self._groups, self._writable
        if aggregated:
            key = ("aggregated", core, aggregated)
            return self._keep(key, lambda: discovery.aggregated(groups, core, aggregated, writable))
        if core:
            return msgspec.json.encode(discovery.api_versions(host))
        return self._keep("apis", lambda: discovery.api_group_list(groups))

    def group(self, group: str) -> bytes | None:
        versions = self._groups.get(group)
        if versions is None:
            return None
        return self._keep(("group", group), lambda: discovery.one_group(group, versions))

    def version(self, group: str, version: str) -> bytes | None:
        resources = self._groups.get(group, {}).get(version)
        if resources is None:
            return None
        name = f"{group}/{version}" if group else version
        return self._keep(
            ("version", name), lambda: discovery.resource_list(name, resources, self._writable)
        )

    def v3(self) -> Mapping[str, bytes]:
        return self._openapi.openapi_v3() if self._openapi is not None else self._minimal_v3

    def v3_index(self) -> bytes:
        """Each document's address carries its hash, so that clients may keep it for good."""
        documents = self.v3()
        return msgspec.json.encode(openapi.index_v3({p: self.digest(p) for p in documents}))

    def digest(self, path: str) -> str:
        """Of a v3 document; hashed once for the same bytes object."""
        body = self.v3()[path]
        held = self._digests.get(path)
        if held is None or held[0] is not body:
            held = self._digests[path] = (body, openapi.digest(body))
        return held[1]

    def etag(self, body: bytes) -> str:
        known = (digest for held, digest in self._digests.values() if held is body)
        return next(known, None) or openapi.digest(body)

    def v2(self) -> bytes:
        if self._openapi is not None:
            return self._openapi.openapi_v2()
        if "v2" not in self._held:
            self._held["v2"] = openapi.minimal_v2(self._source or ())
        return self._held["v2"]


class SystemPaths:
    """Answers what it knows, None for the rest."""

    def __init__(self, backend: ReadBackend, hooks: Hooks, settings: ServeSettings) -> None:
        self._backend = backend
        self._hooks = hooks
        self._settings = settings
        self._documents = Documents(hooks)

    async def answer(self, request: web.Request, info: RequestInfo) -> web.StreamResponse | None:
        path = info.path.rstrip("/") or "/"
        if is_probe(path):
            return self._probe(request, path)
        if _PASSED.fullmatch(path) and self._passes_discovery():
            return None
        return await self.own(request, info)

    async def own(self, request: web.Request, info: RequestInfo) -> web.StreamResponse | None:
        """What is known here, also where `passthrough` comes first. Raises ApiError."""
        path = info.path.rstrip("/") or "/"
        if _DISCOVERED.fullmatch(path) and not self._backend.resources_known():
            raise service_unavailable(NOT_KNOWN_YET)
        made = self._document(request, path)
        if made is None:
            return None
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed()
        body, content_type = made
        return await self._cached(request, body, content_type)

    def _passes_discovery(self) -> bool:
        passes = self._hooks.passes_discovery
        return not self._settings.own_discovery or (passes is not None and passes())

    def _document(self, request: web.Request, path: str) -> tuple[bytes, str] | None:
        """(body, content type)"""
        if path == "/version":
            return pretty_json(self._version()), "application/json"
        self._documents.use(self._backend.resources())
        if path.startswith("/openapi/"):
            return self._openapi(request, path)
        parts = path.strip("/").split("/")
        if parts in (["api"], ["apis"]):
            return self._root(request, parts == ["api"])
        body = None
        if parts[0] == "api" and len(parts) == 2:
            body = self._documents.version("", parts[1])
        elif parts[0] == "apis" and len(parts) == 2 and parts[1]:
            body = self._documents.group(parts[1])
        elif parts[0] == "apis" and len(parts) == 3:
            body = self._documents.version(parts[1], parts[2])
        elif path == "/":
            body = msgspec.json.encode({"paths": self._paths()})
        return (body, "application/json") if body is not None else None

    def _root(self, request: web.Request, core: bool) -> tuple[bytes, str]:
        version = discovery_version(request.headers.get("Accept", ""))
        body = self._documents.root(core, version, request.host)
        if not version:
            return body, "application/json"
        kind = f"g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        return body, f"application/json;{kind}"

    def _openapi(self, request: web.Request, path: str) -> tuple[bytes, str] | None:
        accept = request.headers.get("Accept", "") or "*/*"
        types = {clause.media_type for clause in parse_accept(accept)}
        if not types & {"application/json", "*/*", "application/*"}:
            if path == "/openapi/v2" and types & OLD_KUBECTL:
                return b"", OPENAPI_PROTOBUF
            raise not_acceptable(["application/json"])
        if path == "/openapi/v2":
            return self._documents.v2(), "application/json"
        if path == "/openapi/v3":
            return self._documents.v3_index(), "application/json"
        document = path.removeprefix("/openapi/v3/")
        body = self._documents.v3().get(document)
        if body is None:
            return None
        self._check_hash(request, path, self._documents.digest(document))
        return body, "application/json"

    def _check_hash(self, request: web.Request, path: str, digest: str) -> None:
        """A client with another hash is sent to the present document."""
        if request.query.get("hash", digest) != digest:
            raise web.HTTPMovedPermanently(f"{path}?hash={digest}")

    def _paths(self) -> list[str]:
        prefixes = sorted(f"/{prefix}" for prefix in self._documents.v3())
        return [
            "/api",
            "/apis",
            *prefixes,
            "/healthz",
            "/livez",
            "/openapi/v2",
            "/openapi/v3",
            "/readyz",
            "/version",
        ]

    def _version(self) -> dict[str, Any]:
        version = self._settings.git_version
        major, minor = version.lstrip("v").split(".")[:2]
        return {
            "major": major,
            "minor": minor,
            "gitVersion": version,
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "none",
            "compiler": platform.python_implementation(),
            "platform": f"{platform.system().lower()}/{platform.machine()}",
        }

    async def _cached(
        self, request: web.Request, body: bytes, content_type: str
    ) -> web.StreamResponse:
        """With an ETag: clients that still have the document get 304."""
        etag = f'"{self._documents.etag(body)}"'
        headers = headers_for(content_type, {"ETag": etag, "Vary": "Accept"})
        if "hash" in request.query:
            headers["Cache-Control"] = "public, immutable"  # the address is of this content only
        if etag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        return await send(request, pretty(request, body), self._settings, headers=headers)

    def _probe(self, request: web.Request, path: str) -> web.Response:
        """`ok`, or 500 and what is wrong; `?verbose` and single checks as upstream has them."""
        name, _, one = path.strip("/").partition("/")
        checks = {"ping": ""} | (dict(self._backend.health()) if name == "readyz" else {})
        if one:
            if one not in checks:
                return _text("404 page not found\n", 404)
            return _text(
                "ok" if not checks[one] else f"internal server error: {checks[one]}\n",
                500 if checks[one] else 200,
            )
        failed = any(checks.values())
        if not failed and "verbose" not in request.query:
            return _text("ok")
        lines = [f"[-]{k} failed: {v}" if v else f"[+]{k} ok" for k, v in checks.items()]
        lines.append(f"{name} check {'failed' if failed else 'passed'}")
        return _text("\n".join(lines) + "\n", 500 if failed else 200)


def pretty_json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2)


def _text(text: str, status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-cache, private", "X-Content-Type-Options": "nosniff"}
    return web.Response(text=text, status=status, headers=headers)
