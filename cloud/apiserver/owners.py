"""Who owns whom (`metadata.ownerReferences`), and what follows when an owner goes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Object = dict[str, Any]


class Ref(NamedTuple):
    """Where an object is: storage name and key."""

    storage: str
    key: str


class Owners:
    """An index of dependents by their owners' uid. Told of every object that names an owner."""

    def __init__(self) -> None:
        self._of: dict[str, set[Ref]] = {}
        self._owners: dict[Ref, tuple[str, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._of)

    def note(self, ref: Ref, obj: Object | None) -> None:
        """The object as it is now; None: it is gone."""
        references = obj["metadata"].get("ownerReferences") if obj is not None else None
        if references or ref in self._owners:
            self._set(ref, tuple(str(each.get("uid", "")) for each in references or ()))

    def _set(self, ref: Ref, uids: tuple[str, ...]) -> None:
        for uid in self._owners.pop(ref, ()):
            self._of[uid].discard(ref)
            if not self._of[uid]:
                del self._of[uid]
        if uids:
            self._owners[ref] = uids
        for uid in uids:
            self._of.setdefault(uid, set()).add(ref)

    def dependents(self, uid: str) -> Sequence[Ref]:
        return sorted(self._of.get(uid, ()))


def without_owner(obj: Object, uid: str) -> Object:
    """A copy that no longer names this owner."""
    meta = dict(obj["metadata"])
    left = [each for each in meta.get("ownerReferences", ()) if each.get("uid") != uid]
    if left:
        meta["ownerReferences"] = left
    else:
        meta.pop("ownerReferences", None)
    return obj | {"metadata": meta}


def without_finalizer(obj: Object, finalizer: str) -> Object:
    meta = dict(obj["metadata"])
    left = [each for each in meta.get("finalizers", ()) if each != finalizer]
    if left:
        meta["finalizers"] = left
    else:
        meta.pop("finalizers", None)
    return obj | {"metadata": meta}


def has_other_owner(obj: Object, gone: str, exists: Callable[[Object], bool]) -> bool:
    """Whether an owner is left. `exists` looks an ownerReference up."""
    references = obj["metadata"].get("ownerReferences", ())
    return any(each.get("uid") != gone and exists(each) for each in references)
