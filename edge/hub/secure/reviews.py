"""The API server's word on tokens and rights, remembered. As the node, which may ask for both."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from actors.kube.selectors import SelectorError, parse_fields
from actors.kube.serve.api import RequestInfo, User
from actors.kube.status_errors import ApiError, service_unavailable
from edge.hub.secure.remembered import Held, Question, Remembered
from edge.offline import Upstream

TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "User-Agent": "atoll-hub",
}


@dataclass(frozen=True, kw_only=True)
class ReviewSettings:
    """Seconds for which an answer holds without asking again; upstream's, but for tokens."""

    token_good: float = 60.0  # a revoked token works so long; upstream's kubelet: 120 s
    token_bad: float = 10.0
    right_yes: float = 300.0
    right_no: float = 30.0
    again: float = 5.0  # after a question that got no answer, the last known one holds so long
    at_a_time: int = 16  # questions; nobody is let in by asking
    most: int = 4096  # answers of each kind; the least recently used go


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
    """Questions that are asked at the same time are asked once."""

    def __init__(
        self,
        upstream: Upstream,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        settings: ReviewSettings | None = None,
    ) -> None:
        self.settings = settings or ReviewSettings()
        self.asked = 0
        self.tokens: Remembered[User] = Remembered(self.settings.most)
        self.rights: Remembered[bool] = Remembered(self.settings.most)
        # Apart, so that who tries many does not crowd out those that are good.
        self._bad: Remembered[None] = Remembered(self.settings.most)
        self._asking = asyncio.Semaphore(self.settings.at_a_time)
        self._upstream = upstream
        self._monotonic = monotonic
        self._wall = wall
        self._silent_until = float("-inf")
        self._locks: WeakValueDictionary[Question, asyncio.Lock] = WeakValueDictionary()

    async def user_of(self, token: str) -> User | None:
        """None: the token is not good. Raises ApiError 503 where that is not known."""
        expiry = expiry_of(token)
        if expiry is not None and expiry <= self._wall():
            return None
        question = (hashlib.sha256(token.encode()).hexdigest(),)  # tokens themselves are not kept
        async with self._lock(question):
            held = self.tokens.get(question) or self._bad.get(question)
            if held is None or self._monotonic() >= held.until:
                return await self._whose(question, token, held, has_end=expiry is not None)
        return held.answer

    async def _whose(
        self,
        question: Question,
        token: str,
        held: Held[User] | Held[None] | None,
        *,
        has_end: bool,
    ) -> User | None:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
        told = await self._ask(TOKEN_REVIEWS, body | {"spec": {"token": token}})
        if told is None:
            # A token without an end would be good for ever: nobody could take it back.
            if held is not None and (held.answer is None or has_end):
                return held.answer
            raise service_unavailable("whose token this is cannot be asked now", 5)
        now = self._monotonic()
        if told.authenticated and told.user.username:
            return self.tokens.put(question, _user(told.user), now + self.settings.token_good)
        self.tokens.drop(question)
        return self._bad.put(question, None, now + self.settings.token_bad)

    async def authorize(self, info: RequestInfo) -> None:
        """Before an answer from what is kept here; who came without credentials is the node.

        Raises ApiError: 403 where the user may not, 503 where that is not known.
        """
        if info.user is not None:
            await self.check(info.user, info)

    async def check(self, user: User, info: RequestInfo) -> None:
        """As `authorize`."""
        attributes = _attributes(info)
        asked = (f"{name}={value}" for name, value in sorted(attributes.items()))
        question = (user.name, user.uid, *sorted(user.groups), *asked)
        async with self._lock(question):
            held = self.rights.get(question)
            if held is None or self._monotonic() >= held.until:
                may = await self._may(question, user, attributes, held)
            else:
                may = held.answer
        if not may:
            raise forbidden(user, info)

    async def _may(
        self, question: Question, user: User, attributes: dict[str, str], held: Held[bool] | None
    ) -> bool:
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
            return held.answer
        good = self.settings.right_yes if told.allowed else self.settings.right_no
        return self.rights.put(question, told.allowed, self._monotonic() + good)

    def _lock(self, question: Question) -> asyncio.Lock:
        lock = self._locks.get(question)
        if lock is None:
            lock = self._locks[question] = asyncio.Lock()
        return lock

    async def _ask(self, path: str, body: dict[str, Any]) -> _Told | None:
        """None where there is no answer to be had."""
        if self._monotonic() < self._silent_until:
            return None
        self.asked += 1
        content = msgspec.json.encode(body)
        try:
            async with self._asking:
                status, raw = await self._upstream.request("POST", path, _HEADERS, content, "")
            if status in (200, 201):
                return msgspec.json.decode(raw, type=_Review).status
        except (ApiError, OSError, TimeoutError, msgspec.DecodeError):
            pass
        self._silent_until = self._monotonic() + self.settings.again
        return None


def _user(told: _UserInfo) -> User:
    extra = {name: tuple(values) for name, values in told.extra.items()}
    return User(told.username, tuple(told.groups), told.uid, extra)


def _attributes(info: RequestInfo) -> dict[str, str]:
    """As the API server's own authorizers are given them."""
    is_namespace = (info.group, info.plural) == ("", "namespaces")
    found = {
        "namespace": info.namespace or (info.name if is_namespace else ""),
        "verb": info.verb,
        "group": info.group,
        "version": info.version,
        "resource": info.plural,
        "subresource": info.subresource,
        "name": info.name or _selected_name(info),
    }
    return {name: value for name, value in found.items() if value}


def _selected_name(info: RequestInfo) -> str:
    """A list or watch of one object by name is of that object: a Role may name it."""
    try:
        terms = parse_fields(info.query.get("fieldSelector", ""))
    except SelectorError:
        return ""
    named = (t.value for t in terms if t.name == "metadata.name" and t.equal)
    return next(named, "")


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
