"""Tokens of service accounts: JWTs, signed with a key of this server. The home of PyJWT.

ES256: a signature is checked with each request, which costs a tenth of a millisecond.
"""

from __future__ import annotations

import hashlib
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from actors.kube.serve.api import User
from actors.kube.serve.certificate import keep_secret

Object = dict[str, Any]
ISSUER = "https://kubernetes.default.svc.cluster.local"
PREFIX = "system:serviceaccount:"
_ALGORITHM = "ES256"
_PRIVATE = "kubernetes.io"  # the claim that names account and bound object
_EXTRA = "authentication.kubernetes.io"


class BadToken(Exception):
    """Not one of ours, or no longer valid."""


class Bound(NamedTuple):
    """An object by which a token stands and falls."""

    kind: str  # "pod", "secret", "node"; "serviceaccount" for the account itself
    name: str
    uid: str


class Claims(NamedTuple):
    """What a valid token says."""

    namespace: str
    account: Bound
    audiences: tuple[str, ...]
    credential: str  # the token's own id
    bound: Bound | None = None
    node: Bound | None = None  # of the bound pod

    def user(self) -> User:
        extra = {f"{_EXTRA}/credential-id": (f"JTI={self.credential}",)}
        for each in (self.bound, self.node):
            if each is not None and each.kind != "secret":
                extra[f"{_EXTRA}/{each.kind}-name"] = (each.name,)
                extra[f"{_EXTRA}/{each.kind}-uid"] = (each.uid,)
        name = f"{PREFIX}{self.namespace}:{self.account.name}"
        return User(name, (*groups_of(self.namespace), AUTHENTICATED), self.account.uid, extra)


AUTHENTICATED = "system:authenticated"


def groups_of(namespace: str) -> tuple[str, ...]:
    return "system:serviceaccounts", f"system:serviceaccounts:{namespace}"


def account_of(user: str) -> tuple[str, str] | None:
    """(namespace, name) of a service account by its user name."""
    namespace, colon, name = user.removeprefix(PREFIX).partition(":")
    return (namespace, name) if user.startswith(PREFIX) and colon and name else None


class Signer:
    """Issues and reads tokens; whether account and bound object still exist is for the caller."""

    def __init__(self, file: Path, wall: Callable[[], float]) -> None:
        self._key = _load_or_create(file)
        self._public = self._key.public_key()
        self._key_id = _key_id(self._public)
        self._wall = wall

    def issue(
        self,
        namespace: str,
        account: Bound,
        audiences: Sequence[str],
        seconds: int,
        bound: Sequence[Bound] = (),
    ) -> tuple[str, int]:
        """The token, and until when it holds (seconds since the epoch)."""
        now = int(self._wall())
        private: Object = {"namespace": namespace}
        for each in (account, *bound):
            private[each.kind] = {"name": each.name, "uid": each.uid}
        claims = {
            "aud": list(audiences),
            "exp": now + seconds,
            "iat": now,
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            _PRIVATE: private,
            "nbf": now,
            "sub": f"{PREFIX}{namespace}:{account.name}",
        }
        token = jwt.encode(claims, self._key, _ALGORITHM, headers={"kid": self._key_id})
        return token, now + seconds

    def read(self, token: str) -> Claims:
        """Raises BadToken."""
        # Times are checked by our own clock, audiences by whoever knows which are right.
        options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
        options |= {"verify_aud": False, "require": ["aud", "exp", "iat", "iss", "jti", "sub"]}
        try:
            claims = jwt.decode(
                token, self._public, algorithms=[_ALGORITHM], issuer=ISSUER, options=options
            )
        except jwt.PyJWTError as error:
            raise BadToken(str(error)) from error
        if not claims.get("nbf", 0) <= self._wall() < claims["exp"]:
            raise BadToken("it has expired, or is of the future")
        return _parsed(claims)

    def is_ours(self, token: str) -> bool:
        """Whether it says that we made it; it may still be forged or old."""
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError:
            return False
        return bool(claims.get("iss") == ISSUER)


def _parsed(claims: Mapping[str, Any]) -> Claims:
    private = claims[_PRIVATE]
    held = {
        kind: Bound(kind, private[kind]["name"], private[kind]["uid"])
        for kind in ("serviceaccount", "pod", "secret", "node")
        if kind in private
    }
    bound = held.get("pod") or held.get("secret") or held.get("node")
    return Claims(
        private["namespace"],
        held["serviceaccount"],
        tuple(claims["aud"]),
        claims["jti"],
        bound,
        held.get("node") if "pod" in held else None,
    )


def _load_or_create(file: Path) -> ec.EllipticCurvePrivateKey:
    if not file.is_file():
        _create(file)
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{file}: not a key of an elliptic curve")
    return key


def _create(file: Path) -> None:
    text = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    keep_secret(file, text)


def _key_id(key: ec.EllipticCurvePublicKey) -> str:
    """As upstream: the hash of the public key."""
    raw = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()
