"""A node's identity: an nkeys user whose seed never leaves its machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import nkeys

from bus.errors import BusError


class BadKey(BusError):
    """A key file or public key that is not what it should be; the text names it."""


@dataclass(frozen=True)
class NodeKey:
    public: str  # "U...", what the bus server knows the node by
    seed_file: Path  # "SU...", mode 0600

    @classmethod
    def load_or_create(cls, path: Path) -> NodeKey:
        """The key in `path`, made at the first call. Raises BadKey if the file holds none."""
        if not path.exists():
            _create(path)
        try:
            pair = nkeys.from_seed(bytearray(path.read_bytes().strip()))
        except Exception as error:  # nkeys raises many kinds
            raise BadKey(f"{path}: not an nkeys user seed ({error!r})") from error
        return cls(pair.public_key.decode(), path)


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(seed)
    partial.replace(path)


def check_public(key: str) -> str:
    """The key, if it is a public user key; raises BadKey."""
    import base64
    import binascii

    try:
        raw = base64.b32decode(key.strip() + "=" * (-len(key.strip()) % 8))
    except (binascii.Error, ValueError) as error:
        raise BadKey(f"{key[:60]!r}: not an nkeys public key") from error
    is_user = len(raw) == 35 and raw[0] == nkeys.PREFIX_BYTE_USER
    if not is_user or binascii.crc_hqx(raw[:-2], 0) != int.from_bytes(raw[-2:], "little"):
        raise BadKey(f"{key[:60]!r}: not an nkeys public user key (U...)")
    return key.strip()
