"""X25519, HKDF-SHA256 and ChaCha20-Poly1305, as sessions use them.

ChaCha20: nodes at the edge are often small ARM machines without AES in hardware.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bus.errors import BusError

KEY_BYTES = 32
OVERHEAD = 16  # bytes that a seal adds


class BadProof(BusError):
    """What came is not what an honest peer of this session says; nothing of it was used."""


class Ephemeral:
    """One side's fresh key; gone with the handshake."""

    def __init__(self) -> None:
        self._private = X25519PrivateKey.generate()
        self.public = self._private.public_key().public_bytes_raw()

    def secret(self, other: bytes, transcript: bytes) -> bytes:
        """What only the two know who said `transcript`. Raises BadProof."""
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(other))
        except ValueError as error:
            raise BadProof("not an X25519 key") from error
        return derive(shared, b"session", salt=hashlib.sha256(transcript).digest())


def derive(secret: bytes, purpose: bytes, salt: bytes | None = None) -> bytes:
    made = HKDF(SHA256(), KEY_BYTES, salt=salt, info=b"atoll borrow v1 " + purpose)
    return made.derive(secret)


class Seals:
    """Seals or opens in order, under a key of its own: which place, and what it is, is sealed."""

    def __init__(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(key)
        self._place = 0

    def seal(self, data: bytes, context: bytes = b"") -> bytes:
        return self._cipher.encrypt(self._next(), data, context)

    def open(self, sealed: bytes, context: bytes = b"") -> bytes:
        """Raises BadProof."""
        try:
            return self._cipher.decrypt(self._next(), sealed, context)
        except InvalidTag as error:
            raise BadProof("a seal that does not hold") from error

    def _next(self) -> bytes:
        self._place += 1
        return self._place.to_bytes(12, "big")
