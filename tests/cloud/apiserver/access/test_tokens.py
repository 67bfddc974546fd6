"""Tokens of service accounts: whom they show, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jwt
import pytest

from cloud.apiserver.access.tokens import ISSUER, BadToken, Bound, Signer

ACCOUNT = Bound("serviceaccount", "bot", "u1")


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_token_says_whose_it_is(tmp_path: Path) -> None:
    signer = Signer(tmp_path / "key", Clock())
    bound = (Bound("pod", "p", "u2"), Bound("node", "n1", "u3"))
    token, until = signer.issue("ns", ACCOUNT, ["a", "b"], 600, bound)
    claims = signer.read(token)
    assert (claims.audiences, until) == (("a", "b"), 1_000_600)
    user = claims.user()
    assert user.name == "system:serviceaccount:ns:bot"
    assert user.groups == (
        "system:serviceaccounts",
        "system:serviceaccounts:ns",
        "system:authenticated",
    )
    assert user.uid == "u1"
    assert user.extra["authentication.kubernetes.io/pod-name"] == ("p",)
    assert user.extra["authentication.kubernetes.io/node-uid"] == ("u3",)
    assert user.extra["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")


def test_claims_are_upstream_s(tmp_path: Path) -> None:
    """What clients look into tokens for."""
    token, _ = Signer(tmp_path / "key", Clock()).issue("ns", ACCOUNT, ["a"], 600)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims.pop("jti")
    assert claims == {
        "aud": ["a"],
        "exp": 1_000_600,
        "iat": 1_000_000,
        "nbf": 1_000_000,
        "iss": ISSUER,
        "kubernetes.io": {"namespace": "ns", "serviceaccount": {"name": "bot", "uid": "u1"}},
        "sub": "system:serviceaccount:ns:bot",
    }
    assert jwt.get_unverified_header(token)["kid"]


def test_it_ends(tmp_path: Path) -> None:
    clock = Clock()
    signer = Signer(tmp_path / "key", clock)
    token, _ = signer.issue("ns", ACCOUNT, ["a"], 600)
    clock.now += 599
    assert signer.read(token)
    clock.now += 1
    with pytest.raises(BadToken, match="expired"):
        signer.read(token)
    clock.now -= 601
    with pytest.raises(BadToken, match="future"):
        signer.read(token)


def test_the_key_outlives_a_restart_and_is_private(tmp_path: Path) -> None:
    token, _ = Signer(tmp_path / "key", Clock()).issue("ns", ACCOUNT, ["a"], 600)
    assert Signer(tmp_path / "key", Clock()).read(token)
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0


def test_others_tokens_are_not_ours(tmp_path: Path) -> None:
    ours, theirs = (Signer(tmp_path / name, Clock()) for name in ("ours", "theirs"))
    token, _ = theirs.issue("ns", ACCOUNT, ["a"], 600)
    with pytest.raises(BadToken):
        ours.read(token)
    with pytest.raises(BadToken):
        ours.read("no.jwt.at-all")
    unsigned = jwt.encode({"iss": ISSUER, "sub": "x"}, "", algorithm="none")
    with pytest.raises(BadToken):
        ours.read(unsigned)
    assert ours.is_ours(token)
    assert not ours.is_ours("secret")
