"""Who asks: bearer tokens, client certificates, impersonation. Everyone known is an administrator.

Impersonation changes nothing but the audit log: there is no authorization to evade.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actors.kube.serve.api import User
from actors.kube.status_errors import bad_request

if TYPE_CHECKING:
    from aiohttp import web

ADMIN = User("system:admin", ("system:masters", "system:authenticated"))
_GROUPS = ("system:masters", "system:authenticated")


class Authenticator:
    """`tokens` maps bearer tokens to user names; with none, everyone is `system:admin`."""

    def __init__(self, tokens: Mapping[str, str] | None = None) -> None:
        self._tokens = {token.encode(): name for token, name in (tokens or {}).items()}

    async def __call__(self, request: web.Request) -> User | None:
        user = self._user(request)
        return None if user is None else acting(user, request.headers)

    def _user(self, request: web.Request) -> User | None:
        certificate = request.get_extra_info("peercert")
        if certificate:
            return from_certificate(certificate)
        if not self._tokens:
            return ADMIN
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return self._of_token(token.strip()) if scheme.lower() == "bearer" else None

    def _of_token(self, token: str) -> User | None:
        """Compares with all of them, in constant time each."""
        sent, found = token.encode(), ""
        for known, name in self._tokens.items():
            if hmac.compare_digest(known, sent):
                found = name
        return User(found, _GROUPS) if found else None


def from_certificate(certificate: Mapping[str, Any]) -> User | None:
    """Common name and organizations of a verified client certificate (as `ssl` shows it)."""
    subject = [pair for names in certificate.get("subject", ()) for pair in names]
    name = next((value for field, value in subject if field == "commonName"), "")
    groups = tuple(value for field, value in subject if field == "organizationName")
    return User(name, (*groups, "system:authenticated")) if name else None


def acting(user: User, headers: Mapping[str, str]) -> User:
    """The user, as whom it wants to be seen. Raises ApiError 400 for groups without a user."""
    name = headers.get("Impersonate-User", "")
    if name:
        return replace(user, acting=User(name))
    if any(header.lower().startswith("impersonate-") for header in headers):
        raise bad_request("requested groups, uid or extra of an impersonation without a user")
    return user
