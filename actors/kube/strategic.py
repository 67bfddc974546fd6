"""Strategic merge patch: merge patch that knows how lists of the built-in types are keyed. Pure.

Source: k8s.io/apimachinery/pkg/util/strategicpatch. The keys and strategies come from the published
schemas (`x-kubernetes-patch-merge-key`, `x-kubernetes-patch-strategy`). Directives: `$patch`
(replace, delete, merge), `$retainKeys`, `$deleteFromPrimitiveList/x`, `$setElementOrder/x`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from actors.kube.schemas import Definitions, Schema
from actors.kube.status_errors import ApiError, bad_request

DIRECTIVE = "$patch"
RETAIN = "$retainKeys"
DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"
ORDER = "$setElementOrder/"

Object = dict[str, Any]


class _Plan(NamedTuple):
    """How one member is merged."""

    schema: Schema  # of the member, resolved; empty: unknown
    strategies: frozenset[str]
    key: str


def strategic_merge(definitions: Definitions, schema: Schema, target: Any, patch: Any) -> Any:
    """A patched copy. Raises ApiError 400 for a patch that cannot be understood."""
    if not isinstance(patch, dict):
        raise bad_request("a strategic merge patch is a JSON object")
    return _Merge(definitions).objects(definitions.resolve(schema), target, patch)


class _Merge:
    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions

    def objects(self, schema: Schema, target: Any, patch: Object) -> Object:
        directive = patch.get(DIRECTIVE)
        if directive == "replace":
            return _without_directives(patch)
        if directive == "delete":
            return {}
        if directive not in (None, "merge"):
            raise _unknown_directive(directive)
        result = dict(target) if isinstance(target, dict) else {}
        _retain(result, patch)
        for name, value in patch.items():
            if name.startswith("$"):
                continue
            if value is None:
                result.pop(name, None)
            else:
                result[name] = self._member(schema, name, result.get(name), value, patch)
        self._lists_without_values(schema, result, patch)
        return result

    def _plan(self, schema: Schema, name: str) -> _Plan:
        below = (schema.get("properties") or {}).get(name) or schema.get("additionalProperties")
        if not isinstance(below, dict):
            return _Plan({}, frozenset(), "")
        resolved = self._definitions.resolve(below)
        strategies = frozenset(resolved.get("x-kubernetes-patch-strategy", "").split(","))
        return _Plan(resolved, strategies, resolved.get("x-kubernetes-patch-merge-key", ""))

    def _member(self, schema: Schema, name: str, old: Any, new: Any, patch: Object) -> Any:
        plan = self._plan(schema, name)
        if isinstance(new, dict):
            if "replace" in plan.strategies:
                return _without_directives(new)
            return self.objects(plan.schema, old, new)
        if not isinstance(new, list):
            return new
        if "merge" not in plan.strategies:
            return _plain_items(new)
        old = old if isinstance(old, list) else []
        if not plan.key:
            return _merge_primitives(old, new, name, patch)
        return self._keyed(plan, old, new, patch.get(ORDER + name))

    def _lists_without_values(self, schema: Schema, result: Object, patch: Object) -> None:
        """Directives for lists of which the patch holds no items."""
        for directive in patch:
            for prefix in (DELETE_PRIMITIVES, ORDER):
                name = directive.removeprefix(prefix)
                if name == directive or name in patch or not isinstance(result.get(name), list):
                    continue
                result[name] = self._member(schema, name, result[name], [], patch)

    # -- lists of objects with a key --------------------------------------------------------------

    def _keyed(self, plan: _Plan, old: list[Any], new: list[Any], order: Any) -> list[Any]:
        key = plan.key
        items = self._definitions.resolve(plan.schema.get("items") or {})
        replaces = [i for i in new if isinstance(i, dict) and i.get(DIRECTIVE) == "replace"]
        if replaces:  # {"$patch": "replace"} beside the items that shall be all
            return [i for i in new if i not in replaces]
        result = [item for item in old if isinstance(item, dict)]
        for item in new:
            value = _key_value(item, key)
            if item.get(DIRECTIVE) == "delete":
                result = [held for held in result if held.get(key) != value]
            else:
                self._put(items, result, key, item)
        return _ordered(result, order, lambda item: _key_value(item, key))

    def _put(self, schema: Schema, result: list[Any], key: str, item: Object) -> None:
        for index, held in enumerate(result):
            if held.get(key) == item[key]:
                result[index] = self.objects(schema, held, item)
                return
        result.append(self.objects(schema, {}, item))


def _key_value(item: Any, key: str) -> Any:
    if not isinstance(item, dict) or key not in item:
        raise bad_request(f"map: {item!r:.200} does not contain declared merge key: {key}")
    return item[key]


def _retain(result: Object, patch: Object) -> None:
    keys = patch.get(RETAIN)
    if keys is None:
        return
    if not isinstance(keys, list):
        raise bad_request(f"{RETAIN} must be a list of names")
    for name in set(result) - set(map(str, keys)):
        del result[name]


def _merge_primitives(old: list[Any], new: list[Any], name: str, patch: Object) -> list[Any]:
    dropped = patch.get(DELETE_PRIMITIVES + name) or []
    result = [item for item in old if item not in dropped]
    result += [item for item in new if item not in result]
    return _ordered(result, patch.get(ORDER + name), lambda item: item)


def _ordered(items: list[Any], order: Any, identity: Callable[[Any], Any]) -> list[Any]:
    """In the patch's order where it names one; what it does not name stays behind what it followed.

    Upstream: items only on the server keep their relative order and their place among the others.
    """
    if not isinstance(order, list):
        return items
    wanted = [identity(item) for item in order]
    named = [item for item in items if identity(item) in wanted]
    named.sort(key=lambda item: wanted.index(identity(item)))
    result: list[Any] = []
    for item in items:
        if identity(item) in wanted:
            result.append(named.pop(0))
        else:
            result.append(item)
    return result


def _plain_items(items: list[Any]) -> list[Any]:
    """A list that replaces: directives have no meaning in it."""
    return [_without_directives(item) if isinstance(item, dict) else item for item in items]


def _without_directives(patch: Object) -> Object:
    return {
        name: _without_directives(value) if isinstance(value, dict) else value
        for name, value in patch.items()
        if not name.startswith("$") and value is not None
    }


def _unknown_directive(directive: Any) -> ApiError:
    return bad_request(f"unknown patch type found {directive!r} in a strategic merge patch")
