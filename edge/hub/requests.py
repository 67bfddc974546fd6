"""What the hub is asked besides its feeds: mirrored, kept, written, or passed to the API server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from actors.kube import builtin, table
from actors.kube.serve.api import READ_VERBS
from actors.kube.serve.app import API
from actors.kube.serve.backend import not_filled
from actors.kube.serve.negotiate import View, negotiate
from actors.kube.serve.passing import check_unclaimed
from edge.hub.asked import Asked, Policy, asked_of
from edge.hub.documents import Documents
from edge.hub.gets import Gets
from edge.hub.kinds import Kinds
from edge.hub.uplink import Uplink
from edge.hub.writes import Writes
from edge.mirror import Mirrors, Scope, scope_of

if TYPE_CHECKING:
    from aiohttp import web

    from actors.kube.serve.api import RequestInfo
    from edge.hub.backend import MayRead
    from edge.hub.views import Views

FILL_SECONDS = 15.0  # for a first list; clients give up after 30 s or more
CUT_OFF_SECONDS = 1.0  # to read it from disk
_OF_MIRROR = frozenset({"authorization", "user-agent"})


class NodeRequests:
    """Implements `actors.kube.serve.api.Passthrough`."""

    def __init__(
        self,
        node: str,
        policy: Callable[[], Policy],
        kinds: Kinds,
        mirrors: Mirrors,
        documents: Documents,
        gets: Gets,
        writes: Writes,
        uplink: Uplink,
        views: Views,
        may_read: MayRead,
    ) -> None:
        self._node = node
        self._policy = policy
        self._kinds = kinds
        self._mirrors = mirrors
        self._documents = documents
        self._gets = gets
        self._writes = writes
        self._uplink = uplink
        self._views = views
        self._may_read = may_read

    async def __call__(self, request: web.Request, info: RequestInfo) -> web.StreamResponse:
        """Raises ApiError."""
        check_unclaimed(request.headers)
        if info.path == "/pods":
            return await self._pods(request, info)
        if not info.is_resource:
            return await self._documents(request, info, request.app[API].own)
        resource = info.resource or await self._kinds.find(info.group, info.version, info.plural)
        if resource is None or request.headers.get("Upgrade"):
            return await self._uplink(request, info)
        asked = asked_of(request, info, resource, self._policy())
        if info.verb not in READ_VERBS:
            return await self._writes(request, asked)
        if not asked.is_kept:
            return await self._uplink(request, info)
        if info.verb == "get":
            return await self._gets(request, asked)
        return await self._from_mirror(request, asked)

    async def _pods(self, request: web.Request, info: RequestInfo) -> web.StreamResponse:
        """The node's pods as its kubelet knows them, link or none; as YurtHub's GET /pods.

        For who may list all pods: they say more than most pods may know.
        """
        asked = replace(
            info, verb="list", version="v1", plural="pods", resource=builtin.PODS, is_resource=True
        )
        await self._may_read(asked)
        fields = f"spec.nodeName={self._node}"
        mirror = self._mirrors.covering(Scope.of("", builtin.PODS, fields=fields))
        if mirror is None:
            raise not_filled(builtin.PODS)
        return await request.app[API].read(request, asked, mirror)

    async def _from_mirror(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        scope = scope_of(asked.info, asked.identity, asked.resource)
        if scope is None or (self._uplink.is_up and _is_foreign_table(request, asked)):
            return await self._uplink(request, asked.info)
        await self._may_read(asked.info)  # a mirror may be there from before a right was lost
        mirror = self._mirrors.get(scope, _headers(request))
        if mirror is None:
            return await self._uplink(request, asked.info)
        with mirror.hold():
            await mirror.filled(FILL_SECONDS if self._uplink.is_up else CUT_OFF_SECONDS)
            self._views.follow_part(asked.resource, mirror.cache)
            source = self._views.shown(asked.component, asked.resource, asked.info.verb, mirror)
            return await request.app[API].read(request, asked.info, source)


def _is_foreign_table(request: web.Request, asked: Asked) -> bool:
    """The columns of a custom resource are in its definition, which no discovery tells."""
    wanted = negotiate(request.headers.get("Accept", ""), is_list=True)
    return wanted.view is View.TABLE and not table.is_known(asked.resource)


def _headers(request: web.Request) -> list[tuple[str, str]]:
    return [pair for pair in request.headers.items() if pair[0].lower() in _OF_MIRROR]
