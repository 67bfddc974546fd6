"""What a list of changes comes down to: at most a delete and a put per key, in version order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bus.feed.types import Change, Item


class Reduced(NamedTuple):
    changes: list[Change]
    refused: tuple[str, ...]  # keys of objects over the bound
    stale: int  # changes older than what is held
    exact: bool  # no object came and went without being named


class _Net(NamedTuple):
    """The net effect on one key. A recreated object keeps its delete: watchers must see both."""

    delete: Change | None
    put: Change | None

    @property
    def version(self) -> int:
        last = self.put or self.delete
        return last.version if last else 0


def reduce_changes(
    items: Mapping[str, Item], changes: Iterable[Change], max_object: int, rebase: bool
) -> Reduced:
    """An object over `max_object` counts as deleted: an old version must not pass for the newest.

    `rebase`: the changes lead into another lineage, where versions may go back.
    """
    nets: dict[str, _Net] = {}
    refused: dict[str, None] = {}
    stale, exact = 0, True
    for change in changes:
        refused.pop(change.key, None)
        if change.data is not None and len(change.data) > max_object:
            refused[change.key] = None
            change = Change(change.key, change.version, None)
        if not rebase and _is_stale(change, nets.get(change.key), items.get(change.key)):
            stale += 1
        else:
            exact = _add(nets, change, items) and exact
    ordered = [change for net in nets.values() for change in net if change is not None]
    if not rebase:
        ordered.sort(key=lambda change: change.version)
    return Reduced(ordered, tuple(refused), stale, exact)


def _is_stale(change: Change, net: _Net | None, held: Item | None) -> bool:
    known = net.version if net else held.version if held else -1
    # A delete may carry the version of what it deletes: a re-list knows no better.
    return change.version < known if change.data is None else change.version <= known


def _add(nets: dict[str, _Net], change: Change, items: Mapping[str, Item]) -> bool:
    """False where it takes back a put that nobody will hear of."""
    net = nets.pop(change.key, _Net(None, None))
    if change.data is not None:
        nets[change.key] = _Net(net.delete, change)
    elif change.key in items:
        nets[change.key] = _Net(change, None)
    else:
        return net.put is None
    return True
