"""How a borrower and a replica of ApiGate get keys of their own. Pure but for fresh keys."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from bus.borrow.crypto import BadProof, Ephemeral
from bus.envelope import pack, unpack
from bus.errors import DecodeError
from bus.keys import NodeKey, is_signed

# Methods of requests that are about borrowing; no path, no headers but these of ours.
WHO = "ATOLL-WHO"  # of a lender: who are you (the answer's server says it)
KEY = "ATOLL-KEY"  # of ApiGate, by an own link: the site's public key
HELLO = "ATOLL-HELLO"  # of ApiGate: a session; its stream lasts as long
ASK = "ATOLL-ASK"  # of ApiGate: a sealed request
METHODS = frozenset({HELLO, ASK})  # what a lender carries; nothing else, for it would act as it

GATE_HEADER = "Atoll-Gate"  # which replica shall have it
WELCOME_HEADER = "Atoll-Welcome"
KEY_HEADER = "Atoll-Key"

_HELLO, _WELCOME = "borrow-hello", "borrow-welcome"
_SIGNED = b"atoll %s v1\0"
ID_BYTES = 16


@dataclass(frozen=True)
class Claim:
    """Who asks, and through whom."""

    pool: str
    node: str
    lender: str


@dataclass(frozen=True)
class Session:
    id: bytes
    gate: str  # the replica that has it
    secret: bytes


@dataclass(frozen=True)
class Asked:
    """A hello as it came; `is_from` before anything of it is believed."""

    claim: Claim
    fresh: bytes
    raw: bytes
    signature: bytes

    def is_from(self, public: str) -> bool:
        return is_signed(public, _signed(_HELLO, self.raw), self.signature)


class Hello:
    """The borrower's side."""

    def __init__(self, key: NodeKey, claim: Claim) -> None:
        """Raises BadKey."""
        self._fresh = Ephemeral()
        said = pack(_HELLO, [claim.pool, claim.node, claim.lender, self._fresh.public])
        self.raw = pack(_HELLO, [said, key.sign(_signed(_HELLO, said))])

    def session(self, raw: bytes, site: str) -> tuple[Session, str]:
        """The session, and the key that signed for it: `site`'s; if that is "", any.

        Raises BadProof.
        """
        said, signature = _parts(raw, _WELCOME, bytes, bytes)
        ident, gate, fresh, public = _parts(said, _WELCOME, bytes, str, bytes, str)
        if site and public != site:
            raise BadProof(f"ApiGate signs with {public[:60]!r}, the cloud site has {site}")
        if not is_signed(public, _signed(_WELCOME, self.raw + said), signature):
            raise BadProof("the welcome is not ApiGate's, or not for us")
        secret = self._fresh.secret(fresh, self.raw + said)
        return Session(ident, gate, secret), public


def read_hello(raw: bytes) -> Asked:
    """Raises BadProof."""
    said, signature = _parts(raw, _HELLO, bytes, bytes)
    pool, node, lender, fresh = _parts(said, _HELLO, str, str, str, bytes)
    return Asked(Claim(pool, node, lender), fresh, said, signature)


def welcome(hello: bytes, key: NodeKey, gate: str) -> tuple[Session, bytes]:
    """ApiGate's side, for a hello whose sender was checked. Raises BadProof, BadKey."""
    own, ident = Ephemeral(), secrets.token_bytes(ID_BYTES)
    said = pack(_WELCOME, [ident, gate, own.public, key.public])
    secret = own.secret(read_hello(hello).fresh, hello + said)
    signature = key.sign(_signed(_WELCOME, hello + said))
    return Session(ident, gate, secret), pack(_WELCOME, [said, signature])


def _signed(kind: str, raw: bytes) -> bytes:
    """With its kind, so that no signature serves for anything else."""
    return _SIGNED % kind.encode() + raw


def _parts(raw: bytes, kind: str, *shape: type) -> list[Any]:
    try:
        body = unpack(raw, {kind}).body
    except DecodeError as error:
        raise BadProof(str(error)) from error
    if not isinstance(body, list) or [type(part) for part in body] != list(shape):
        raise BadProof(f"{kind}: parts of other types")
    return body
