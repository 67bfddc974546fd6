"""Nodes that come through another one's link: who they are, and that nothing comes twice.

`Sessions` is pure: what came in, who is enrolled in, what may be acted on out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bus.borrow import (
    BadProof,
    Claim,
    Opened,
    Session,
    ask_place,
    open_ask,
    read_hello,
    welcome,
)
from bus.keys import NodeKey

WINDOW = 4096  # requests of one session may overtake each other by so many
MAX_OF_NODE = 4  # sessions; a hub has one, and for a while that of its last lender
MAX_SESSIONS = 4096

KeyOf = Callable[[str, str], str | None]
"""(pool, node) -> the public key it is enrolled with."""


class Numbers:
    """Which were there: each is new once."""

    def __init__(self) -> None:
        self._highest = 0
        self._seen = 0  # bits: how far below the highest

    def take(self, number: int) -> bool:
        """Whether it is new; what is too far behind counts as seen."""
        ahead = number - self._highest
        if ahead > 0:
            kept = self._seen << ahead if ahead < WINDOW else 0
            self._seen = (kept | 1) & ((1 << WINDOW) - 1)
            self._highest = number
            return True
        bit = 1 << -ahead
        if number < 1 or -ahead >= WINDOW or self._seen & bit:
            return False
        self._seen |= bit
        return True


@dataclass
class Held:
    """A session and whose it is."""

    session: Session
    claim: Claim
    public: str
    numbers: Numbers = field(default_factory=Numbers)


class Sessions:
    """Of one replica. They are gone with it, and with them all that was ever said in them."""

    def __init__(self, site: NodeKey, gate: str, key_of: KeyOf) -> None:
        self.gate = gate
        self._site = site
        self._key_of = key_of
        self._held: dict[bytes, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def open(self, pool: str, lender: str, hello: bytes) -> tuple[Held, bytes]:
        """For whom (pool, lender) brings: the session and its welcome. Raises BadProof, BadKey."""
        asked = read_hello(hello)
        claim = asked.claim
        if (claim.pool, claim.lender) != (pool, lender):
            raise BadProof(f"{claim}: not to be brought by {pool}/{lender}")
        public = self._key_of(claim.pool, claim.node)
        if public is None or not asked.is_from(public):
            raise BadProof(f"not signed with the key of {claim.pool}/{claim.node}")
        self._check_room(claim)
        session, raw = welcome(hello, self._site, self.gate)
        held = self._held[session.id] = Held(session, claim, public)
        return held, raw

    def _check_room(self, claim: Claim) -> None:
        own = (h for h in self._held.values() if (h.claim.pool, h.claim.node) == _who(claim))
        if len(self._held) >= MAX_SESSIONS or sum(1 for _ in own) >= MAX_OF_NODE:
            raise BadProof("too many sessions")

    def close(self, held: Held) -> None:
        self._held.pop(held.session.id, None)

    def take(self, pool: str, lender: str, raw: bytes) -> tuple[Held, int, Opened]:
        """The request in `raw`, which will not be taken again. Raises BadProof, StreamBroken."""
        ident, number = ask_place(raw)
        held = self._held.get(ident)
        if held is None:
            raise BadProof("a session that is not (or no longer) ours")
        if (held.claim.pool, held.claim.lender) != (pool, lender):
            raise BadProof(f"a session of {held.claim}, brought by {pool}/{lender}")
        if not self._is_enrolled(held):
            raise BadProof(f"{held.claim.pool}/{held.claim.node} has another key now, or none")
        opened = open_ask(held.session, raw)
        if not held.numbers.take(number):
            raise BadProof("a request that came before")
        return held, number, opened

    def revoked(self) -> Iterable[Held]:
        """Those whose nodes are not enrolled any more with the key they came with."""
        return [held for held in self._held.values() if not self._is_enrolled(held)]

    def _is_enrolled(self, held: Held) -> bool:
        return self._key_of(*_who(held.claim)) == held.public


def _who(claim: Claim) -> tuple[str, str]:
    return claim.pool, claim.node
