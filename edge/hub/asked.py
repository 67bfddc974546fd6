"""One request with all that is known of who sent it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from actors.kube.resource import Resource, key_of
from actors.kube.serve.api import RequestInfo
from edge.hub.components import Components, component_of, is_kept
from edge.mirror import Scope
from edge.mirror.scope import TOKEN, owner_of

if TYPE_CHECKING:
    from aiohttp import web


@dataclass(frozen=True)
class Policy:
    """The site file's word on who is whom, and whose reads are kept."""

    identities: Mapping[str, str]  # component -> user; see configs.schema.HubSettings
    components: Components


def is_critical(owner: str, identities: Mapping[str, str]) -> bool:
    """Whether the views of an owner (`Scope.component`) are the last to go from a full disk: the
    node's own, and those of the components that the site file gives an identity, however they come.
    """
    users = identities.values()
    return owner in map(owner_of, ("", *users, *(f"{TOKEN}{user}" for user in users)))


@dataclass(frozen=True)
class Asked:
    """`identity` is as whom it acts: "" is the node; reads of one identity are not another's."""

    info: RequestInfo
    resource: Resource
    component: str
    identity: str
    is_kept: bool

    @property
    def key(self) -> str:
        return key_of(self.info.namespace, self.info.name)

    @property
    def scope(self) -> Scope:
        """Of this one object."""
        fields = f"metadata.name={self.info.name}"
        return Scope.of(self.identity, self.resource, self.info.namespace, fields=fields)

    @property
    def is_whole(self) -> bool:
        """Whether it is about an object, not about a part or an act of it."""
        return self.info.subresource in ("", "status")


def asked_of(request: web.Request, info: RequestInfo, resource: Resource, policy: Policy) -> Asked:
    component = component_of(request.headers.get("User-Agent", ""))
    identity = policy.identities.get(component, "")
    if info.user is not None:
        identity = f"{TOKEN}{info.user.name}"
    elif "Authorization" in request.headers:  # nobody has looked at it: it is nobody we know
        return Asked(replace(info, resource=resource), resource, component, TOKEN, is_kept=False)
    kept = is_kept(component, resource, policy.components)
    return Asked(replace(info, resource=resource), resource, component, identity, kept)
