"""A node's identity: an nkeys user whose seed never leaves its machine.

A public key is base32 of: prefix byte, 32 bytes of Ed25519, CRC-16 (XMODEM, little endian).
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import nkeys
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bus.errors import BusError

log = logging.getLogger(__name__)

_SEED_BYTES = 32
_PUBLIC_BYTES = 35


class BadKey(BusError):
    """A key file or public key that is not what it should be; the text names it."""


@dataclass(frozen=True)
class NodeKey:
    public: str  # "U...", what the bus server knows the node by
    seed_file: Path  # "SU...", mode 0600

    @classmethod
    def load_or_create(cls, path: Path) -> NodeKey:
        """The key in `path`, made at the first call, by whichever process is first.

        Raises BadKey if the file holds none or cannot be read or made.
        """
        try:
            if not path.exists():
                _create(path)
            seed = bytearray(path.read_bytes().strip())
            if path.stat().st_mode & 0o077:
                log.warning("%s: others may read this seed; chmod 600 it", path)
        except OSError as error:
            raise BadKey(f"{path}: {error.strerror or error}") from error
        return cls(_public(seed, path), path)

    def sign(self, data: bytes) -> bytes:
        """64 bytes of Ed25519. Raises BadKey if the seed cannot be read any more."""
        try:
            pair = nkeys.from_seed(bytearray(self.seed_file.read_bytes().strip()))
            signature = bytes(pair.sign(data))
        except Exception as error:  # nkeys raises many kinds
            raise BadKey(f"{self.seed_file}: cannot sign ({type(error).__name__})") from error
        pair.wipe()
        return signature


def is_signed(public: str, data: bytes, signature: bytes) -> bool:
    """Whether the holder of that key signed it; never for what is no key or no signature."""
    try:
        # nkeys itself checks with whole pairs only.
        key = Ed25519PublicKey.from_public_bytes(_raw(check_public(public))[1:-2])
        key.verify(signature, data)
    except (BadKey, InvalidSignature, ValueError):
        return False
    return True


def _public(seed: bytearray, path: Path) -> str:
    try:
        pair = nkeys.from_seed(seed)
        public = str(pair.public_key.decode())
        pair.wipe()
    except Exception as error:  # nkeys raises many kinds
        raise BadKey(f"{path}: not an nkeys user seed ({type(error).__name__})") from error
    if not public.startswith("U"):
        raise BadKey(f"{path}: an nkeys seed, but not a user's (SU...)")
    return public


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = nkeys.encode_seed(os.urandom(_SEED_BYTES), nkeys.PREFIX_BYTE_USER)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(seed)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)
    except FileExistsError:
        log.debug("%s: another process was first", path)
    finally:
        partial.unlink()


def check_public(key: str) -> str:
    """The key, stripped, if it is a public user key; else raises BadKey."""
    text = key.strip()
    try:
        raw = _raw(text)
    except (binascii.Error, ValueError) as error:
        raise BadKey(f"{text[:60]!r}: not an nkeys public key") from error
    is_user = len(raw) == _PUBLIC_BYTES and raw[0] == nkeys.PREFIX_BYTE_USER
    if not is_user or binascii.crc_hqx(raw[:-2], 0) != int.from_bytes(raw[-2:], "little"):
        raise BadKey(f"{text[:60]!r}: not an nkeys public user key (U...)")
    return text


def _raw(key: str) -> bytes:
    return base64.b32decode(key + "=" * (-len(key) % 8))
