"""Compression is bounded, and a delta fits only the base it was made for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus import zstd
from bus.errors import DecodeError

BASE = b'{"kind":"Service","metadata":{"name":"web","namespace":"default"},"spec":{}}'


@given(st.binary(max_size=2000))
def test_compressed_content_comes_back(data: bytes) -> None:
    assert zstd.decompress(zstd.compress(data), limit=len(data)) == data


@given(st.binary(min_size=8, max_size=500), st.binary(max_size=500))
def test_a_delta_gives_the_new_bytes(base: bytes, data: bytes) -> None:
    delta = zstd.diff(base, data)
    assert delta is not None
    assert zstd.patch(base, delta, limit=len(data)) == data


@pytest.mark.parametrize("size", [30_000, 300_000, 3_000_000])
def test_a_small_edit_stays_small_at_any_size(size: int) -> None:
    lines = (
        f'{{"ip":"10.0.{i % 256}.{i * 7919 % 65521}","ready":true}},' for i in range(size // 36)
    )
    base = "".join(lines).encode()
    data = base.replace(b"true", b"false", 1)
    delta = zstd.diff(base, data)
    assert delta is not None
    assert len(delta) < 60 + size // 8000
    assert zstd.patch(base, delta, limit=len(data)) == data


def test_a_tiny_base_has_no_deltas() -> None:
    assert zstd.diff(b"{}", BASE) is None
    with pytest.raises(DecodeError):
        zstd.patch(b"{}", b"anything", limit=100)


def test_another_base_of_the_same_size_is_noticed() -> None:
    delta = zstd.diff(BASE, BASE + b"!")
    assert delta is not None
    with pytest.raises(DecodeError):
        zstd.patch(BASE.replace(b"web", b"wob"), delta, limit=1000)


def test_a_bomb_does_not_go_off() -> None:
    bomb = zstd.compress(bytes(1 << 26))
    assert len(bomb) < 5000
    with pytest.raises(DecodeError):
        zstd.decompress(bomb, limit=1000)
    with pytest.raises(DecodeError, match="over 100000 bytes"):
        zstd.decompress(zstd.compress(bytes(200_000)), limit=100_000)


def test_a_frame_that_wants_a_huge_window_is_refused() -> None:
    descriptor, window = b"\x00", bytes([17 << 3])  # 128 MiB, no content size
    with pytest.raises(DecodeError):
        zstd.decompress(b"\x28\xb5\x2f\xfd" + descriptor + window + b"\x01\x00\x00", limit=1000)


@pytest.mark.parametrize(
    "spoil", [lambda d: d[:-1], lambda d: d + b"x", lambda d: b"", lambda d: d + d]
)
def test_what_is_not_exactly_one_frame_is_refused(spoil: object) -> None:
    packed = zstd.compress(BASE)
    with pytest.raises(DecodeError):
        zstd.decompress(spoil(packed), limit=10_000)  # type: ignore[operator]
