"""get and list from a watch cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from actors.kube.continue_token import LATEST, decode_token, encode_token
from actors.kube.filters import Filter, make_filter
from actors.kube.resource import key_of
from actors.kube.selectors import SelectorError, parse_fields, parse_labels
from actors.kube.serve.api import RequestInfo, ServeSettings, Source
from actors.kube.serve.bodies import Breather, headers_for, send, send_pieces
from actors.kube.serve.negotiate import negotiate
from actors.kube.serve.options import (
    ListOptions,
    Match,
    check_continue,
    parse_options,
    parse_version,
)
from actors.kube.serve.views import Presenter
from actors.kube.status_errors import (
    ApiError,
    bad_request,
    expired,
    not_found,
    version_too_large,
)
from actors.kube.watchcache import Entry, Snapshot, TooOld, WatchCache

TOO_OLD_TO_CONTINUE = (
    "The provided continue parameter is too old to display a consistent list result. You can start"
    " a new list without the continue parameter, or use the continue token in this response to"
    " retrieve the remainder of the results. Continuing with the provided token results in an"
    " inconsistent list - objects that were created, modified, or deleted between the time the"
    " first chunk was returned and now may show up in the list."
)


PRETTY_UP_TO = 1024 * 1024  # bytes; beyond it nobody reads, and the loop would be held


class Page(NamedTuple):
    """What a list answers with."""

    version: int
    entries: Sequence[Entry]
    after: str = ""  # the key to go on behind; "": this is the end
    remaining: int | None = None


class Reader:
    """Answers get and list requests from any source."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings

    # -- shared with watches ----------------------------------------------------------------------

    def filter_of(self, info: RequestInfo, cache: WatchCache, options: ListOptions) -> Filter:
        """Raises ApiError 400."""
        try:
            return make_filter(
                cache.resource,
                cache.reader,
                info.namespace,
                info.name,
                parse_labels(options.labels),
                parse_fields(options.fields),
            )
        except SelectorError as error:
            raise bad_request(str(error)) from None

    def presenter_of(self, info: RequestInfo, is_list: bool) -> Presenter:
        assert info.resource is not None
        include = info.query.get("includeObject", "") or "Metadata"
        wanted = negotiate(info.headers.get("Accept", ""), is_list)
        return Presenter(info.resource, wanted, include)

    async def wait(self, source: Source, version: int | None) -> None:
        """For what the client may demand. Raises ApiError 504."""
        if version is None:
            await source.wait_version(None, self._settings.fresh_wait)
            return
        is_there = version <= source.cache.version
        if not is_there and not await source.wait_version(version, self._settings.wait_version):
            raise version_too_large(version, source.cache.version)

    def headers_of(self, source: Source, content_type: str) -> dict[str, str]:
        warning = source.warning()
        return headers_for(content_type, {"Warning": warn(warning)} if warning else None)

    # -- get --------------------------------------------------------------------------------------

    async def get(
        self, request: web.Request, info: RequestInfo, source: Source
    ) -> web.StreamResponse:
        presenter = self.presenter_of(info, is_list=False)
        await self.wait(source, parse_version(info.query.get("resourceVersion", "")))
        entry = source.cache.get(key_of(info.namespace, info.name))
        if entry is None:
            raise not_found(info.group, info.plural, info.name)
        headers = self.headers_of(source, presenter.wanted.content_type)
        body = pretty(request, presenter.body(entry.raw))
        return await send(request, body, self._settings, headers=headers)

    # -- list -------------------------------------------------------------------------------------

    async def list_(
        self, request: web.Request, info: RequestInfo, source: Source
    ) -> web.StreamResponse:
        presenter = self.presenter_of(info, is_list=True)
        options = parse_options(info.query, is_watch=False)
        check_continue(options)
        filter_ = self.filter_of(info, source.cache, options)
        page = await self._page(source, filter_, options)
        pieces = await self._pieces(presenter, page, filter_)
        headers = self.headers_of(source, presenter.wanted.content_type)
        if wants_pretty(request) and sum(map(len, pieces)) < PRETTY_UP_TO:
            body = pretty(request, b"".join(pieces))
            return await send(request, body, self._settings, headers=headers)
        return await send_pieces(request, pieces, self._settings, headers=headers)

    async def _page(self, source: Source, filter_: Filter, options: ListOptions) -> Page:
        cache = source.cache
        if options.continue_:
            snapshot, after = self._continued(cache, filter_, options)
        else:
            after = ""
            await self.wait(source, options.version)
            snapshot = _snapshot(cache, _exact_version(options))
        limit = 0 if options.version == 0 else max(options.limit, 0)  # as upstream's cache does
        return await _cut(cache, snapshot, filter_, after, limit)

    def _continued(
        self, cache: WatchCache, filter_: Filter, options: ListOptions
    ) -> tuple[Snapshot, str]:
        namespace = filter_.namespace
        try:
            version, after = decode_token(options.continue_, namespace)
        except ValueError as error:
            raise bad_request(str(error)) from None
        try:
            return cache.snapshot(None if version == LATEST else version), after
        except TooOld:
            raise _cannot_continue(encode_token(LATEST, after, namespace)) from None

    async def _pieces(self, presenter: Presenter, page: Page, filter_: Filter) -> list[bytes]:
        metadata: dict[str, Any] = {"resourceVersion": str(page.version)}
        if page.after:
            metadata["continue"] = encode_token(page.version, page.after, filter_.namespace)
            if page.remaining is not None:
                metadata["remainingItemCount"] = page.remaining
        head, separator, tail = presenter.frame(metadata)
        if presenter.wanted.yaml and not page.entries:
            return [head.replace(b"items:\n", b"items: []\n")]
        items = await _rendered(presenter, page.entries)
        return _joined(head, separator, items, tail)


