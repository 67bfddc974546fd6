"""The counting: right bytes or an error, whatever the way does to the frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import DecodeError, StreamBroken
from bus.stream import frames
from bus.stream.core import Act, Incoming, Outgoing, Pulse, Request, StreamSettings

SETTINGS = StreamSettings(silence=2.0, patience=2.0, check=10.0)


@given(st.lists(st.binary(min_size=1, max_size=5), max_size=8), st.data())
def test_loss_reorder_and_duplicates_never_give_wrong_bytes(
    chunks: list[bytes], data: st.DataObject
) -> None:
    out, into = Outgoing(1000), Incoming(1000)
    sent = [(out.next(len(chunk)), chunk) for chunk in chunks]
    way = data.draw(st.lists(st.sampled_from(sent), max_size=20)) if sent else []
    got: list[bytes] = []
    try:
        for sequence, chunk in way:
            if into.take(sequence, len(chunk)):
                got.append(chunk)
        into.compare(out.frames)
    except StreamBroken:
        assert got == chunks[: len(got)]
    else:
        assert got == chunks


@given(st.lists(st.tuples(st.integers(1, 50), st.booleans()), max_size=60))
def test_a_sender_within_its_credit_is_never_refused(steps: list[tuple[int, bool]]) -> None:
    """Whichever credits get lost: those that come later say it all."""
    out, into, waiting = Outgoing(64), Incoming(64), 0
    for wanted, is_lost in steps:
        size = min(wanted, out.room)
        if size:
            assert into.take(out.next(size), size)
            waiting += size
        assert waiting <= 64
        total = into.consume(waiting)
        waiting = 0
        if total is not None and not is_lost:
            out.grant(total)
    out.grant(into.granted)
    assert out.room > 0


def test_credit_is_a_bound_for_both() -> None:
    out, into = Outgoing(10), Incoming(10)
    with pytest.raises(ValueError, match="credit"):
        out.next(11)
    with pytest.raises(StreamBroken, match="credit"):
        into.take(0, 11)


def test_credits_are_worth_a_message_at_half_a_window() -> None:
    into = Incoming(100)
    assert into.take(0, 100)
    assert into.consume(49) is None
    assert into.consume(1) == 150
    assert into.consume(49) is None


def test_a_silent_peer_is_asked_then_given_up() -> None:
    pulse = Pulse(SETTINGS, 0.0)
    assert pulse.look(1.9) is Act.NOTHING
    assert pulse.due(1.5) == 0.5
    assert pulse.look(2.0) is Act.ASK
    assert pulse.look(3.9) is Act.NOTHING
    assert pulse.look(4.0) is Act.GIVE_UP


def test_whoever_says_anything_lives() -> None:
    pulse = Pulse(SETTINGS, 0.0)
    assert pulse.look(2.0) is Act.ASK
    pulse.heard(3.0)
    assert pulse.look(4.9) is Act.NOTHING
    assert pulse.look(5.0) is Act.ASK


def test_being_held_up_ourselves_is_no_proof_against_them() -> None:
    pulse = Pulse(SETTINGS, 0.0)
    assert pulse.look(9.9) is Act.ASK
    assert pulse.look(10.0) is Act.COMPARE  # does not put off the verdict
    assert pulse.look(11.9) is Act.GIVE_UP


def test_counts_are_compared_also_with_a_talkative_peer() -> None:
    pulse = Pulse(SETTINGS, 0.0)
    for second in range(1, 10):
        pulse.heard(float(second))
        assert pulse.look(float(second)) is Act.NOTHING
    pulse.heard(10.0)
    assert pulse.look(10.0) is Act.COMPARE


REQUEST = Request("GET", "/api?x=%20", (("A", "b"), ("A", "c")), "system:kube-proxy")


def test_a_request_arrives_as_it_was_sent() -> None:
    raw = frames.encode_open(REQUEST, b"body", True, 7)
    assert frames.decode_open(raw) == (REQUEST, b"body", True, 7)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (frames.DATA, ("0", b"", False)),
        (frames.DATA, (True, b"", False)),
        (frames.DATA, (0, b"")),
        (frames.CREDIT, (1.0,)),
        (frames.CANCEL, (1,)),
    ],
)
def test_frames_of_another_shape_are_refused(kind: str, body: tuple[object, ...]) -> None:
    with pytest.raises(DecodeError):
        frames.decode(frames.encode(kind, *body), frames.TO_SERVER)


def test_what_only_a_server_says_is_not_taken_from_a_client() -> None:
    with pytest.raises(DecodeError):
        frames.decode(frames.encode(frames.PONG, []), frames.TO_SERVER)


@given(st.binary(max_size=40))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(DecodeError):
        frames.decode_open(noise)


@pytest.mark.parametrize("entry", [["a"], ["a", 1], "ab", [1, 2, 3]])
def test_entries_of_another_shape_are_refused(entry: object) -> None:
    with pytest.raises(DecodeError):
        frames.pairs([entry])
    if entry != [1, 2, 3]:
        with pytest.raises(DecodeError):
            frames.counts([entry])
