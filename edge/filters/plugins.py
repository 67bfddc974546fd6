"""Filters of installed packages: entry points of the group `atoll.filters`.

    [project.entry-points."atoll.filters"]
    hide-canaries = "shop.filters:hide_canaries"

    def hide_canaries(context: FilterContext) -> Callable[[dict], dict | None] | None:
        return _hide_canaries if context.resource.plural == "pods" else None

The factory is asked once per component and resource; None: nothing to do there. What it returns is
given a copy of each object and returns what to show: that, changed or not, or another; None hides
it. Components for which it returns the very same callable share one view. It runs in the hub's
event loop, so it must be quick and must not wait. One that raises is as if it were not there, for
that object; it is counted, and logged once.

What it looks at besides the object it says in its attribute `depends` (`Depends`, default: this
node's pool); when that changes all objects are shown to it again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, cast

import msgspec

from actors.kube.resource import Resource
from configs.rules import FILTERS
from edge.filters.inputs import Inputs
from edge.filters.steps import Depends, Object, Troubles, require_same

if TYPE_CHECKING:
    from loguru import Logger

_REMEMBERED = 256  # (filter, component, resource); components come from clients


@dataclass(frozen=True)
class FilterContext:
    """For whom a filter is made."""

    component: str
    resource: Resource
    node: str
    inputs: Inputs


Show = Callable[[dict[str, Any]], dict[str, Any] | None]
Factory = Callable[[FilterContext], Show | None]


@dataclass(frozen=True)
class PythonFilter:
    """One made filter in a chain."""

    entry: str
    call: Show
    troubles: Troubles = field(compare=False)

    @property
    def name(self) -> str:
        return f"python {self.entry}"

    @property
    def depends(self) -> Depends:
        return cast("Depends", getattr(self.call, "depends", Depends.SELF))

    def wants(self, key: str, raw: bytes) -> bool:
        return True

    def show(self, key: str, item: Object) -> Object | None:
        try:
            # A copy of its own: it may change it, and raise then. Faster than copy.deepcopy.
            shown = self.call(msgspec.json.decode(msgspec.json.encode(item)))
            if shown is None:
                return None
            require_same(item, shown)
            return item if shown == item else shown
        except Exception as error:  # foreign code
            self.troubles.note(self.name, key, error)
            return item


class Plugins:
    """The Python filters that a site file names, loaded once."""

    def __init__(
        self, names: Sequence[str], inputs: Inputs, troubles: Troubles, log: Logger
    ) -> None:
        self._inputs = inputs
        self._troubles = troubles
        self._log = log
        self._factories = {name: load for name in names if (load := self._load(name)) is not None}
        self._made: OrderedDict[tuple[str, str, str], Show | None] = OrderedDict()

    def steps(self, component: str, resource: Resource) -> list[PythonFilter]:
        return [
            PythonFilter(name, call, self._troubles)
            for name in self._factories
            if (call := self._call(name, component, resource)) is not None
        ]

    def _load(self, name: str) -> Factory | None:
        found = list(entry_points(group=FILTERS, name=name))
        if not found:
            self._log.error(
                'filter "{}": no package offers it as entry point of "{}"', name, FILTERS
            )
            return None
        try:
            return cast("Factory", found[0].load())
        except Exception as error:  # foreign code
            self._log.error('filter "{}": {} cannot be loaded: {!r}', name, found[0].value, error)
            return None

    def _call(self, name: str, component: str, resource: Resource) -> Show | None:
        key = (name, component, resource.name)
        if key not in self._made:
            self._made[key] = self._make(name, component, resource)
            while len(self._made) > _REMEMBERED:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return self._made[key]

    def _make(self, name: str, component: str, resource: Resource) -> Show | None:
        context = FilterContext(component, resource, self._inputs.node, self._inputs)
        try:
            return self._factories[name](context)
        except Exception as error:  # foreign code
            self._troubles.note(f"python {name}", f"{resource.name} for {component}", error)
            return None