def _exact_version(options: ListOptions) -> int | None:
    """The version to read at, None for the newest: `Exact`, and what a limit implies upstream."""
    if options.match is Match.EXACT:
        return options.version
    if options.limit > 0 and options.version and options.match is Match.UNSET:
        return options.version
    return None


def _snapshot(cache: WatchCache, version: int | None) -> Snapshot:
    try:
        return cache.snapshot(version)
    except TooOld as error:
        raise expired(f"The resourceVersion for the provided list is too old: {error}") from None


def _cannot_continue(token: str) -> ApiError:
    return ApiError(410, "Expired", TOO_OLD_TO_CONTINUE, metadata={"continue": token})


async def _cut(
    cache: WatchCache, snapshot: Snapshot, filter_: Filter, after: str, limit: int
) -> Page:
    """The matching entries, at most `limit` of them if that is given."""
    low, high = snapshot.within(filter_.namespace, after)
    exact = filter_.exact_key(cache.resource.namespaced)
    if exact is not None:
        low, high = snapshot.at(exact, low, high)
    if not limit and filter_ == Filter(filter_.namespace):
        return Page(snapshot.version, snapshot.entries[low:high])
    breather = Breather()
    found: list[Entry] = []
    for index in range(low, high):
        entry = snapshot.entries[index]
        if filter_.matches(entry, cache.reader):
            if limit and len(found) == limit:
                is_plain = filter_ == Filter(filter_.namespace)
                return Page(
                    snapshot.version, found, found[-1].key, high - index if is_plain else None
                )
            found.append(entry)
        if index % 64 == 0 and breather.is_due:
            await breather.pause()
    return Page(snapshot.version, found)


async def _rendered(presenter: Presenter, entries: Sequence[Entry]) -> list[bytes]:
    render = presenter.item()
    breather = Breather()
    items: list[bytes] = []
    for entry in entries:
        items.append(render(entry.raw))
        if breather.is_due:
            await breather.pause()
    return items


def _joined(head: bytes, separator: bytes, items: Sequence[bytes], tail: bytes) -> list[bytes]:
    """References only: nothing is copied before it is sent."""
    pieces = [head]
    for item in items:
        pieces.append(item)
        pieces.append(separator)
    if items:
        pieces.pop()
    pieces.append(tail)
    return pieces


def warn(text: str) -> str:
    """A Warning header's value (RFC 7234 5.5), as kubectl shows it."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{quoted}"'


def wants_pretty(request: web.Request) -> bool:
    """Where asked for, or when a browser or curl asks."""
    asked = request.query.get("pretty")
    if asked is not None:
        return asked.lower() in ("1", "true")
    return request.headers.get("User-Agent", "").startswith(("curl", "Wget", "Mozilla/5.0"))


def pretty(request: web.Request, body: bytes) -> bytes:
    """JSON indented for people, anything else as it is."""
    is_json = body[:1] == b"{"
    return msgspec.json.format(body, indent=2) if is_json and wants_pretty(request) else body
