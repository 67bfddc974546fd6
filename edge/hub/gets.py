"""Single objects for the components whose reads are kept: the API server's word, else ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from actors.kube.resource import Resource
from actors.kube.serve.api import ServeSettings
from actors.kube.serve.app import API
from actors.kube.serve.bodies import headers_for, send
from actors.kube.serve.negotiate import View, negotiate
from actors.kube.serve.reads import warn
from actors.kube.serve.views import Presenter
from actors.kube.status_errors import not_found, service_unavailable
from bus.feed import Item
from edge.hub.documents import respond
from edge.hub.resume import version_of
from edge.hub.uplink import Unreachable, Uplink, Whole
from edge.mirror.brief import BRIEF, is_marked, whole_of

if TYPE_CHECKING:
    from aiohttp import web

    from edge.hub.asked import Asked
    from edge.hub.backend import MayRead
    from edge.hub.local import LocalObjects
    from edge.hub.views import Views


JSON = ("Accept", "application/json")


class Gets:
    def __init__(
        self,
        uplink: Uplink,
        local: LocalObjects,
        settings: ServeSettings,
        views: Views,
        may_read: MayRead,
    ) -> None:
        self._uplink = uplink
        self._local = local
        self._settings = settings
        self._views = views
        self._may_read = may_read

    async def __call__(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        """Raises ApiError."""
        wanted = negotiate(request.headers.get("Accept", ""))
        if asked.info.subresource or wanted.view is not View.OBJECT or wanted.yaml:
            return await self._uplink(request, asked.info)
        source = self._local.followed(asked)
        if source is not None and asked.info.query.get("resourceVersion") == "0":
            # "Whatever is there": nothing need cross the WAN (OpenYurt #2039).
            await self._may_read(asked.info)
            view = self._views.shown(asked.component, asked.resource, "get", source)
            return await request.app[API].read(request, asked.info, view)
        if self._local.is_written(asked):  # and on its way: the API server's answer may be older
            return await self._instead(request, asked, None)
        try:
            whole = await self._asked_for(request, asked)
        except Unreachable as error:
            return await self._instead(request, asked, error)
        self._remember(asked, whole)
        return await respond(request, self._filtered(asked, whole), self._settings)

    async def _asked_for(self, request: web.Request, asked: Asked) -> Whole:
        """Whether it is so still is the API server's word; the object crosses the WAN once, to the
        mirror. Raises as `Uplink.whole`.
        """
        mirror = self._local.holding(asked)
        if mirror is not None and mirror.is_live:
            whole = await self._uplink.whole(request, b"", JSON, BRIEF)
            if not is_marked(whole.headers):
                return whole
            if (raw := await whole_of(whole.body, mirror)) is not None:
                headers = tuple(pair for pair in whole.headers if not is_marked([pair]))
                return whole._replace(headers=headers, body=raw)
        return await self._uplink.whole(request, b"", JSON)

    async def _instead(
        self, request: web.Request, asked: Asked, error: Unreachable | None
    ) -> web.StreamResponse:
        await self._may_read(asked.info)
        known = await self._local.find(asked)
        if known is None:
            raise error or service_unavailable(
                f"{asked.resource.name} {asked.key} is being written"
            )
        shown = self._shown_one(asked, known.raw) if known.raw is not None else None
        if shown is None:
            raise not_found(asked.resource.group, asked.resource.plural, asked.info.name)
        wanted = negotiate(request.headers.get("Accept", ""))
        extra = {"Warning": warn(known.warning)} if known.warning else None
        headers = headers_for(wanted.content_type, extra)
        body = Presenter(asked.resource, wanted).body(shown)
        return await send(request, body, self._settings, headers=headers)

    def _shown_one(self, asked: Asked, raw: bytes) -> bytes | None:
        return self._views.shown_one(asked.component, asked.resource, asked.key, raw)

    def _remember(self, asked: Asked, whole: Whole) -> None:
        if whole.status == 404:
            self._local.remember(asked, None)
        elif whole.status == 200 and (item := item_of(asked.resource, whole.body)) is not None:
            self._local.remember(asked, item)

    def _filtered(self, asked: Asked, whole: Whole) -> Whole:
        """Raises ApiError 404 for what this component is not shown."""
        if whole.status != 200:
            return whole
        shown = self._shown_one(asked, whole.body)
        if shown is None:
            raise not_found(asked.resource.group, asked.resource.plural, asked.info.name)
        return whole._replace(body=shown)


class _Head(msgspec.Struct):
    kind: str = ""


def item_of(resource: Resource, body: bytes) -> Item | None:
    """None where it is no object of this resource, or has no version."""
    try:
        kind = msgspec.json.decode(body, type=_Head).kind
    except msgspec.DecodeError:
        return None
    version = version_of(body)
    return Item(version, body) if version and kind == resource.kind else None
