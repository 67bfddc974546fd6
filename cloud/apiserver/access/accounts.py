"""Service accounts: `default` in every namespace, token requests, and whose token is whose."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from actors.kube.resource import key_of
from actors.kube.status_errors import bad_request, conflict, invalid, not_found
from cloud.apiserver import metadata
from cloud.apiserver.access.tokens import ISSUER, BadToken, Bound, Claims, Signer
from cloud.apiserver.names import invalid_value
from cloud.apiserver.registry import Edit, Registry, Storage

if TYPE_CHECKING:
    from actors.kube.serve.api import RequestInfo
    from actors.kube.watchcache import Entry

Object = dict[str, Any]
DEFAULT = "default"
HOUR = 3600
SHORTEST = 600  # seconds, as upstream
LONGEST = 1 << 32
_STORAGES = {"pod": "pods", "secret": "secrets", "node": "nodes"}
"""What a token can be bound to."""
AUDIENCES = (ISSUER,)
"""Those of the API server itself, where none are asked for."""


class Accounts:
    """`wall` is the clock, in seconds since the epoch."""

    def __init__(
        self, registry: Registry, signer: Signer, wall: Callable[[], float] = time.time
    ) -> None:
        self._registry = registry
        self._signer = signer
        self._wall = wall
        self._wake = asyncio.Event()
        registry.listen(self._on_commit)

    # -- the account `default` --------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled; namespaces get their account as soon as they are made."""
        while True:
            self.fill()
            await self._wake.wait()
            self._wake.clear()

    def fill(self) -> None:
        """Make those that are missing."""
        self._registry.commit(list(self._missing()))

    def _missing(self) -> Iterator[Edit]:
        accounts = self._registry.storages["serviceaccounts"]
        for entry in self._registry.storages["namespaces"].cache.snapshot().entries:
            is_leaving = b'"deletionTimestamp"' in entry.raw
            if accounts.get(key_of(entry.key, DEFAULT)) is None and not is_leaving:
                yield Edit(accounts, key_of(entry.key, DEFAULT), self._default(entry.key))

    def _default(self, namespace: str) -> Object:
        made = metadata.timestamp(self._wall())
        meta = {"uid": str(uuid.uuid4()), "creationTimestamp": made}
        meta |= {"name": DEFAULT, "namespace": namespace}
        return {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": meta}

    def _on_commit(
        self, storage: Storage, key: str, obj: Object | None, _before: Entry | None
    ) -> None:
        is_gone = storage.name == "serviceaccounts" and obj is None and key.endswith(f"/{DEFAULT}")
        if is_gone or (storage.name == "namespaces" and obj is not None):
            self._wake.set()

    # -- tokens -----------------------------------------------------------------------------------

    def issue(self, info: RequestInfo, request: Object) -> Object:
        """The answered TokenRequest. Raises ApiError 400, 404, 409 or 422."""
        account = self._bound("serviceaccount", "serviceaccounts", info.namespace, info.name)
        spec = request.get("spec") or {}
        seconds = _lifetime(spec, info.name)
        audiences = tuple(spec.get("audiences") or ()) or AUDIENCES
        bound = self._binding(info, spec.get("boundObjectRef"))
        token, until = self._signer.issue(info.namespace, account, audiences, seconds, bound)
        made = metadata.timestamp(self._wall())
        spec = {"boundObjectRef": None} | spec
        return request | {
            "metadata": {
                "name": info.name,
                "namespace": info.namespace,
                "creationTimestamp": made,
            },
            "spec": spec | {"audiences": list(audiences), "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": metadata.timestamp(until)},
        }

    def _binding(self, info: RequestInfo, ref: Object | None) -> Sequence[Bound]:
        if not ref:
            return ()
        kind, name = str(ref.get("kind", "")).lower(), str(ref.get("name", ""))
        if kind not in _STORAGES or ref.get("apiVersion", "v1") != "v1":
            raise bad_request(f"cannot bind token for object of type {ref.get('kind', '')}")
        plural = _STORAGES[kind]
        namespace = "" if kind == "node" else info.namespace
        bound = self._bound(kind, plural, namespace, name)
        if ref.get("uid") and ref["uid"] != bound.uid:
            why = f"the UID in the bound object reference ({ref['uid']}) does not match the UID in"
            why += " record. The object might have been deleted and then recreated"
            raise conflict("", plural, name, why)
        return (bound, *self._of_pod(info, name)) if kind == "pod" else (bound,)

    def _of_pod(self, info: RequestInfo, name: str) -> Sequence[Bound]:
        """Its node; and the pod has to run as this account."""
        spec = self._object("pods", info.namespace, name).get("spec") or {}
        if spec.get("serviceAccountName") not in ("", None, info.name):
            raise bad_request(
                f'cannot bind token for serviceaccount "{info.name}" to pod running with different'
                " serviceaccount name."
            )
        node = spec.get("nodeName", "")
        if not node or self._registry.storages["nodes"].get(node) is None:
            return ()
        return (self._bound("node", "nodes", "", node),)

    def _object(self, plural: str, namespace: str, name: str) -> Object:
        """Raises ApiError 404."""
        entry = self._registry.storages[plural].get(key_of(namespace, name))
        if entry is None:
            raise not_found("", plural, name)
        obj: Object = msgspec.json.decode(entry.raw)
        return obj

    def _bound(self, kind: str, plural: str, namespace: str, name: str) -> Bound:
        uid = self._object(plural, namespace, name)["metadata"]["uid"]
        return Bound(kind, name, uid)

    def check(self, token: str) -> Claims:
        """A token of ours whose account and bound object are still there. Raises BadToken."""
        claims = self._signer.read(token)
        self._check_there("serviceaccounts", claims.namespace, claims.account)
        if claims.bound is not None:
            is_node = claims.bound.kind == "node"
            namespace = "" if is_node else claims.namespace
            self._check_there(_STORAGES[claims.bound.kind], namespace, claims.bound)
        return claims

    def _check_there(self, plural: str, namespace: str, held: Bound) -> None:
        entry = self._registry.storages[plural].get(key_of(namespace, held.name))
        if entry is None:
            raise BadToken(f"its {held.kind} {held.name} has been deleted")
        if msgspec.json.decode(entry.raw)["metadata"]["uid"] != held.uid:
            raise BadToken(f"its {held.kind} {held.name} has been replaced by another")

    def is_ours(self, token: str) -> bool:
        return self._signer.is_ours(token)


def _lifetime(spec: Object, name: str) -> int:
    """Raises ApiError 422."""
    seconds = spec.get("expirationSeconds")
    if seconds is None:
        return HOUR
    why = ""
    if seconds < SHORTEST:
        why = "may not specify a duration less than 10 minutes"
    elif seconds > LONGEST:
        why = "may not specify a duration larger than 2^32 seconds"
    if why:
        cause = invalid_value("spec.expirationSeconds", seconds, why)
        raise invalid("authentication.k8s.io", "TokenRequest", name, [cause])
    return int(seconds)
