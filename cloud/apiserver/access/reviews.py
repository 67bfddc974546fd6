"""Questions to the API server: who am I, whose token is that, may he do this?

Sources: Kubernetes API reference, authentication.k8s.io/v1 and authorization.k8s.io/v1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import msgspec

from actors.kube.resource import Resource
from actors.kube.schemas import published
from actors.kube.serve.api import RequestInfo, User, Writer, WriteResult
from actors.kube.status_errors import bad_request, invalid, method_not_allowed
from cloud.apiserver import requests
from cloud.apiserver.access.accounts import Accounts
from cloud.apiserver.access.authorizer import Authorizer
from cloud.apiserver.access.policy import Attributes, Rule
from cloud.apiserver.codec import BuiltIn
from cloud.apiserver.names import required
from cloud.apiserver.shapes import Shapes

Object = dict[str, Any]
Answer = Callable[[RequestInfo, User, Object], Object]
"""From a question to its answered object. Raises ApiError."""

TOKEN_REQUESTS = Resource(
    group="authentication.k8s.io",
    version="v1",
    plural="tokenrequests",
    kind="TokenRequest",
    namespaced=True,
)


class TokenReviewer(Protocol):
    def review(self, token: str, audiences: tuple[str, ...]) -> tuple[User, tuple[str, ...]] | None:
        """Who that is, and for which of the audiences (none: our own) the token is good."""


class Reviews:
    """A Writer before the `writer` of objects: what is asked here is kept nowhere."""

    def __init__(
        self, writer: Writer, authorizer: Authorizer, accounts: Accounts, tokens: TokenReviewer
    ) -> None:
        self._writer = writer
        self._authorizer = authorizer
        self._accounts = accounts
        self._tokens = tokens
        self._answers: dict[str, Answer] = {
            "TokenRequest": lambda info, _user, obj: self._accounts.issue(info, obj),
            "TokenReview": self._token,
            "SelfSubjectReview": self._self,
            "SubjectAccessReview": self._access,
            "LocalSubjectAccessReview": self._local_access,
            "SelfSubjectAccessReview": self._own_access,
            "SelfSubjectRulesReview": self._own_rules,
        }

    async def write(self, info: RequestInfo, body: bytes, content_type: str) -> WriteResult:
        resource = info.resource
        if resource is not None and info.subresource == "token":
            resource = TOKEN_REQUESTS
        answer = self._answers.get(resource.kind) if resource is not None else None
        if resource is None or answer is None or info.user is None:
            return await self._writer.write(info, body, content_type)
        if info.verb != "create":
            raise method_not_allowed(info.group, info.plural, info.verb)
        obj = requests.decode_object(body, content_type, resource)
        obj = _codec(resource.kind, resource.group).decode(obj).obj
        answered = answer(info, info.user.effective, obj)
        return WriteResult(201, msgspec.json.encode(answered))

    # -- who --------------------------------------------------------------------------------------

    def _self(self, _info: RequestInfo, user: User, obj: Object) -> Object:
        return obj | {"status": {"userInfo": user_info(user)}}

    def _token(self, _info: RequestInfo, _user: User, obj: Object) -> Object:
        spec = obj.get("spec") or {}
        if not spec.get("token"):
            raise bad_request("token is required for TokenReview in authentication")
        found = self._tokens.review(spec["token"], tuple(spec.get("audiences") or ()))
        if found is None:
            return obj | {"status": {"user": {}, "error": "[invalid bearer token]"}}
        user, audiences = found
        status = {"authenticated": True, "user": user_info(user), "audiences": list(audiences)}
        return obj | {"status": status}

    # -- may he -----------------------------------------------------------------------------------

    def _access(self, info: RequestInfo, _user: User, obj: Object) -> Object:
        spec = obj.get("spec") or {}
        if not spec.get("user") and not spec.get("groups"):
            cause = required("spec.user", "at least one of user or group must be specified")
            raise invalid(info.group, str(obj["kind"]), "", [cause])
        extra = {key: tuple(values) for key, values in (spec.get("extra") or {}).items()}
        groups = tuple(spec.get("groups") or ())
        user = User(spec.get("user", ""), groups, spec.get("uid", ""), extra)
        return self._decided(info, user, obj)

    def _local_access(self, info: RequestInfo, user: User, obj: Object) -> Object:
        asked = (obj.get("spec") or {}).get("resourceAttributes")
        if not asked:
            cause = required("spec.resourceAttributes")
            raise invalid(info.group, str(obj["kind"]), "", [cause])
        if asked.setdefault("namespace", info.namespace) != info.namespace:
            raise bad_request("spec.resourceAttributes.namespace must match namespace")
        return self._access(info, user, obj)

    def _own_access(self, info: RequestInfo, user: User, obj: Object) -> Object:
        return self._decided(info, user, obj)

    def _decided(self, info: RequestInfo, user: User, obj: Object) -> Object:
        spec = obj.get("spec") or {}
        resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if bool(resource) == bool(path):
            why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            raise invalid(info.group, str(obj["kind"]), "", [required("spec", why)])
        asked = _of_resource(user, resource) if resource else _of_path(user, path or {})
        decision = self._authorizer.decide(asked)
        status: Object = {"allowed": decision.allowed}
        return obj | {"status": status | ({"reason": decision.reason} if decision.reason else {})}

    def _own_rules(self, info: RequestInfo, user: User, obj: Object) -> Object:
        namespace = (obj.get("spec") or {}).get("namespace", "")
        if not namespace:
            raise bad_request("no namespace on request")
        rules = self._authorizer.rules(user, namespace)
        status = {
            "resourceRules": [_resource_rule(rule) for rule in rules if rule.resources],
            "nonResourceRules": [
                {"verbs": rule.verbs, "nonResourceURLs": rule.paths} for rule in rules if rule.paths
            ],
            "incomplete": False,
        }
        return obj | {"status": status}


def user_info(user: User) -> Object:
    """As UserInfo of authentication.k8s.io/v1."""
    info: Object = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = user.groups
    if user.extra:
        info["extra"] = user.extra
    return info


def _of_resource(user: User, asked: Object) -> Attributes:
    members = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Attributes(user, *(asked.get(member) or "" for member in members))


def _of_path(user: User, asked: Object) -> Attributes:
    return Attributes(user, asked.get("verb") or "", path=asked.get("path") or "/")


def _resource_rule(rule: Rule) -> Object:
    shown: Object = {"verbs": rule.verbs, "apiGroups": rule.groups, "resources": rule.resources}
    return shown | ({"resourceNames": rule.names} if rule.names else {})


@cache
def _shapes() -> Shapes:
    return Shapes(published())


def _codec(kind: str, group: str) -> BuiltIn:
    definitions = published()
    return BuiltIn(definitions, _shapes(), definitions.name_of(group, "v1", kind))
