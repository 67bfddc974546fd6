from __future__ import annotations

from pathlib import Path

import pytest

from bus import permissions
from bus.keys import NodeKey
from cloud.enrolment.roster import make_roster, read_roster


@pytest.fixture
def keys(tmp_path: Path) -> list[str]:
    return [NodeKey.load_or_create(tmp_path / "keys" / f"{n}.seed").public for n in range(4)]


def test_each_file_enrols_one_node_with_its_own_permissions(keys: list[str]) -> None:
    admin, one, two, _ = keys
    roster = make_roster([("pool-a.node-1.pub", f"{one}\n"), ("pool-a.node-2.pub", two)], admin)
    assert roster.nodes == {"pool-a/node-1": one, "pool-a/node-2": two}
    assert not roster.faults
    site, first, second = roster.users(admin)
    assert (site.public_key, site.publish) == (admin, (">",))
    assert (first.public_key, second.public_key) == (one, two)
    assert (first.publish, first.subscribe) == permissions.cloud_node("pool-a", "node-1")


@pytest.mark.parametrize(
    "name",
    ["node-1.pub", "a.b.c.pub", "Pool.node.pub", "pool.*.pub", "pool.>.pub", "pool. .pub", ".pub."],
)
def test_a_wrong_name_enrols_nobody(name: str, keys: list[str]) -> None:
    roster = make_roster([(name, keys[1])], keys[0])
    assert not roster.nodes
    assert (name in roster.faults) == name.endswith(".pub")


@pytest.mark.parametrize("text", ["", "hello", "SUAB", "U" * 56, None])
def test_a_wrong_key_enrols_nobody_and_harms_no_other(text: str | None, keys: list[str]) -> None:
    roster = make_roster([("p.bad.pub", text), ("p.good.pub", keys[1])], keys[0])
    assert set(roster.nodes) == {"p/good"}
    assert set(roster.faults) == {"p.bad.pub"}


def test_a_key_with_one_wrong_letter_is_noticed(keys: list[str]) -> None:
    key = keys[1]
    wrong = key[:20] + ("A" if key[20] != "A" else "B") + key[21:]
    assert make_roster([("p.n.pub", wrong)], keys[0]).faults


def test_one_key_is_one_node(keys: list[str]) -> None:
    files: list[tuple[str, str | None]] = [("p.a.pub", keys[1]), ("p.b.pub", keys[1])]
    roster = make_roster([*files, ("p.c.pub", keys[0])], keys[0])
    assert set(roster.nodes) == {"p/a"}
    assert "p/a" in roster.faults["p.b.pub"]
    assert "the cloud site itself" in roster.faults["p.c.pub"]


def test_other_files_are_nobodys_business(keys: list[str]) -> None:
    roster = make_roster([("README", None), (".p.n.pub", keys[1]), ("p.n.pub~", keys[1])], keys[0])
    assert not roster.nodes
    assert not roster.faults


def test_the_directory_is_read(tmp_path: Path, keys: list[str]) -> None:
    place = tmp_path / "enrolment"
    assert not read_roster(place, keys[0]).nodes
    place.mkdir()
    (place / "p.n.pub").write_text(keys[1] + "\n")
    (place / "p.binary.pub").write_bytes(b"\xff\xfe\x00")
    (place / "p.huge.pub").write_text(keys[2] * 1000)
    (place / "p.directory.pub").mkdir()
    (place / "p.dangling.pub").symlink_to("nowhere")
    roster = read_roster(place, keys[0])
    assert roster.nodes == {"p/n": keys[1]}
    assert len(roster.faults) == 4
