"""Which objects a request is about: namespace, name, labels and fields together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from actors.kube.fields import FieldReader, Selected
from actors.kube.resource import Resource, key_of
from actors.kube.selectors import FieldSelector, LabelSelector, SelectorError


class Selectable(Protocol):
    """What a filter looks at: a cache entry."""

    @property
    def key(self) -> str: ...
    def selected(self, reader: FieldReader) -> Selected: ...


@dataclass(frozen=True, slots=True)
class Filter:
    """Equal filters give equal results, so work done for one watcher serves all its equals."""

    namespace: str = ""  # "": all
    name: str = ""  # from fieldSelector metadata.name=
    labels: LabelSelector = ()
    terms: tuple[tuple[int, str, bool], ...] = ()  # (index in FieldReader.names, value, equal)
    keys: tuple[tuple[bool, str, bool], ...] = ()  # (on the namespace, value, equal): the rare rest
    nothing: bool = False  # contradictory: matches no object

    @property
    def by_key_only(self) -> bool:
        """No need to look into objects."""
        return not (self.labels or self.terms)

    def matches_key(self, key: str) -> bool:
        if self.nothing:
            return False
        if not (self.namespace or self.name or self.keys):
            return True
        namespace, _, name = key.rpartition("/")
        if (self.namespace and namespace != self.namespace) or (self.name and name != self.name):
            return False
        return all(((namespace if on else name) == value) is eq for on, value, eq in self.keys)

    def matches(self, entry: Selectable, reader: FieldReader) -> bool:
        if not self.matches_key(entry.key):
            return False
        if self.by_key_only:
            return True
        labels, values = entry.selected(reader)
        if not all((values[index] == value) is equal for index, value, equal in self.terms):
            return False
        return all(term.matches(labels) for term in self.labels)

    def exact_key(self, namespaced: bool) -> str | None:
        """The one key that can match, where namespace and name are both known."""
        if self.name and (self.namespace or not namespaced):
            return key_of(self.namespace, self.name)
        return None


EVERYTHING = Filter()


def make_filter(
    resource: Resource,
    reader: FieldReader,
    namespace: str = "",
    name: str = "",
    labels: LabelSelector = (),
    fields: FieldSelector = (),
) -> Filter:
    """Raises SelectorError for a field that this resource cannot be selected by."""
    terms: list[tuple[int, str, bool]] = []
    keys: list[tuple[bool, str, bool]] = []
    for term in fields:
        if term.name in ("metadata.name", "metadata.namespace"):
            keys.append((term.name == "metadata.namespace", term.value, term.equal))
        elif term.name in reader.names:
            terms.append((reader.names[term.name], term.value, term.equal))
        else:
            raise SelectorError(_unsupported(resource, term.name))
    return _settle(namespace, name, labels, tuple(terms), keys)


def _settle(
    namespace: str,
    name: str,
    labels: LabelSelector,
    terms: tuple[tuple[int, str, bool], ...],
    keys: list[tuple[bool, str, bool]],
) -> Filter:
    """`metadata.name=x` becomes the name, so that one object is found by its key."""
    nothing = False
    rest: list[tuple[bool, str, bool]] = []
    for on_namespace, value, equal in keys:
        if not equal or not value:
            rest.append((on_namespace, value, equal))
        elif on_namespace:
            nothing |= bool(namespace) and namespace != value
            namespace = value
        else:
            nothing |= bool(name) and name != value
            name = value
    return Filter(namespace, name, labels, terms, tuple(rest), nothing)


def _unsupported(resource: Resource, field: str) -> str:
    if resource.selectable_fields:
        return f"field label not supported: {field}"
    return f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
