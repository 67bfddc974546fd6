"""Continue tokens of paged lists, in the form that kube-apiserver gives them (KEP-365).

A token says which version of the state is being read and behind which key to go on. Version -1: the
client was told that its state is gone and goes on with whatever is there.
"""

from __future__ import annotations

import base64

import msgspec

LATEST = -1


class _Token(msgspec.Struct):
    v: str
    rv: int = 0
    start: str = ""


def encode_token(version: int, after: str, namespace: str = "") -> str:
    """`after` is the last key given out; tokens hold it relative to the listed namespace."""
    relative = after.removeprefix(f"{namespace}/") if namespace else after
    token = _Token("meta.k8s.io/v1", version, relative + "\0")
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def decode_token(text: str, namespace: str = "") -> tuple[int, str]:
    """(version, key to go on behind). Raises ValueError."""
    try:
        padded = text + "=" * (-len(text) % 4)
        token = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=_Token)
    except (ValueError, msgspec.DecodeError) as error:  # not base64, not JSON
        raise ValueError(f"continue key is not valid: {error}") from error
    if token.v != "meta.k8s.io/v1" or not token.start or token.rv == 0:
        raise ValueError("continue key is not valid: incorrect encoded start or version")
    start = token.start.rstrip("\0").lstrip("/")
    return token.rv, f"{namespace}/{start}" if namespace else start
