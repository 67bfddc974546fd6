"""Who asks, and as whom: bearer tokens, client certificates, service accounts, impersonation.

Where nothing is authorized (`Access.ALWAYS`) everyone known is an administrator, and impersonation
changes nothing but the audit log and what the user is told of himself.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from actors.kube.serve.api import User
from actors.kube.status_errors import bad_request
from cloud.apiserver.access.accounts import AUDIENCES, Accounts
from cloud.apiserver.access.authorizer import AllowAll, Authorizer
from cloud.apiserver.access.policy import MASTERS, Attributes
from cloud.apiserver.access.tokens import AUTHENTICATED, BadToken, account_of, groups_of

if TYPE_CHECKING:
    from aiohttp import web
    from multidict import MultiMapping

UNAUTHENTICATED = "system:unauthenticated"
ADMIN = User("system:admin", (MASTERS, AUTHENTICATED))
ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))
_AUTHENTICATION = "authentication.k8s.io"
_USER, _GROUP, _UID, _EXTRA = (f"impersonate-{what}" for what in ("user", "group", "uid", "extra-"))


class Authenticator:
    """`tokens` maps bearer tokens to users. Without an `authorizer` all of those are in
    system:masters, and with no tokens either everyone is `system:admin`; with one, a user's groups
    follow his name ("alice,developers"), and who shows nothing is `system:anonymous`.
    """

    def __init__(
        self,
        tokens: Mapping[str, str] | None = None,
        accounts: Accounts | None = None,
        authorizer: Authorizer | None = None,
    ) -> None:
        groups = () if authorizer is not None else (MASTERS,)
        self._tokens = {
            token.encode(): _known(text, groups) for token, text in (tokens or {}).items()
        }
        self._accounts = accounts
        self._is_open = authorizer is None and not self._tokens
        self._nobody = ANONYMOUS if authorizer is not None else None
        self._authorizer = authorizer or AllowAll()

    async def __call__(self, request: web.Request) -> User | None:
        user = self._user(request)
        return None if user is None else acting(user, request.headers, self._authorizer)

    def _user(self, request: web.Request) -> User | None:
        certificate = request.get_extra_info("peercert")
        if certificate:
            return from_certificate(certificate)
        header = request.headers.get("Authorization", "")
        scheme, _, token = header.partition(" ")
        if scheme.lower() == "bearer":
            return self.of_token(token.strip()) or self._stranger(token.strip())
        return ADMIN if self._is_open else (None if header else self._nobody)

    def _stranger(self, token: str) -> User | None:
        """An open server takes any token but those that it made itself and no longer knows."""
        is_ours = self._accounts is not None and self._accounts.is_ours(token)
        return ADMIN if self._is_open and not is_ours else None

    def of_token(self, token: str) -> User | None:
        found = self._of_static(token)
        if found is not None or self._accounts is None:
            return found
        try:
            claims = self._accounts.check(token)
        except BadToken:
            return None
        return claims.user() if set(claims.audiences) & set(AUDIENCES) else None

    def _of_static(self, token: str) -> User | None:
        """Compares with all of them, in constant time each."""
        sent, found = token.encode(), None
        for known, user in self._tokens.items():
            if hmac.compare_digest(known, sent):
                found = user
        return found

    def review(self, token: str, audiences: tuple[str, ...]) -> tuple[User, tuple[str, ...]] | None:
        """Who that is, and for which of `audiences` (none: our own) the token is good."""
        wanted = audiences or AUDIENCES
        static = self._of_static(token)
        if static is not None:
            both = tuple(each for each in wanted if each in AUDIENCES)
            return (static, both) if both else None
        try:
            claims = self._accounts.check(token) if self._accounts is not None else None
        except BadToken:
            return None
        both = tuple(each for each in wanted if claims is not None and each in claims.audiences)
        return (claims.user(), both) if claims is not None and both else None


def _known(text: str, more: tuple[str, ...]) -> User:
    """From "name" or "name,group,group"."""
    name, *groups = (part.strip() for part in text.split(","))
    return User(name, (*more, *groups, AUTHENTICATED))


def from_certificate(certificate: Mapping[str, Any]) -> User | None:
    """Common name and organizations of a verified client certificate (as `ssl` shows it)."""
    subject = [pair for names in certificate.get("subject", ()) for pair in names]
    name = next((value for field, value in subject if field == "commonName"), "")
    groups = tuple(value for field, value in subject if field == "organizationName")
    return User(name, (*groups, AUTHENTICATED)) if name else None


# -- impersonation ---------------------------------------------------------------------------------


def acting(user: User, headers: MultiMapping[str], authorizer: Authorizer | None = None) -> User:
    """The user, as whom he wants to be seen.

    Raises ApiError: 400 for groups without a user, 403 for what he may not be.
    """
    wanted = _wanted(headers)
    if wanted is None:
        return user
    for asked in _claims(user, wanted):
        (authorizer or AllowAll()).check(asked)
    return replace(user, acting=_completed(wanted))


def _wanted(headers: MultiMapping[str]) -> User | None:
    name = headers.get(_USER, "")
    extra: dict[str, tuple[str, ...]] = {}
    for header, value in headers.items():
        if header.lower().startswith(_EXTRA):
            key = unquote(header.lower().removeprefix(_EXTRA))
            extra[key] = (*extra.get(key, ()), value)
    groups, uid = tuple(headers.getall(_GROUP, ())), headers.get(_UID, "")
    if not name:
        if groups or uid or extra:
            raise bad_request("requested groups, uid or extra of an impersonation without a user")
        return None
    return User(name, groups, uid, extra)


def _claims(user: User, wanted: User) -> list[Attributes]:
    """What the verb `impersonate` is needed for."""
    account = account_of(wanted.name)
    if account is not None:
        found = [_may_be(user, "serviceaccounts", account[1], namespace=account[0])]
    else:
        found = [_may_be(user, "users", wanted.name)]
    found += [_may_be(user, "groups", group) for group in wanted.groups]
    if wanted.uid:
        found.append(_may_be(user, "uids", wanted.uid, _AUTHENTICATION))
    for key, values in wanted.extra.items():
        found += [_may_be(user, "userextras", each, _AUTHENTICATION, key) for each in values]
    return found


def _may_be(
    user: User,
    resource: str,
    name: str,
    group: str = "",
    subresource: str = "",
    namespace: str = "",
) -> Attributes:
    return Attributes(user, "impersonate", group, resource, subresource, namespace, name)


def _completed(user: User) -> User:
    """With the groups that go without saying."""
    groups = user.groups
    account = account_of(user.name)
    if account is not None and not groups:
        groups = groups_of(account[0])
    if not {AUTHENTICATED, UNAUTHENTICATED} & set(groups):
        is_nobody = user.name == ANONYMOUS.name
        groups = (*groups, UNAUTHENTICATED if is_nobody else AUTHENTICATED)
    return replace(user, groups=groups)
