"""Node keys: made once, kept secret, checked."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nkeys
import pytest

from bus.keys import BadKey, NodeKey, check_public, is_signed


def test_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "node.seed"
    made = NodeKey.load_or_create(path)
    assert made.public.startswith("U")
    assert check_public(made.public) == made.public
    assert path.stat().st_mode & 0o777 == 0o600
    assert NodeKey.load_or_create(path) == made
    assert [each.name for each in path.parent.iterdir()] == ["node.seed"]


def test_all_who_are_first_get_the_same(tmp_path: Path) -> None:
    path = tmp_path / "node.seed"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(NodeKey.load_or_create, [path] * 32))
    assert len(keys) == 1


def test_the_seed_is_not_in_its_repr(tmp_path: Path) -> None:
    key = NodeKey.load_or_create(tmp_path / "node.seed")
    assert key.seed_file.read_text() not in repr(key)


def test_a_seed_that_others_may_read_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "node.seed"
    NodeKey.load_or_create(path)
    assert caplog.records == []
    path.chmod(0o644)
    NodeKey.load_or_create(path)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("content", [b"", b"hello", b"SUAAAA", b"\xff\xfe", b"U" * 56])
def test_a_file_without_a_seed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "node.seed"
    path.write_bytes(content)
    with pytest.raises(BadKey, match=r"node\.seed"):
        NodeKey.load_or_create(path)


def test_an_account_is_not_a_node(tmp_path: Path) -> None:
    path = tmp_path / "node.seed"
    path.write_bytes(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_ACCOUNT))
    with pytest.raises(BadKey, match="not a user"):
        NodeKey.load_or_create(path)


def test_a_path_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadKey, match=r"node\.seed"):
        NodeKey.load_or_create(tmp_path / "file" / "node.seed")


def test_public_keys_are_checked(tmp_path: Path) -> None:
    good = NodeKey.load_or_create(tmp_path / "node.seed").public
    assert check_public(f" {good}\n") == good
    account = nkeys.from_seed(
        bytearray(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_ACCOUNT))
    )
    flipped = good[:20] + ("A" if good[20] != "A" else "B") + good[21:]
    for bad in ("", "U", good[:-1], flipped, good.lower(), account.public_key.decode(), "Ü" * 56):
        with pytest.raises(BadKey):
            check_public(bad)


def test_what_it_signs(tmp_path: Path) -> None:
    key, other = (NodeKey.load_or_create(tmp_path / name) for name in "ab")
    signature = key.sign(b"said")
    assert len(signature) == 64
    assert is_signed(key.public, b"said", signature)
    assert not is_signed(key.public, b"Said", signature)
    assert not is_signed(other.public, b"said", signature)
    assert not is_signed(key.public, b"said", signature[:-1])
    assert not is_signed("nonsense", b"said", signature)
    other.seed_file.unlink()
    with pytest.raises(BadKey, match="cannot sign"):
        other.sign(b"x")
