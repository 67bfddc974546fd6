"""Chains: the filters that stand between a resource and one client's eyes, applied as one.

An object is decoded at most once and encoded at most once, and not at all if no filter wants it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

import msgspec

from actors.kube.resource import Resource
from configs.schema import HubFilters
from edge.filters.inputs import Inputs
from edge.filters.plugins import Plugins
from edge.filters.rules import compile_rule, rules_for
from edge.filters.steps import Depends, Object, Step, Troubles
from edge.filters.table import TABLE

if TYPE_CHECKING:
    from loguru import Logger

_DECODER = msgspec.json.Decoder(dict[str, Any])
_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True)
class Chain:
    """A `Transform` (see `actors.kube.derived`). Equal chains show all objects alike, so their
    clients can share one view. Never raises: what cannot be filtered is shown as it is.
    """

    steps: tuple[Step, ...]
    troubles: Troubles = field(compare=False, repr=False)

    @property
    def depends(self) -> Depends:
        """What else than objects themselves changes what it shows; see `affected`."""
        return reduce(or_, (step.depends for step in self.steps), Depends.NOTHING)

    def __call__(self, key: str, raw: bytes) -> bytes | None:
        """The object to show: the same bytes if it is shown as it is; None: hidden."""
        wanted = [step for step in self.steps if step.wants(key, raw)]
        if not wanted:
            return raw
        try:
            item = _DECODER.decode(raw)
        except msgspec.DecodeError as error:
            self.troubles.note("decoding", key, error)
            return raw
        shown = self._through(wanted, key, item)
        if shown is None:
            return None
        return raw if shown is item else _ENCODER.encode(shown)

    def _through(self, steps: list[Step], key: str, item: Object) -> Object | None:
        shown = item
        for step in steps:
            try:
                after = step.show(key, shown)
            except Exception as error:  # objects come in all shapes; components need them in any
                self.troubles.note(step.name, key, error)
                continue
            if after is None:
                return None
            shown = after
        return shown


class Filters:
    """A site file's filters, compiled. New settings make a new one; equal chains stay equal."""

    def __init__(
        self, settings: HubFilters, inputs: Inputs, log: Logger, troubles: Troubles | None = None
    ) -> None:
        """`troubles`: to count on where the Filters before left off."""
        self.troubles = troubles or Troubles(log)
        self._settings = settings
        self._inputs = inputs
        self._rules = [compile_rule(rule) for rule in settings.rules]
        self._plugins = Plugins(settings.python, inputs, self.troubles, log)

    def chain_for(self, component: str, resource: Resource, verb: str) -> Chain | None:
        """The chain for a component's reads of a resource; None: it sees everything as it is.

        Cheap enough for each request. A component's list and watch have equal chains, unless a rule
        of the site file tells them apart.
        """
        steps = tuple(self._steps(component, resource, verb))
        return Chain(steps, self.troubles) if steps else None

    def _steps(self, component: str, resource: Resource, verb: str) -> Iterator[Step]:
        for row in TABLE:
            if row.concerns(component, resource, verb, self._settings):
                yield row.make(self._inputs)
        rules = rules_for(self._rules, component, resource, verb, self._inputs, self.troubles)
        if rules is not None:
            yield rules
        yield from self._plugins.steps(component, resource)


def chain_for(
    component: str,
    resource: Resource,
    verb: str,
    settings: HubFilters,
    inputs: Inputs,
    log: Logger,
) -> Chain | None:
    """For one request alone; whoever has many keeps a `Filters`."""
    return Filters(settings, inputs, log).chain_for(component, resource, verb)
