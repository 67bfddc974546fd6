"""How tables lie in their stream: keys, bytes, parts."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import DecodeError
from bus.feed.types import Change, Item, Position
from bus.table_format import (
    Limits,
    Meta,
    as_tail,
    decode_item,
    decode_key,
    encode_item,
    encode_key,
    merge,
    parts,
    stored_size,
)

IS_KV_KEY = re.compile(r"[-/_=a-zA-Z0-9]+")  # one token: the dot is left out


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_key_becomes_one_token_and_comes_back(key: str) -> None:
    token = encode_key(key)
    assert IS_KV_KEY.fullmatch(token)
    assert decode_key(token) == key


def test_keys_stay_readable() -> None:
    assert encode_key("kube-system/kube-dns_2") == "kube-system/kube-dns_2"
    assert encode_key("default/my.app") == "default/my=2Eapp"


@given(st.lists(st.text(st.sampled_from("a./=%~*> é"), max_size=4), unique=True))
def test_keys_that_differ_stay_apart(keys: list[str]) -> None:
    assert len({encode_key(key) for key in keys}) == len(keys)


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=2000), st.integers(1, 300))
def test_items_come_back(version: int, data: bytes, times: int) -> None:
    item = Item(version, data * times)
    stored = encode_item(item)
    assert decode_item(stored) == item
    assert len(stored) <= len(item.data) + 10


@given(st.binary(max_size=60))
def test_other_bytes_are_decode_errors(data: bytes) -> None:
    for decode in (decode_item, Meta.unpack):
        with suppress(DecodeError):
            decode(data)


def test_damaged_items_are_decode_errors() -> None:
    stored = bytearray(encode_item(Item(1, b"x" * 5000)))
    stored[12] ^= 0xFF
    with pytest.raises(DecodeError):
        decode_item(bytes(stored))


def test_meta_comes_back() -> None:
    meta = Meta(Position(2, 1 << 63), b"up", "w", 7, Position(3, 4), {"a": b"1", "b": None})
    assert Meta.unpack(meta.pack()) == meta
    assert Meta.unpack(Meta().pack()) == Meta()


def test_objects_are_ahead_until_the_position_has_caught_up() -> None:
    meta = Meta(Position(1, 10)).before_part(Position(1, 50))
    assert (meta.position, meta.ahead) == (Position(1, 10), Position(1, 50))
    meta = meta.before_part(Position(1, 40))  # another commit, cut short as well
    assert meta.ahead == Position(1, 50)
    meta = meta.after_commit(Position(1, 40), b"", {})
    assert (meta.position, meta.ahead) == (Position(1, 40), Position(1, 50))
    assert meta.after_commit(Position(1, 50), b"", {}).ahead is None
    assert meta.after_commit(Position(2, 1), b"", {}).ahead is None


@given(
    st.lists(st.tuples(st.integers(0, 30), st.binary(max_size=400) | st.none()), max_size=60),
    st.integers(1, 10),
    st.integers(300, 2000),
)
def test_parts_hold_the_last_of_each_key_within_limits(
    raw: list[tuple[int, bytes | None]], messages: int, size: int
) -> None:
    changes = [Change(f"k{n}", i + 1, data) for i, (n, data) in enumerate(raw)]
    made = list(parts(merge({}, changes), Limits(messages, size)))
    assert [part.is_last for part in made] == [False] * (len(made) - 1) + [True]
    written = [(key, data) for part in made for key, data in part.objects.items()]
    assert len(dict(written)) == len(written)
    got = {key: None if data is None else decode_item(data).data for key, data in written}
    assert got == {change.key: change.data for change in changes}
    for part in made:
        assert len(part.objects) <= messages
        assert part.size <= size or len(part.objects) == 1
        assert part.size == sum(stored_size(*entry) for entry in part.objects.items())


def test_few_small_changes_make_a_tail() -> None:
    tail = {"a": encode_item(Item(1, b"old")), "b": None}
    objects = merge(tail, [Change("a", 2, b"new"), Change("c", 3, None)])
    made = as_tail(objects, Limits(3, 10_000))
    assert made == {"a": encode_item(Item(2, b"new")), "b": None, "c": None}
    assert as_tail(objects, Limits(2, 10_000)) is None
    assert as_tail(objects, Limits(3, 500)) is None
