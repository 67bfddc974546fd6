"""Sessions and what is said in them: whoever stands between can do nothing but withhold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bus.borrow import (
    BadProof,
    Claim,
    Hello,
    SealRecords,
    Session,
    Unsealed,
    ask_place,
    open_ask,
    read_hello,
    seal_ask,
    welcome,
)
from bus.borrow.crypto import Ephemeral
from bus.envelope import pack, unpack
from bus.keys import NodeKey
from bus.stream import Request

CLAIM = Claim("pool-a", "n1", "n2")
REQUEST = Request(
    "POST", "/api/v1/x?a=b", (("Authorization", "Bearer s"), ("Accept", "*/*")), "system:kube-proxy"
)


@pytest.fixture
def node(tmp_path: Path) -> NodeKey:
    return NodeKey.load_or_create(tmp_path / "node.seed")


@pytest.fixture
def site(tmp_path: Path) -> NodeKey:
    return NodeKey.load_or_create(tmp_path / "site.seed")


def shaken(node: NodeKey, site: NodeKey) -> tuple[Session, Session]:
    hello = Hello(node, CLAIM)
    theirs, raw = welcome(hello.raw, site, "gate")
    return hello.session(raw, site.public)[0], theirs


def flipped(raw: bytes) -> list[bytes]:
    """With one bit of each byte changed in turn."""
    return [raw[:i] + bytes([raw[i] ^ 1]) + raw[i + 1 :] for i in range(len(raw))]


def test_both_have_the_same_session(node: NodeKey, site: NodeKey) -> None:
    hello = Hello(node, CLAIM)
    asked = read_hello(hello.raw)
    assert asked.claim == CLAIM
    assert asked.is_from(node.public)
    ours, theirs = shaken(node, site)
    assert ours == theirs
    assert ours.gate == "gate"
    assert shaken(node, site)[0].secret != ours.secret


def test_a_hello_that_was_touched_is_not_its_nodes(node: NodeKey, site: NodeKey) -> None:
    hello = Hello(node, CLAIM)
    assert not read_hello(hello.raw).is_from(site.public)
    for raw in flipped(hello.raw):
        try:
            asked = read_hello(raw)
        except BadProof:
            continue
        assert not asked.is_from(node.public)


@pytest.mark.parametrize("field", ["pool", "node", "lender"])
def test_a_claim_is_not_another_ones(node: NodeKey, field: str) -> None:
    """The lender puts a name of its choice into a hello, and keeps the signature."""
    said, signature = unpack(Hello(node, CLAIM).raw, {"borrow-hello"}).body
    fresh = unpack(said, {"borrow-hello"}).body[3]
    other = replace(CLAIM, **{field: "x"})
    forged = pack("borrow-hello", [other.pool, other.node, other.lender, fresh])
    asked = read_hello(pack("borrow-hello", [forged, signature]))
    assert asked.claim == other
    assert not asked.is_from(node.public)


def test_a_welcome_that_was_touched_is_refused(node: NodeKey, site: NodeKey) -> None:
    hello = Hello(node, CLAIM)
    _, raw = welcome(hello.raw, site, "gate")
    for each in flipped(raw):
        with pytest.raises(BadProof):
            hello.session(each, site.public)


def test_a_welcome_is_for_one_hello(node: NodeKey, site: NodeKey) -> None:
    _, raw = welcome(Hello(node, CLAIM).raw, site, "gate")
    with pytest.raises(BadProof, match="not for us"):
        Hello(node, CLAIM).session(raw, site.public)


def test_nobody_else_may_welcome(node: NodeKey, site: NodeKey) -> None:
    """The lender with a key of its own; and whom nobody knows yet is known after it."""
    hello = Hello(node, CLAIM)
    _, raw = welcome(hello.raw, node, "gate")
    with pytest.raises(BadProof, match="the cloud site has"):
        hello.session(raw, site.public)
    assert hello.session(raw, "")[1] == node.public


def test_a_key_without_effect_is_refused(node: NodeKey) -> None:
    with pytest.raises(BadProof):
        Ephemeral().secret(bytes(32), b"")
    with pytest.raises(BadProof):
        Ephemeral().secret(b"short", b"")


@pytest.mark.parametrize("body", [b"", b"body", b"text " * 1000])
def test_a_request_arrives_whole(node: NodeKey, site: NodeKey, body: bytes) -> None:
    ours, theirs = shaken(node, site)
    raw = seal_ask(ours, 7, REQUEST, body)
    assert ask_place(raw) == (ours.id, 7)
    opened = open_ask(theirs, raw)
    assert (opened.request, opened.body, opened.takes_coding) == (REQUEST, body, True)
    assert b"Bearer" not in raw
    assert len(raw) < 1000


def test_a_request_that_was_touched_is_refused(node: NodeKey, site: NodeKey) -> None:
    """Number, method, path, headers, identity, body: whichever byte it is."""
    ours, theirs = shaken(node, site)
    raw = seal_ask(ours, 7, REQUEST, b"body")
    for each in [*flipped(raw), raw[:-1], raw + b"x", raw[:20], b""]:
        with pytest.raises(BadProof):
            open_ask(theirs, each)


def test_a_request_of_another_session_is_refused(node: NodeKey, site: NodeKey) -> None:
    ours, _ = shaken(node, site)
    _, theirs = shaken(node, site)
    with pytest.raises(BadProof):
        open_ask(theirs, seal_ask(ours, 1, REQUEST, b""))


def answered(session: Session, number: int = 1) -> bytes:
    records = SealRecords(session, number)
    head = records.head(200, (("Content-Type", "text/plain"),), compress=False)
    body = b"".join(b"".join(records.data(part)) for part in (b"one", b"two" * 30_000))
    return head + body + records.end()


def test_an_answer_arrives_however_it_is_cut(node: NodeKey, site: NodeKey) -> None:
    ours, theirs = shaken(node, site)
    raw = answered(theirs)
    for size in (1000, 4099, len(raw)):
        reader = Unsealed(ours, 1)
        got = b"".join(
            part for at in range(0, len(raw), size) for part in reader.feed(raw[at : at + size])
        )
        assert got == b"one" + b"two" * 30_000
        assert reader.head == (200, (("Content-Type", "text/plain"),))
        assert reader.is_whole


def test_an_answer_is_compressed_before_it_is_sealed(node: NodeKey, site: NodeKey) -> None:
    ours, theirs = shaken(node, site)
    records = SealRecords(theirs, 1)
    raw = records.head(200, (), compress=True) + b"".join(records.data(b"event " * 10_000))
    assert len(raw) < 1000
    reader = Unsealed(ours, 1)
    assert b"".join(reader.feed(raw)) == b"event " * 10_000
    assert reader.head == (200, ())
    assert not reader.is_whole


def test_an_answer_that_was_touched_is_refused(node: NodeKey, site: NodeKey) -> None:
    ours, theirs = shaken(node, site)
    records = SealRecords(theirs, 1)
    parts = [records.head(200, (), compress=False), *records.data(b"a"), *records.data(b"b")]
    end = records.end()
    for raw in (
        b"".join([parts[0], parts[2]]),  # left out
        b"".join([parts[0], parts[2], parts[1]]),  # moved
        b"".join([parts[0], parts[1], parts[1]]),  # twice
        b"".join([*parts, end, parts[1]]),  # more
        parts[0] + b"\xff\xff\xff\xff",
        answered(theirs, 2),  # another request's
    ):
        with pytest.raises(BadProof):
            list(Unsealed(ours, 1).feed(raw))
    for each in flipped(parts[0]):
        reader = Unsealed(ours, 1)
        with pytest.raises(BadProof):
            list(reader.feed(each + bytes(300_000)))
    cut = Unsealed(ours, 1)
    assert list(cut.feed(b"".join(parts))) == [b"a", b"b"]
    assert not cut.is_whole, "an end that did not come is seen"
