"""Writes: through ApiGate while the API server can be asked, else here, to be replayed."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from actors.kube.brief import BRIEF, is_marked
from actors.kube.serve.api import ServeSettings
from actors.kube.serve.app import API
from actors.kube.serve.negotiate import View, negotiate
from edge.hub.documents import respond
from edge.hub.gets import JSON, item_of
from edge.hub.gone import gone_of
from edge.hub.resume import version_of
from edge.hub.uplink import SEEN_SECONDS, Unreachable, Uplink, Whole
from edge.mirror.brief import whole_of
from edge.mirror.scope import TOKEN

if TYPE_CHECKING:
    from aiohttp import web

    from edge.hub.asked import Asked
    from edge.hub.later import Later
    from edge.hub.local import LocalObjects

_DELETES = frozenset({"delete", "deletecollection"})
_ONE_OBJECT = frozenset({"create", "update", "patch"})


class Writes:
    """An object with writes that wait for replay gets the later ones in the same queue: in order.

    Only components whose reads are kept may write while nobody can be asked, and what is not safe
    to do later is refused (see `edge.offline`).
    """

    def __init__(
        self,
        uplink: Uplink,
        local: LocalObjects,
        later: Later,
        settings: ServeSettings,
    ) -> None:
        self._uplink = uplink
        self._local = local
        self._later = later
        self._settings = settings

    async def __call__(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        """Raises ApiError."""
        if not asked.is_kept or asked.identity.startswith(TOKEN):
            return await self._uplink(request, asked.info)
        if self._later.has_pending(asked):
            return await self._here(request, asked)
        if is_token(asked):
            return await self._or_here(request, asked, self._token(request, asked))
        if asked.info.verb in _DELETES:
            return await self._or_here(request, asked, self._deleted(request, asked))
        if asked.info.verb not in _ONE_OBJECT or not asked.is_whole:
            return await self._or_here(request, asked, self._uplink(request, asked.info))
        return await self._or_here(request, asked, self._through(request, asked))

    async def _or_here(
        self, request: web.Request, asked: Asked, sent: Awaitable[web.StreamResponse]
    ) -> web.StreamResponse:
        """What may have been done already is queued all the same: replay finds it done."""
        try:
            return await sent
        except Unreachable:
            pass
        return await self._here(request, asked)

    async def _here(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        writer = await self._later.writer(asked, self._local)
        return await request.app[API].write(request, asked.info, writer)

    async def _token(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        """A service account's: the last unexpired one is there when nobody can be asked."""
        body = await request.read()
        whole = await self._uplink.whole(request, body, JSON)
        if whole.status == 201:
            await self._later.remember_token(asked, body, request.content_type, whole.body)
        return await respond(request, whole, self._settings)

    async def _through(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        body = await request.read()
        wanted = negotiate(request.headers.get("Accept", ""))
        is_plain = wanted.view is View.OBJECT and not wanted.yaml
        mirror = self._local.holding(asked) if is_plain and asked.info.name else None
        is_brief = mirror is not None and mirror.is_live and "dryRun" not in asked.info.query
        more = ([JSON] if is_plain else []) + ([BRIEF] if is_brief else [])
        whole = await self._uplink.whole(request, body, *more)
        if whole.status < 300 and "dryRun" not in asked.info.query:
            told = whole.body
            whole = await self._settled(request, asked, whole)
            is_brief = is_marked(whole.headers) and whole.body == told
            if asked.info.name and not is_brief and item_of(asked.resource, whole.body) is not None:
                self._later.answered(asked, whole.body)
        return await respond(request, whole, self._settings)

    async def _deleted(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        whole = await self._uplink.whole(request, await request.read())
        if whole.status < 300 and (gone := gone_of(asked.info, whole.body)):
            await self._local.until_gone(asked, gone, SEEN_SECONDS)
        elif whole.status < 300 and "dryRun" not in asked.info.query:
            whole = await self._settled(request, asked, whole)  # it is there until it has ended
        return await respond(request, whole, self._settings)

    async def _settled(self, request: web.Request, asked: Asked, whole: Whole) -> Whole:
        """Once our own caches have what it made: clients read what they wrote.

        Only for a while: the write is done, whatever the links do.
        """
        if is_marked(whole.headers):
            return await self._filled_up(request, asked, whole)
        source = self._local.followed(asked) or self._local.holding(asked)
        if source is not None:
            has_come = await source.wait_version(version_of(whole.body), SEEN_SECONDS)
            if not has_come and asked.info.name:
                self._local.show(asked, whole.body)
        elif asked.info.name and (item := item_of(asked.resource, whole.body)) is not None:
            self._local.remember(asked, item)
        return whole

    async def _filled_up(self, request: web.Request, asked: Asked, whole: Whole) -> Whole:
        """A short answer with the object that our mirror has got meanwhile."""
        mirror = self._local.holding(asked)
        raw = await whole_of(whole.body, mirror) if mirror is not None else None
        if raw is None:
            found = await self._uplink.read(request)
            raw = found.body if found.status == 200 else whole.body
        return Whole(whole.status, whole.headers, raw)


def is_token(asked: Asked) -> bool:
    info = asked.info
    return (info.plural, info.subresource, info.verb) == ("serviceaccounts", "token", "create")
