"""What a mirror's stream does to its contents. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from actors.kube.watchcache import WatchCache
from bus.errors import DecodeError
from bus.feed.ops import BaseMismatch, Op, decode_op
from bus.feed.types import Change, Item
from bus.mirror import SETTINGS, Ask, Began, Changed, Failed, Listed, Live, Said, Stale


class Step(NamedTuple):
    """What a frame came down to. `is_whole`: the contents are a new set, not a continuation."""

    changes: Sequence[Change] = ()
    is_whole: bool = False
    went_back: bool = False  # another history: older objects replaced newer ones


class AskAnew(Exception):
    """What came does not fit to what is held: the stream has to begin anew, with a list."""


Shown = Callable[[str, bytes | None], bytes | None]
"""(key, object as told, None: gone) -> what is to be shown of it."""


def as_told(_key: str, raw: bytes | None) -> bytes | None:
    return raw


class Follow:
    """Keeps `items`, as the source told them, and a cache, which may have been revised since.

    `shown` is told of each object before the cache shows it, and says what it is to show: what was
    written here, and is not yet there, does not flicker.

    Where a list's version, or an object in it, is older than what is held, the API server's history
    went back: the cache is reset, so that its clients list anew.
    """

    def __init__(self, cache: WatchCache, shown: Shown = as_told) -> None:
        self.cache = cache
        self._shown = shown
        self.items: dict[str, Item] = {}
        self.is_live = False  # silence means that nothing happens
        self.stale = ""  # why not
        self.must_list = True
        self._has_gone_back = False  # then all comes anew: what we have says nothing
        self._doubted: set[str] = set()  # keys whose bytes are not what the source thinks
        self._listing: dict[str, Change] | None = None
        self._has_told = False  # what we have

    def restore(self, items: Mapping[str, Item], version: int) -> None:
        """From an earlier life."""
        self.items = dict(items)
        self.cache.replace(self.items, version)
        self.must_list = False

    def ask(self, *, tell: bool = True) -> Ask:
        """How the stream goes on. Not `tell`: it would be too much, all comes anew."""
        resource = self.cache.resource
        self._has_told = self.must_list and tell and not self._has_gone_back
        have = None
        if self._has_told:
            held = self.items.items()
            have = {key: item.version for key, item in held if key not in self._doubted}
        version = 0 if self.must_list else self.cache.version
        return Ask(version, resource.api_version, resource.kind, have or None)

    def lost(self) -> None:
        """The stream is over."""
        self.is_live = False
        self.stale = ""
        self._listing = None

    def expired(self) -> None:
        """The source cannot go on from our version."""
        self.must_list = True

    def gone_back(self) -> None:
        """The source is an older state of itself, or another one."""
        self.must_list = self._has_gone_back = True

    def take(self, said: Said) -> Step:
        """Raises AskAnew, DecodeError; not for Failed."""
        match said:
            case Began():
                self._listing = {}
            case Changed() if self._listing is not None:
                self._note(self._decoded(said.ops))
            case Changed():
                return self._changed(said)
            case Listed():
                return self._listed(said)
            case Live():
                self.is_live = not self.must_list
                self.stale = ""
            case Stale(why):
                self.is_live = False
                self.stale = why
            case Failed():
                self.is_live = False
        return Step()

    def _decoded(self, ops: Iterable[Op]) -> list[Change]:
        """Each may build on the one before."""
        held: dict[str, Item | None] = {}
        changes = []
        for op in ops:
            key = op[0]
            base = held[key] if key in held else self._base(key)
            try:
                change = decode_op(op, base, SETTINGS.max_object)
            except BaseMismatch:
                self._doubted.add(key)
                self.must_list = True
                raise AskAnew(f"a delta to another {key}") from None
            held[key] = None if change.data is None else Item(change.version, change.data)
            changes.append(change)
        return changes

    def _base(self, key: str) -> Item | None:
        listed = self._listing.get(key) if self._listing is not None else None
        if listed is not None and listed.data is not None:
            return Item(listed.version, listed.data)
        return self.items.get(key)

    def _note(self, changes: Iterable[Change]) -> None:
        assert self._listing is not None
        for change in changes:
            self._listing[change.key] = change

    def _changed(self, said: Changed) -> Step:
        if self.must_list:
            raise DecodeError("changes of a set that is not known", b"")
        changes = self._decoded(said.ops)
        if changes:
            self._keep(changes)
            self.cache.apply(self._visible(changes), said.version)
        else:
            self.cache.advance(said.version)
        return Step(changes)

    def _listed(self, said: Listed) -> Step:
        if self._listing is None:
            raise DecodeError("the end of a list that did not begin", b"")
        puts, self._listing = self._listing, None
        gone = said.gone if self._has_told else self.items.keys() - puts.keys()
        changes = [Change(key, said.version, None) for key in gone if key in self.items]
        changes += sorted(puts.values(), key=lambda put: put.version)
        went_back = self.cache.filled and self._is_other(said.version, puts.values())
        if went_back and self._has_told:
            self.gone_back()
            raise AskAnew("its history went back")
        self._keep(changes)
        self.must_list = self._has_gone_back = False
        self._doubted.clear()
        visible = self._visible(changes)
        if not self.cache.filled:
            items = {
                put.key: Item(put.version, put.data) for put in visible if put.data is not None
            }
            self.cache.replace(items, said.version)
            return Step(changes, is_whole=True)
        if went_back:
            self.cache.reset(visible, said.version)
            return Step(changes, is_whole=True, went_back=True)
        self.cache.apply(visible, said.version, exact=False)
        return Step(changes)

    def _visible(self, changes: Iterable[Change]) -> list[Change]:
        return [Change(key, version, self._shown(key, raw)) for key, version, raw in changes]

    def _is_other(self, version: int, puts: Iterable[Change]) -> bool:
        """Whether a list is of another history than what is held."""
        if self._has_gone_back or version < self.cache.version:
            return True
        return any(
            (held := self.items.get(put.key)) is not None and put.version < held.version
            for put in puts
        )

    def _keep(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.data is None:
                self.items.pop(change.key, None)
            else:
                self.items[change.key] = Item(change.version, change.data)
