"""Continue tokens: ours read back, upstream's understood, nonsense refused."""

from __future__ import annotations

import base64

import pytest

from actors.kube.continue_token import decode_token, encode_token


@pytest.mark.parametrize("namespace", ["", "a"])
def test_round_trip(namespace: str) -> None:
    assert decode_token(encode_token(7, "a/b", namespace), namespace) == (7, "a/b")


def test_same_form_as_upstream() -> None:
    token = encode_token(7, "a/b")
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert raw == b'{"v":"meta.k8s.io/v1","rv":7,"start":"a/b\\u0000"}'


@pytest.mark.parametrize("text", ["x", "!!!", "bm90IGpzb24", "e30", "eyJ2IjoieCJ9", "\u00e9"])
def test_nonsense(text: str) -> None:
    with pytest.raises(ValueError, match="continue key is not valid"):
        decode_token(text)
