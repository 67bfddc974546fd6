"""The writes of one object that wait, in order, and what is shown of it. Pure.

Each writer has one entry, the last ones' joined into it, unless that would change the outcome (two
identities that write the same members in turn), or it is on its way just now.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from edge.offline.entry import Entry, Kind, decoded, encoded, uid_of, version_of
from edge.offline.merge import Object
from edge.offline.plan import rebase, shown


class Edit(NamedTuple):
    """How a chain changes on disk."""

    entries: tuple[Entry, ...]  # the new chain
    puts: tuple[Entry, ...]
    removes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Chain:
    """`view` is the object as it is shown: None once it is deleted."""

    entries: tuple[Entry, ...]
    view: bytes | None

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Chain:
        ordered = tuple(sorted(entries, key=lambda entry: entry.id))
        return cls(ordered, _encoded(fold(ordered, ground(ordered))))

    def with_edit(self, edit: Edit, view: Object | None) -> Chain:
        return Chain(edit.entries, _encoded(view))

    def is_ahead_of(self, server: Object) -> bool:
        """Whether the entries rest on a newer state of the same object."""
        held = ground(self.entries)
        if held is None or uid_of(held) != uid_of(server):
            return False
        return version_of(server) < version_of(held)

    def on(self, server: Object | None) -> tuple[Chain, tuple[Entry, ...]]:
        """On top of the cloud's newer object; and the entries that changed by that."""
        moved: list[Entry] = []
        visible = server
        for entry in self.entries:
            entry, visible = rebase(entry, visible)
            moved.append(entry)
        puts = tuple(new for new, old in zip(moved, self.entries, strict=True) if new != old)
        return Chain(tuple(moved), _encoded(visible)), puts


def _encoded(obj: Object | None) -> bytes | None:
    return encoded(obj) if obj is not None else None


def ground(entries: Sequence[Entry]) -> Object | None:
    """What the cloud has, as far as the first entry knows."""
    first = entries[0] if entries else None
    if first is None or first.base is None or first.is_local:
        return None
    return decoded(first.base)


def fold(entries: Sequence[Entry], server: Object | None) -> Object | None:
    for entry in entries:
        server = shown(entry, server)
    return server


def created(chain: Chain, entry: Entry) -> Edit:
    return Edit((*chain.entries, entry), (entry,))


def changed(chain: Chain, entry: Entry, busy: Collection[int]) -> Edit:
    """`entry` is the change alone: from what was shown to what shall be."""
    segment = _since_delete(chain.entries)
    own = [e for e in segment if e.identity == entry.identity and e.id not in busy]
    if own and len(chain.entries) == 1:
        return _joined(chain, own[-1], entry, entry.current)
    if own:
        visible = _moved_onto(entry, own[-1].new)
        edit = _joined(chain, own[-1], entry, encoded(visible))
        if fold(edit.entries, ground(edit.entries)) == entry.new:
            return edit
    return Edit((*chain.entries, entry), (entry,))


def _moved_onto(entry: Entry, obj: Object) -> Object:
    """The change, done to another state of the object: ours is the newest."""
    patch_of = replace(entry, kind=Kind.CHANGE)
    return shown(patch_of, obj) or {}


def _joined(chain: Chain, held: Entry, entry: Entry, current: bytes | None) -> Edit:
    joined = replace(
        held,
        revision=held.revision + 1,
        current=current,
        at=entry.at,
        component=entry.component,
        is_main=held.is_main or entry.is_main,
    )
    return Edit(tuple(joined if e is held else e for e in chain.entries), (joined,))


def _since_delete(entries: Sequence[Entry]) -> list[Entry]:
    found: list[Entry] = []
    for entry in reversed(entries):
        if entry.kind is Kind.DELETE:
            break
        found.insert(0, entry)
    return found


def deleted(chain: Chain, entry: Entry, busy: Collection[int]) -> Edit:
    """`entry` is the delete alone, its base what was shown."""
    segment = _since_delete(chain.entries)
    is_ours = bool(segment) and segment[0].kind is Kind.CREATE
    if is_ours and not any(each.id in busy for each in segment):
        # It may have been created all the same, in an attempt whose answer did not come.
        entry = replace(entry, id=segment[0].id, is_local=True)
        before = chain.entries[: len(chain.entries) - len(segment)]
        return Edit((*before, entry), (entry,), tuple(each.id for each in segment[1:]))
    last = chain.entries[-1] if chain.entries else None
    if last is not None and last.kind is Kind.DELETE and last.id not in busy:
        merged = replace(
            last, revision=last.revision + 1, current=entry.current, options=entry.options,
            at=entry.at,
        )  # fmt: skip
        return Edit((*chain.entries[:-1], merged), (merged,))
    entry = replace(entry, is_local=is_ours)
    return Edit((*chain.entries, entry), (entry,))
