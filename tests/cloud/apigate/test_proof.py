"""Who comes through another one's link, and that nothing comes twice."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bus.borrow import BadProof, Claim, Hello, Session, seal_ask
from bus.keys import NodeKey
from bus.stream import Request
from cloud.apigate.proof import MAX_OF_NODE, WINDOW, Held, Numbers, Sessions

REQUEST = Request("POST", "/x")


class Cloud:
    """One replica, and a node that is enrolled."""

    def __init__(self, path: Path) -> None:
        self.site, self.node, self.other = (
            NodeKey.load_or_create(path / name) for name in ("site", "node", "other")
        )
        self.keys = {("pool-a", "n1"): self.node.public, ("pool-b", "n1"): self.node.public}
        self.sessions = self.replica()

    def replica(self) -> Sessions:
        return Sessions(self.site, "gate", lambda pool, node: self.keys.get((pool, node)))

    def open(
        self, pool: str = "pool-a", node: str = "n1", lender: str = "n2", by: str = "n2"
    ) -> tuple[Session, Held]:
        """`by`: who brings it, in pool-a."""
        hello = Hello(self.node, Claim(pool, node, lender))
        held, raw = self.sessions.open("pool-a", by, hello.raw)
        return hello.session(raw, self.site.public)[0], held


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def test_a_borrower_is_who_it_signs_as(cloud: Cloud) -> None:
    session, held = cloud.open()
    assert held.claim == Claim("pool-a", "n1", "n2")
    found, number, opened = cloud.sessions.take("pool-a", "n2", seal_ask(session, 1, REQUEST, b"b"))
    assert (found, number, opened.request, opened.body) == (held, 1, REQUEST, b"b")


@pytest.mark.parametrize(
    "changes",
    [
        {"pool": "pool-b"},  # the key is enrolled there, but a lender is of its own pool
        {"node": "n3"},  # not enrolled
        {"lender": "n3"},  # was asked of another
        {"by": "n3"},  # stolen by another
    ],
)
def test_a_claim_that_does_not_hold_is_refused(cloud: Cloud, changes: dict[str, str]) -> None:
    with pytest.raises(BadProof):
        cloud.open(**changes)
    assert len(cloud.sessions) == 0


def test_a_key_that_is_not_enrolled_is_refused(cloud: Cloud) -> None:
    cloud.keys["pool-a", "n1"] = cloud.other.public
    with pytest.raises(BadProof, match="not signed"):
        cloud.open()
    del cloud.keys["pool-a", "n1"]
    with pytest.raises(BadProof, match="not signed"):
        cloud.open()


def test_a_request_is_taken_once(cloud: Cloud) -> None:
    session, _ = cloud.open()
    raw = seal_ask(session, 1, REQUEST, b"")
    cloud.sessions.take("pool-a", "n2", raw)
    with pytest.raises(BadProof, match="came before"):
        cloud.sessions.take("pool-a", "n2", raw)


@pytest.mark.parametrize(("pool", "lender"), [("pool-a", "n3"), ("pool-b", "n2")])
def test_a_session_is_its_lenders(cloud: Cloud, pool: str, lender: str) -> None:
    session, _ = cloud.open()
    raw = seal_ask(session, 1, REQUEST, b"")
    with pytest.raises(BadProof, match="brought by"):
        cloud.sessions.take(pool, lender, raw)
    cloud.sessions.take("pool-a", "n2", raw)  # and its number was not used up


def test_what_was_recorded_is_worth_nothing_later_or_elsewhere(cloud: Cloud) -> None:
    session, held = cloud.open()
    raw = seal_ask(session, 1, REQUEST, b"")
    with pytest.raises(BadProof, match="not \\(or no longer\\) ours"):
        cloud.replica().take("pool-a", "n2", raw)
    cloud.sessions.close(held)
    with pytest.raises(BadProof, match="not \\(or no longer\\) ours"):
        cloud.sessions.take("pool-a", "n2", raw)


def test_a_forged_request_uses_up_no_number(cloud: Cloud) -> None:
    session, _ = cloud.open()
    raw = seal_ask(session, 1, REQUEST, b"")
    with pytest.raises(BadProof):
        cloud.sessions.take("pool-a", "n2", raw[:-1] + bytes([raw[-1] ^ 1]))
    cloud.sessions.take("pool-a", "n2", raw)


def test_a_key_that_is_replaced_ends_its_sessions(cloud: Cloud) -> None:
    session, held = cloud.open()
    assert list(cloud.sessions.revoked()) == []
    cloud.keys["pool-a", "n1"] = cloud.other.public
    assert list(cloud.sessions.revoked()) == [held]
    with pytest.raises(BadProof, match="another key"):
        cloud.sessions.take("pool-a", "n2", seal_ask(session, 1, REQUEST, b""))


def test_sessions_of_a_node_are_bounded(cloud: Cloud) -> None:
    """A lender may bring the same hello again and again."""
    opened = [cloud.open() for _ in range(MAX_OF_NODE)]
    _, first = opened[0]
    with pytest.raises(BadProof, match="too many"):
        cloud.open()
    cloud.sessions.close(first)
    cloud.open()


def test_numbers_are_new_once() -> None:
    """Whatever their order: never twice, and always where they are not too far behind."""
    chance = random.Random(1)
    numbers, taken, highest = Numbers(), set[int](), 0
    for _ in range(20_000):
        number = max(0, highest + chance.choice([1, 1, 2, -5, -50, -WINDOW - 2, WINDOW + 3]))
        is_new = number not in taken and number > 0 and highest - number < WINDOW
        assert numbers.take(number) == is_new, (number, highest)
        taken.add(number)
        highest = max(highest, number)
