"""May this user do that? Asked of RBAC's objects in the registry, or answered with yes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from actors.kube.serve.api import RequestInfo, User
from cloud.apiserver.access.policy import (
    ALL,
    GROUP,
    Attributes,
    Decision,
    Policy,
    Rule,
    attributes_of,
    denial,
)
from cloud.apiserver.registry import Registry, Storage

if TYPE_CHECKING:
    from actors.kube.watchcache import Entry

Object = dict[str, Any]
_ROLES = tuple(f"{plural}.{GROUP}" for plural in ("roles", "clusterroles"))
_BINDINGS = tuple(f"{plural}.{GROUP}" for plural in ("rolebindings", "clusterrolebindings"))
_WATCHED = frozenset({*_ROLES, *_BINDINGS})


class Authorizer(Protocol):
    def decide(self, asked: Attributes) -> Decision:
        """Whether it is allowed."""

    def rules(self, user: User, namespace: str) -> list[Rule]:
        """All that the user may do there."""

    def check(self, asked: Attributes) -> None:
        """Raises ApiError 403."""


class AllowAll:
    """Whoever is known is an administrator."""

    def decide(self, asked: Attributes) -> Decision:
        return Decision(True)

    def rules(self, user: User, namespace: str) -> list[Rule]:
        every = (ALL,)
        return [Rule(every, every, every), Rule(every, paths=every)]

    def check(self, asked: Attributes) -> None:
        return


class RbacAuthorizer:
    """Reads the objects anew after any of them changed, when it is next asked."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._policy: Policy | None = None
        registry.listen(self._on_commit)

    def decide(self, asked: Attributes) -> Decision:
        return self._current().decide(asked)

    def rules(self, user: User, namespace: str) -> list[Rule]:
        return self._current().rules(user, namespace)

    def check(self, asked: Attributes) -> None:
        decision = self.decide(asked)
        if not decision.allowed:
            raise denial(asked, decision.reason)

    def authorize(self, info: RequestInfo) -> None:
        """Implements `actors.kube.serve.api.Authorize`."""
        assert info.user is not None
        self.check(attributes_of(info, info.user.effective))

    def _current(self) -> Policy:
        if self._policy is None:
            self._policy = Policy(self._objects(_ROLES), self._objects(_BINDINGS))
        return self._policy

    def _objects(self, names: tuple[str, ...]) -> Iterator[Object]:
        for name in names:
            for entry in self._registry.storages[name].cache.snapshot().entries:
                yield msgspec.json.decode(entry.raw)

    def _on_commit(
        self, storage: Storage, _key: str, _obj: Object | None, _before: Entry | None
    ) -> None:
        if storage.name in _WATCHED:
            self._policy = None
