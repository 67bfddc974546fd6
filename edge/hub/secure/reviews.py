"""The API server's word on tokens and rights, remembered. As the node, which may ask for both."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from actors.kube.serve.api import RequestInfo, User
from actors.kube.status_errors import ApiError, service_unavailable
from edge.offline import Upstream

TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "User-Agent": "atoll-hub",
}
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ReviewSettings:
    """Seconds for which an answer holds without asking again; upstream's, but for tokens."""

    token_good: float = 60.0  # a revoked token works so long; upstream's kubelet: 120 s
    token_bad: float = 10.0
    right_yes: float = 300.0
    right_no: float = 30.0
    most: int = 4096  # answers of each kind; the least recently used go


@dataclass
class Remembered(Generic[T]):
    """Answers by question, bounded."""

    most: int
    _held: OrderedDict[Hashable, tuple[T, float]] = field(default_factory=OrderedDict)

    def get(self, question: Hashable) -> tuple[T, float] | None:
        """The answer, and until when nobody need be asked again."""
        held = self._held.get(question)
        if held is not None:
            self._held.move_to_end(question)
        return held

    def put(self, question: Hashable, answer: T, until: float) -> None:
        self._held[question] = answer, until
        self._held.move_to_end(question)
        if len(self._held) > self.most:
            self._held.popitem(last=False)

    def __len__(self) -> int:
        return len(self._held)


class _UserInfo(msgspec.Struct):
    username: str = ""
    uid: str = ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}


class _Told(msgspec.Struct):
    authenticated: bool = False
    user: _UserInfo = msgspec.field(default_factory=_UserInfo)
    allowed: bool = False
    reason: str = ""


class _Review(msgspec.Struct):
    status: _Told = msgspec.field(default_factory=_Told)


class Reviews:
    def __init__(
        self,
        upstream: Upstream,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        settings: ReviewSettings | None = None,
    ) -> None:
        self.settings = settings or ReviewSettings()
        self.asked = 0
        self._upstream = upstream
        self._monotonic = monotonic
        self._wall = wall
        self._tokens: Remembered[User | None] = Remembered(self.settings.most)
        self._rights: Remembered[bool] = Remembered(self.settings.most)

    async def user_of(self, token: str) -> User | None:
        """None: the token is not good. Raises ApiError 503 where that is not known."""
        expiry = expiry_of(token)
        if expiry is not None and expiry <= self._wall():
            return None
        question = hashlib.sha256(token.encode()).digest()  # tokens are not kept in memory
        held = self._tokens.get(question)
        if held is not None and self._monotonic() < held[1]:
            return held[0]
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
        told = await self._ask(TOKEN_REVIEWS, body | {"spec": {"token": token}})
        if told is None:
            # A token without an end would be good for ever: nobody could take it back.
            if held is not None and (held[0] is None or expiry is not None):
                return held[0]
            raise service_unavailable("whose token this is cannot be asked now", 5)
        user = _user(told.user) if told.authenticated and told.user.username else None
        good = self.settings.token_good if user else self.settings.token_bad
        self._tokens.put(question, user, self._monotonic() + good)
        return user

    async def check(self, user: User, info: RequestInfo) -> None:
        """Raises ApiError: 403 where the user may not, 503 where that is not known."""
        attributes = _attributes(info)
        groups = tuple(sorted(user.groups))
        question = (user.name, user.uid, groups, *sorted(attributes.items()))
        held = self._rights.get(question)
        if held is None or self._monotonic() >= held[1]:
            held = await self._asked(question, user, attributes, held)
        if not held[0]:
            raise forbidden(user, info)

    async def _asked(
        self,
        question: Hashable,
        user: User,
        attributes: dict[str, str],
        held: tuple[bool, float] | None,
    ) -> tuple[bool, float]:
        spec: dict[str, Any] = {
            "user": user.name,
            "groups": list(user.groups),
            "uid": user.uid,
            "extra": {name: list(values) for name, values in user.extra.items()},
            "resourceAttributes": attributes,
        }
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
        told = await self._ask(ACCESS_REVIEWS, body | {"spec": spec})
        if told is None:
            if held is None:
                raise service_unavailable(f"whether {user.name} may do this cannot be asked now", 5)
            return held
        good = self.settings.right_yes if told.allowed else self.settings.right_no
        answer = told.allowed, self._monotonic() + good
        self._rights.put(question, *answer)
        return answer

    async def _ask(self, path: str, body: dict[str, Any]) -> _Told | None:
        """None where there is no answer to be had."""
        self.asked += 1
        try:
            status, raw = await self._upstream.request(
                "POST", path, _HEADERS, msgspec.json.encode(body), ""
            )
            if status in (200, 201):
                return msgspec.json.decode(raw, type=_Review).status
        except (ApiError, OSError, TimeoutError, msgspec.DecodeError):
            pass
        return None


def _user(told: _UserInfo) -> User:
    extra = {name: tuple(values) for name, values in told.extra.items()}
    return User(told.username, tuple(told.groups), told.uid, extra)


def _attributes(info: RequestInfo) -> dict[str, str]:
    found = {
        "namespace": info.namespace,
        "verb": info.verb,
        "group": info.group,
        "version": info.version,
        "resource": info.plural,
        "subresource": info.subresource,
        "name": info.name,
    }
    return {name: value for name, value in found.items() if value}


def forbidden(user: User, info: RequestInfo) -> ApiError:
    """As upstream says it."""
    resource = info.plural + (f"/{info.subresource}" if info.subresource else "")
    named = f"{info.plural}.{info.group}" if info.group else info.plural
    what = f'{named} "{info.name}"' if info.name else named
    where = f'in the namespace "{info.namespace}"' if info.namespace else "at the cluster scope"
    details = {"name": info.name, "group": info.group, "kind": info.plural}
    return ApiError(
        403,
        "Forbidden",
        f'{what} is forbidden: User "{user.name}" cannot {info.verb} resource "{resource}"'
        f' in API group "{info.group}" {where}',
        {name: value for name, value in details.items() if value},
    )


class _Claims(msgspec.Struct):
    exp: float | None = None


def expiry_of(token: str) -> float | None:
    """Seconds since 1970, as a JWT says of itself; None for what says nothing. Not verified: it can
    only make a token worse than the API server said."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=_Claims).exp
    except (binascii.Error, ValueError, msgspec.DecodeError):
        return None
