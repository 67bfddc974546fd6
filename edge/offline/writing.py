"""What one write asks for, and what becomes of it. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from msgspec import structs

from actors.kube.resource import Resource
from actors.kube.serve.api import RequestInfo, WriteResult
from actors.kube.status_errors import already_exists, not_found, success, too_large
from edge.offline import local
from edge.offline.bodies import APPLY, decode_object, delete_options
from edge.offline.book import Book, Place
from edge.offline.chain import Chain, Edit, changed, created, deleted
from edge.offline.entry import EVENTS, Entry, Kind, encoded, meta_of
from edge.offline.merge import Object
from edge.offline.policy import REVIEWS, Ask, check, refusal
from edge.offline.settings import OfflineSettings

_CREATED, _OK = 201, 200
_EMPTY = Chain((), None)


@dataclass(frozen=True)
class Wanted:
    """A request to write."""

    info: RequestInfo
    resource: Resource
    body: bytes
    content_type: str
    identity: str
    component: str

    @property
    def is_token(self) -> bool:
        info = self.info
        return (info.verb, self.resource.plural, info.subresource) == (
            "create", "serviceaccounts", "token"
        )  # fmt: skip

    @property
    def token_request(self) -> Resource:
        return Resource(
            group="authentication.k8s.io", version="v1", plural="serviceaccounts",
            kind="TokenRequest", namespaced=True,
        )  # fmt: skip

    @property
    def is_dry(self) -> bool:
        return bool(self.info.query.get("dryRun"))


class Prepared(NamedTuple):
    """What can be told without the object that is held."""

    name: str
    object: Object  # to be created
    options: Object  # of a delete


class Decided(NamedTuple):
    answer: WriteResult
    edit: Edit | None  # None: nothing is to be kept
    view: Object | None = None


class Writing:
    def __init__(self, book: Book, settings: OfflineSettings, clock: Callable[[], float]) -> None:
        self._book = book
        self._settings = settings
        self._clock = clock

    def chain(self, place: Place) -> Chain:
        return self._book.chains.get(place, _EMPTY)

    def prepare(self, wanted: Wanted) -> Prepared:
        """Raises ApiError."""
        info, resource, retry = wanted.info, wanted.resource, self._settings.retry_after
        if len(wanted.body) > self._settings.max_body:
            raise too_large(self._settings.max_body)
        self._check_known(wanted)
        if info.verb == "create":
            obj = decode_object(wanted.body, wanted.content_type, resource, retry)
            check(self._ask(wanted, obj), retry)
            made = local.created(resource, obj, info.namespace, self._clock())
            return Prepared(str(meta_of(made)["name"]), made, {})
        if info.verb == "delete":
            options = delete_options(wanted.body, wanted.content_type, info, retry)
            return Prepared(info.name, {}, options)
        return Prepared(info.name, {}, {})

    def _check_known(self, wanted: Wanted) -> None:
        """Raises ApiError 503 for what nobody but the API server can do."""
        ask, retry = self._ask(wanted, {}), self._settings.retry_after
        if wanted.resource.group in REVIEWS:
            raise refusal(ask, "only the API server knows", retry)
        if wanted.content_type == APPLY:
            raise refusal(ask, "an apply needs to know whose which fields are", retry)
        if ask.subresource not in ("", "status") or wanted.info.verb == "deletecollection":
            check(ask, retry)

    def _ask(self, wanted: Wanted, obj: Object) -> Ask:
        info = wanted.info
        name = info.name or str(meta_of(obj).get("name", ""))
        return Ask(
            info.verb, wanted.resource, info.subresource, name, wanted.component,
            self._settings.node, obj,
        )  # fmt: skip

    def decide(self, wanted: Wanted, made: Prepared, held: Object | None) -> Decided:
        """Raises ApiError."""
        if wanted.info.verb == "create":
            decided = self._create(wanted, made, held)
        elif wanted.info.verb == "delete":
            decided = self._delete(wanted, made, held)
        else:
            decided = self._edit(wanted, held)
        is_dry = wanted.is_dry or bool(made.options.get("dryRun"))
        return decided._replace(edit=None) if is_dry else decided

    def _create(self, wanted: Wanted, made: Prepared, held: Object | None) -> Decided:
        resource = wanted.resource
        if held is not None:
            raise already_exists(resource.group, resource.plural, made.name)
        entry = self._entry(wanted, made.name, Kind.CREATE, None, made.object)
        answer = WriteResult(_CREATED, encoded(made.object))
        return Decided(answer, created(self._chain_of(entry), entry), made.object)

    def _edit(self, wanted: Wanted, held: Object | None) -> Decided:
        info, resource, retry = wanted.info, wanted.resource, self._settings.retry_after
        ask = self._ask(wanted, held or {})
        if held is None:
            check(ask, retry)
            raise not_found(resource.group, resource.plural, info.name)
        if info.verb == "patch":
            obj = local.patched(resource, held, wanted.body, wanted.content_type)
        else:
            obj = decode_object(wanted.body, wanted.content_type, resource, retry)
        new = local.edited(resource, info.subresource, held, obj)
        check(replace(ask, changed=local.changed_members(held, new)), retry)
        answer = WriteResult(_OK, encoded(new))
        if new == held:
            return Decided(answer, None)
        entry = self._entry(wanted, info.name, Kind.CHANGE, held, new)
        return Decided(answer, changed(self._chain_of(entry), entry, self._book.busy), new)

    def _delete(self, wanted: Wanted, made: Prepared, held: Object | None) -> Decided:
        info, resource = wanted.info, wanted.resource
        what = (resource.group, resource.plural)
        if held is None and (what in EVENTS or what == ("", "pods")):
            raise not_found(resource.group, resource.plural, info.name)
        ask = replace(self._ask(wanted, held or {}), options=made.options)
        check(ask, self._settings.retry_after)
        assert held is not None
        left = local.deleted(resource, held, made.options, self._clock())
        entry = self._entry(wanted, info.name, Kind.DELETE, held, left)
        entry = structs.replace(entry, options=made.options)
        body = encoded(left or held) if what == ("", "pods") else encoded(success())
        edit = deleted(self._chain_of(entry), entry, self._book.busy)
        return Decided(WriteResult(_OK, body), edit, left)

    def _chain_of(self, entry: Entry) -> Chain:
        return self.chain(entry.place)

    def _entry(
        self, wanted: Wanted, name: str, kind: Kind, base: Object | None, new: Object | None
    ) -> Entry:
        return Entry(
            id=self._book.number(),
            resource=wanted.resource,
            namespace=wanted.info.namespace,
            name=name,
            kind=kind,
            base=encoded(base) if base is not None else None,
            current=encoded(new) if new is not None else None,
            identity=wanted.identity,
            component=wanted.component,
            at=self._clock(),
            is_main=not wanted.info.subresource,
        )
