"""Objects under a structure: the fields they have, how they merge and differ. Pure.

Results share with the given values what did not change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cloud.apiserver.apply.fieldsets import (
    SELF,
    Fields,
    as_member,
    is_member,
    named,
    shown,
)
from cloud.apiserver.apply.structure import NotKeyed, Repeated, Structure

Object = dict[str, Any]


def fields_of(structure: Structure, value: Any, whole: bool = False) -> Fields:
    """What a client that says this means: its leaves, keys of maps and items of lists.

    `whole`: with every map and list on the way, as where all of it has come new.
    """
    if isinstance(value, dict):
        if structure.is_atomic:
            return {}
        result: Fields = {}
        for name, held in value.items():
            node = fields_of(structure.member(name), held, whole)
            if node and not whole and not structure.has_named(name):
                node = as_member(node)
            result[f"f:{name}"] = node
    elif isinstance(value, list):
        index = structure.index(value)
        if not index:
            return {}
        item = structure.item
        result = {el: as_member(fields_of(item, held, whole)) for el, held in index.items()}
    else:
        return {}
    if whole and result:
        result[SELF] = {}
    return result


def compare(structure: Structure, old: Any, new: Any) -> tuple[Fields, Fields]:
    """(added or changed, removed) from one object to another."""
    changed, removed = _compared(structure, old, new)
    return changed or {}, removed or {}


def _compared(structure: Structure, old: Any, new: Any) -> tuple[Fields | None, Fields | None]:
    """None: nothing. {}: the value itself."""
    if old == new:
        return None, None
    if isinstance(old, dict) and isinstance(new, dict) and not structure.is_atomic:
        olds, news = _elements(old), _elements(new)
    elif isinstance(old, list) and isinstance(new, list):
        by_key = structure.index(old), structure.index(new)
        if by_key[0] is None or by_key[1] is None:
            return {}, None
        olds, news = by_key  # type: ignore[assignment]
    else:
        gone = fields_of(structure, old, whole=True)
        below = {element: node for element, node in gone.items() if element != SELF}
        return fields_of(structure, new, whole=True), below or None
    return _differences(structure, olds, news)


def _differences(
    structure: Structure, olds: Object, news: Object
) -> tuple[Fields | None, Fields | None]:
    changed: Fields = {}
    removed: Fields = {}
    for element, new in news.items():
        if element not in olds:
            changed[element] = fields_of(structure.below(element), new, whole=True)
        elif olds[element] != new:
            one, other = _compared(structure.below(element), olds[element], new)
            if one is not None:
                changed[element] = one
            if other is not None:
                removed[element] = other
    for element, old in olds.items():
        if element not in news:
            removed[element] = fields_of(structure.below(element), old, whole=True)
    return changed or None, removed or None


def _elements(value: Object) -> Object:
    return {f"f:{name}": held for name, held in value.items()}


def merge(structure: Structure, live: Any, config: Any) -> Any:
    """What is live with what the configuration says in its place."""
    if isinstance(live, dict) and isinstance(config, dict) and not structure.is_atomic:
        result = dict(live)
        for name, value in config.items():
            held = live.get(name)
            result[name] = merge(structure.member(name), held, value) if name in live else value
        return result
    if isinstance(live, list) and isinstance(config, list):
        olds, news = structure.index(live), structure.index(config)
        if olds is not None and news is not None:
            return _merged_items(structure.item, olds, news)
    return config


def _merged_items(item: Structure, olds: Object, news: Object) -> list[Any]:
    """In the configuration's order; what only is live stays behind what it followed."""
    result: list[Any] = []
    rest = iter(news.items())
    for element, old in olds.items():
        if element not in news:
            result += old if isinstance(old, Repeated) else [old]
            continue
        for wanted, new in rest:  # those that are new, up to and with the next known one
            result.append(merge(item, olds[wanted], new) if wanted in olds else new)
            if wanted in olds:
                break
    result += [new for _, new in rest]
    return result


def remove(structure: Structure, value: Any, fields: Fields) -> Any:
    """Without these fields and all below them."""
    if isinstance(value, dict):
        kept: Object = {}
        for name, held in value.items():
            node = fields.get(named(name))
            if node is None:
                kept[name] = held
            elif not is_member(node):
                kept[name] = remove(structure.member(name), held, node)
        return kept
    index = structure.index(value) if isinstance(value, list) else None
    if index is None:
        return value
    items: list[Any] = []
    for element, held in index.items():
        node = fields.get(element)
        if node is None:
            items += held if isinstance(held, Repeated) else [held]
        elif not is_member(node):
            items.append(remove(structure.item, held, node))
    return items


def with_structures(structure: Structure, fields: Fields) -> Fields:
    """Each named field on the way to a member is one, too: who owns a part owns the frame."""
    result: Fields = {}
    for element, node in fields.items():
        if node:
            node = with_structures(structure.below(element), node)
        if element.startswith("f:") and structure.has_named(element[2:]):
            node = as_member(node)
        result[element] = node
    return result


def faults(structure: Structure, value: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Why this cannot be applied: items without keys, or twice the same."""
    if isinstance(value, dict):
        for name, held in value.items():
            yield from faults(structure.member(name), held, (*path, named(name)))
    elif isinstance(value, list) and structure.is_associative:
        yield from _item_faults(structure, value, path)


def _item_faults(structure: Structure, items: list[Any], path: tuple[str, ...]) -> Iterator[str]:
    seen: set[str] = set()
    for number, item in enumerate(items):
        try:
            element = structure.element(item)
        except NotKeyed as error:
            yield f"{shown(path)}: element {number}: {error}"
            continue
        if element in seen:
            yield f"{shown(path)}: duplicate entries for key {shown((element,))}"
        seen.add(element)
        yield from faults(structure.item, item, (*path, element))
