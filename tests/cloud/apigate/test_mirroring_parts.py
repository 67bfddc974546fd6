"""What a mirror's side at the API server is made of, without one."""

from __future__ import annotations

from bus.feed.types import Change, Item
from cloud.apigate.mirroring_memory import Memory
from cloud.apigate.mirroring_source import GRACE, Verdicts


def put(key: str, size: int = 100, version: int = 1) -> Change:
    return Change(key, version, bytes(size))


def test_what_was_sent_is_the_base_of_the_next_delta() -> None:
    sent = Memory(1000, 1000).stream()
    sent.note(put("a", version=3))
    assert sent.base("a") == Item(3, bytes(100))
    sent.note(Change("a", 4, None))
    assert sent.base("a") is None


def test_a_stream_remembers_a_bounded_number_of_bytes() -> None:
    memory = Memory(10_000, 1000)
    sent = memory.stream()
    for number in range(100):
        sent.note(put(str(number)))
    assert (len(sent), memory.used, memory.evicted) == (10, 1000, 90)
    assert sent.base("99") is not None
    assert sent.base("0") is None
    sent.note(put("large", 1001))
    assert (len(sent), memory.used) == (0, 0)


def test_all_streams_together_are_bounded_and_what_is_over_is_free_again() -> None:
    memory = Memory(1000, 800)
    first, second = memory.stream(), memory.stream()
    for number in range(8):
        first.note(put(str(number)))
        second.note(put(str(number)))
        assert memory.used <= 1000
    assert len(first) + len(second) <= 10
    first.close()
    second.close()
    assert memory.used == 0


def test_a_403_is_no_verdict_while_the_api_server_may_be_starting() -> None:
    verdicts = Verdicts()
    verdicts.unreachable(100.0)
    assert verdicts.is_doubtful("pods", 101.0)
    assert not verdicts.is_doubtful("pods", 101.0 + GRACE)


def test_nor_where_it_worked_a_moment_ago_but_not_for_ever() -> None:
    verdicts = Verdicts()
    assert not verdicts.is_doubtful("nodes", 0.0)
    verdicts.worked("pods", 10.0)
    assert verdicts.is_doubtful("pods", 20.0)
    assert not verdicts.is_doubtful("pods", 20.0 + GRACE)
    verdicts.worked("pods", 30.0)
    assert verdicts.is_doubtful("pods", 31.0)
    assert not verdicts.is_doubtful("pods", 200.0)
