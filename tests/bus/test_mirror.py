"""The frames of mirrors: what goes in comes out, however it is cut; what is damaged is refused."""

from __future__ import annotations

import random

import pytest

from bus.errors import DecodeError
from bus.feed.settings import FeedSettings
from bus.feed.wire import Kind, seal
from bus.mirror import (
    Ask,
    Began,
    Changed,
    Failed,
    Frames,
    Listed,
    Live,
    Said,
    Stale,
    decode_ask,
    encode,
    encode_ask,
    fits,
)

SAID: list[Said] = [
    Began(),
    Changed(0, [["a/b", 3, b"{}" * 400]]),
    Listed(7, ["a/c"]),
    Live(),
    Changed(8, [["a/b", 8, 5, b"delta"], ["a/d", 8]]),
    Changed(9, []),
    Stale("no API server"),
    Failed(410, b"{}"),
]


@pytest.mark.parametrize("seed", range(5))
def test_frames_come_whole_however_they_are_cut(seed: int) -> None:
    wire = b"".join(encode(each) for each in SAID)
    rng, frames = random.Random(seed), Frames()
    found: list[Said] = []
    while wire:
        size = rng.randint(1, 40)
        found += frames.feed(wire[:size])
        wire = wire[size:]
    assert found == SAID


@pytest.mark.parametrize("have", [None, {}, {"a/b": 3, "a/a": 2**40}])
def test_an_ask_comes_back(have: dict[str, int] | None) -> None:
    ask = Ask(5, "v1", "Pod", have)
    assert decode_ask(encode_ask(ask)) == ask


@pytest.mark.parametrize(
    "content", [None, [], [1, "v1", "Pod"], [-1, "v1", "Pod", None], [1, "v1", "Pod", {"a": "1"}]]
)
def test_other_asks_are_refused(content: object) -> None:
    with pytest.raises(DecodeError):
        decode_ask(seal(Kind.MIRROR_ASK, content, FeedSettings()))


@pytest.mark.parametrize(
    "content",
    [[], [99], ["x"], 7, [0, 1], [1, -1, []], [1, 1, [["a"]]], [2, 1, [1]], [5, 1, "x"], [4]],
)
def test_other_frames_are_refused(content: object) -> None:
    sealed = seal(Kind.MIRROR, content, FeedSettings())
    with pytest.raises(DecodeError):
        Frames().feed(len(sealed).to_bytes(4, "big") + sealed)


def test_damage_and_endless_frames_are_noticed() -> None:
    wire = bytearray(encode(SAID[1]))
    wire[20] ^= 1
    with pytest.raises(DecodeError):
        Frames().feed(bytes(wire))
    with pytest.raises(DecodeError):
        Frames().feed(b"\xff" * 8)


def test_who_has_too_much_does_not_say_it() -> None:
    few = Ask(0, "v1", "Pod", {f"default/pod-{number}": number for number in range(1000)})
    assert fits(few)
    assert fits(Ask(0, "v1", "Pod", None))
    many = Ask(0, "v1", "Pod", {f"{number}/{'x' * 500}": 2**60 for number in range(40_000)})
    assert not fits(many)
    with pytest.raises(DecodeError):
        decode_ask(encode_ask(many))
