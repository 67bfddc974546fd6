"""Borrowed links: how a node without a link asks ApiGate through another node of its pool.

On the cloud bus the subject proves who asks, and through a lender it would name the lender. So the
borrower proves itself, and trusts the lender with nothing but carrying:

* A handshake, once for a session: the borrower signs (with the key that it is enrolled with) who it
  is, who lends, and a fresh X25519 key; the replica of ApiGate signs (with the site's key) its own.
  What follows is sealed with keys that only these two know: the lender cannot read, alter or make
  requests or answers, nor cut an answer short unseen.
* No clocks: those at the edge are wrong by hours. Each request of a session has a number, which
  works once; a session lives in one replica, as long as the stream that it was made by, and its
  keys with it. So a request that was recorded is refused by that replica, and gibberish to all
  others, for ever.
* A request that may write is sent once. A lender's word that nobody took it is worth nothing.

`crypto.py` knows the algorithms, `handshake.py` makes sessions, `sealed.py` what is said in them.
"""

from bus.borrow.crypto import BadProof
from bus.borrow.handshake import (
    ASK,
    GATE_HEADER,
    HELLO,
    KEY,
    KEY_HEADER,
    METHODS,
    WELCOME_HEADER,
    WHO,
    Asked,
    Claim,
    Hello,
    Session,
    read_hello,
    welcome,
)
from bus.borrow.sealed import (
    SEALED,
    Opened,
    SealRecords,
    Unsealed,
    ask_place,
    open_ask,
    seal_ask,
)

__all__ = [
    "ASK",
    "GATE_HEADER",
    "HELLO",
    "KEY",
    "KEY_HEADER",
    "METHODS",
    "SEALED",
    "WELCOME_HEADER",
    "WHO",
    "Asked",
    "BadProof",
    "Claim",
    "Hello",
    "Opened",
    "SealRecords",
    "Session",
    "Unsealed",
    "ask_place",
    "open_ask",
    "read_hello",
    "seal_ask",
    "welcome",
]
