"""Envelopes: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.envelope import VERSION, Bounds, pack, unpack
from bus.errors import DecodeError, MessageTooLarge

KINDS = {"beat", "status"}

_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
bodies = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@given(bodies)
def test_what_goes_in_comes_out(body: Any) -> None:
    bounds = Bounds(depth=30)
    assert unpack(pack("beat", body, bounds), KINDS, bounds) == ("beat", body)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_envelope_or_a_decode_error(raw: bytes) -> None:
    try:
        envelope = unpack(raw, KINDS)
    except DecodeError as error:
        assert error.raw is raw  # noqa: PT017
    else:
        assert envelope.kind in KINDS


@given(bodies, st.data())
def test_a_truncated_envelope_is_a_decode_error(body: Any, data: st.DataObject) -> None:
    raw = pack("beat", body, Bounds(depth=30))
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(DecodeError):
        unpack(raw[:cut], KINDS)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([2, "beat", None], "version 2"),
        ([True, "beat", None], "version True"),
        ([VERSION, "other", None], "unknown kind"),
        ([VERSION, 7, None], "unknown kind"),
        ([VERSION, ["beat"], None], "unknown kind"),
        ([VERSION, "beat"], "not an envelope"),
        ({"kind": "beat"}, "not an envelope"),
        ([VERSION, "beat", {b"k": 1}], "not a string"),
        ([VERSION, "beat", {1: 1}], "bad msgpack"),
        ([VERSION, "beat", msgpack.ExtType(5, b"x")], "bad msgpack"),
        ([VERSION, "beat", msgpack.Timestamp(1)], "bad msgpack"),
    ],
)
def test_what_is_not_ours_is_refused(parts: Any, reason: str) -> None:
    raw = msgpack.packb(parts)
    with pytest.raises(DecodeError, match=reason) as caught:
        unpack(raw, KINDS)
    assert caught.value.raw == raw


def test_trailing_bytes_are_refused() -> None:
    with pytest.raises(DecodeError):
        unpack(pack("beat", 1) + b"\xc0", KINDS)


def test_size_is_bounded_both_ways() -> None:
    small = Bounds(max_bytes=100)
    with pytest.raises(MessageTooLarge, match="100"):
        pack("beat", b"x" * 100, small)
    with pytest.raises(DecodeError, match="over 100 bytes"):
        unpack(pack("beat", b"x" * 100), KINDS, small)


def test_depth_is_bounded_both_ways() -> None:
    body: Any = 1
    for _ in range(17):
        body = [body]
    with pytest.raises(ValueError, match="deeper than 16"):
        pack("beat", body)
    with pytest.raises(DecodeError, match="deeper than 16"):
        unpack(msgpack.packb([VERSION, "beat", body]), KINDS)
    assert unpack(pack("beat", body[0]), KINDS).body == body[0]


def test_containers_are_bounded_both_ways() -> None:
    for body in ([0] * 8193, {str(n): 0 for n in range(8193)}):
        with pytest.raises(ValueError, match="8193 entries"):
            pack("beat", body)
        with pytest.raises(DecodeError):
            unpack(msgpack.packb([VERSION, "beat", body]), KINDS)
    assert len(unpack(pack("beat", [0] * 8192), KINDS).body) == 8192


def test_a_header_that_lies_costs_little() -> None:
    """Five bytes that announce 2^32 entries, nested: refused before anything is allocated."""
    for raw in (b"\x93\x01\xa4beat" + b"\xdd\xff\xff\xff\xff" * 500, b"\xdd\x7f\xff\xff\xff" * 10):
        with pytest.raises(DecodeError):
            unpack(raw, KINDS)


@pytest.mark.parametrize("body", [object(), {1: 2}, {"a": {2}}, 2**64, -(2**63) - 1, "\ud800"])
def test_what_could_not_be_read_is_not_packed(body: Any) -> None:
    with pytest.raises(ValueError, match="beat"):
        pack("beat", body)
