"""Filters at work: what each component sees of a cache, kept in step with all that decides it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.kube import builtin
from actors.kube.derived import DerivedCache
from actors.kube.resource import Resource
from actors.kube.serve.api import Source
from actors.kube.serve.backend import not_filled
from actors.kube.watchcache import WatchCache
from edge.filters import Chain, Change, Filters, Following, KnownInputs, affected
from edge.filters.following import All, One
from edge.filters.inputs import Held
from edge.filters.steps import Depends

if TYPE_CHECKING:
    from loguru import Logger

    from configs.schema import HubFilters

Serves = Callable[[Resource], bool]
"""Whether the hub has a feed of it, filled or not."""


def as_it_is(_key: str, raw: bytes) -> bytes:
    return raw


class ShownSource:
    """A source through a view."""

    def __init__(self, source: Source, cache: WatchCache) -> None:
        self.cache = cache
        self._source = source

    async def wait_version(self, version: int | None, timeout: float) -> bool:
        return await self._source.wait_version(version, timeout)

    def warning(self) -> str | None:
        return self._source.warning()


@dataclass
class _View:
    """One component's, of one cache. `verb` is of the requests that it answers."""

    component: str
    verb: str
    source: WatchCache
    derived: DerivedCache
    chain: Chain | None


class Views:
    """Made when a component first reads what is filtered for it; they stay until the cache closes.

    A view that once was goes on without its filter when that is switched off. A component that has
    watched unfiltered until now is sent away by `configure` (a clean end), and comes again from the
    version it has: so it is told the differences, and lists nothing.
    """

    def __init__(
        self, settings: HubFilters, inputs: KnownInputs, serves: Serves, log: Logger
    ) -> None:
        self.inputs = inputs
        self._filters = Filters(settings, inputs, log)
        self._serves = serves
        self._log = log
        self._views: dict[tuple[int, str, str], _View] = {}
        self._following: dict[int, tuple[WatchCache, Following]] = {}
        self._late: set[tuple[str, str]] = set()  # (component, resource) whose view came later

    # -- reading ----------------------------------------------------------------------------------

    def shown(self, component: str, resource: Resource, verb: str, source: Source) -> Source:
        """What this component may see of it. Raises ApiError 503 while that cannot be told."""
        verb = self._verb(component, resource, verb)
        view = self._views.get((id(source.cache), component, verb))
        if view is not None and not view.source.is_closed:
            return ShownSource(source, view.derived.cache)
        chain = self._filters.chain_for(component, resource, verb)
        if chain is None:
            return source
        self._check_ready(chain)
        view = self._make(component, resource, verb, source.cache, chain)
        return ShownSource(source, view.derived.cache)

    def shown_one(self, component: str, resource: Resource, key: str, raw: bytes) -> bytes | None:
        """A single object, which no cache need have. Raises ApiError 503."""
        chain = self._filters.chain_for(component, resource, "get")
        if chain is None:
            return raw
        self._check_ready(chain)
        return chain(key, raw)

    def _verb(self, component: str, resource: Resource, verb: str) -> str:
        """Lists and watches are one view, unless a rule tells them apart."""
        if verb != "list":
            return verb
        chains = (self._filters.chain_for(component, resource, v) for v in ("list", "watch"))
        listed, watched = chains
        return "watch" if listed == watched else "list"

    def _check_ready(self, chain: Chain) -> None:
        """Endpoints that are hidden a moment later must not be shown. Where there are no Services
        to come nobody waits (OpenYurt's lists hung without its NodePools)."""
        is_short = not self.inputs.ready(chain.depends)
        if is_short and Depends.SERVICES in chain.depends and self._serves(builtin.SERVICES):
            raise not_filled(builtin.SERVICES)

    def _make(
        self, component: str, resource: Resource, verb: str, cache: WatchCache, chain: Chain
    ) -> _View:
        self._forget_closed()
        is_late = (component, resource.name) in self._late
        derived = DerivedCache(cache, as_it_is if is_late else chain)
        if is_late:  # whoever resumes has seen it unfiltered, and is told the difference
            derived.retransform(chain)
        view = _View(component, verb, cache, derived, chain)
        self._views[(id(cache), component, verb)] = view
        self._log.debug("{} sees {} through {} filters", component, resource.name, len(chain.steps))
        return view

    def _forget_closed(self) -> None:
        for key in [key for key, view in self._views.items() if view.source.is_closed]:
            del self._views[key]

    # -- what decides -----------------------------------------------------------------------------

    def follow(self, resource: Resource, cache: WatchCache) -> None:
        """A feed of Services or nodes decides what is shown of others."""
        if resource.name == builtin.SERVICES.name:
            self._follow(cache, self.inputs.service, self.inputs.services)
        elif resource.name == builtin.NODES.name:
            self._follow(cache, self.inputs.node_is, self.inputs.nodes)

    def follow_part(self, resource: Resource, cache: WatchCache) -> None:
        """The same of a mirror, which has only some of the nodes (its own, say). Idempotent."""
        is_followed = id(cache) in self._following and self._following[id(cache)][0] is cache
        if resource.name == builtin.NODES.name and not is_followed:
            self._follow(cache, self.inputs.node_is, self._some_nodes)

    def _some_nodes(self, held: Iterable[Held]) -> None:
        for each in held:
            change = self.inputs.node_is(each.key, each.raw)
            if change is not None:
                self.tell(change)

    def _follow(self, cache: WatchCache, one: One, all_: All) -> None:
        open_ones = self._following.items()
        self._following = {key: held for key, held in open_ones if not held[0].is_closed}
        self._following[id(cache)] = (cache, Following(cache, one, all_, self.tell))

    def tell(self, change: Change) -> None:
        """An input has changed: those views that depend on it show it."""
        for view in self._views.values():
            if view.chain is None or view.source.is_closed:
                continue
            resource = view.source.resource
            keys = affected(change, view.chain.depends, resource, view.source.entries())
            if keys is None or keys:
                view.derived.retransform(view.chain, keys)

    async def configure(self, settings: HubFilters) -> None:
        """Other filters: all views show what they say when it returns."""
        self._filters = Filters(settings, self.inputs, self._log, self._filters.troubles)
        for view in list(self._views.values()):
            chain = self._filters.chain_for(view.component, view.source.resource, view.verb)
            if chain != view.chain and not view.source.is_closed:
                view.chain = chain
                await view.derived.retransform_gently(chain if chain is not None else as_it_is)

    def is_outsider(self, component: str, resource: Resource) -> bool:
        """Whether it may watch unfiltered what is filtered for it now: it is to be sent away."""
        viewed = any(
            view.component == component and view.source.resource.name == resource.name
            for view in self._views.values()
        )
        if viewed or self._filters.chain_for(component, resource, "watch") is None:
            return False
        self._late.add((component, resource.name))
        return True

    @property
    def troubles(self) -> Mapping[str, int]:
        """Objects that were shown unfiltered because a filter failed, by filter."""
        return self._filters.troubles.counts
