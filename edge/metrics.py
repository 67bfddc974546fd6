"""What both followers of a pool tell Prometheus: how old, how many, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from actors.figures import Figure
from bus.feed import FeedFollower


def follower_figures(
    prefix: str, followers: Callable[[], Mapping[str, FeedFollower]]
) -> tuple[Figure, ...]:
    def each(value: Callable[[FeedFollower], float]) -> Callable[[], Mapping[str, float]]:
        return lambda: {name: value(follower) for name, follower in followers().items()}

    def total(kinds: Callable[[FeedFollower], Iterable[int]]) -> Callable[[FeedFollower], float]:
        return lambda follower: float(sum(kinds(follower)))

    return (
        Figure(f"{prefix}_age_seconds", "Age of what is held", each(lambda f: f.age()), "feed"),
        Figure(f"{prefix}_objects", "Objects held", each(lambda f: len(f.items)), "feed"),
        Figure(
            f"{prefix}_syncs",
            "Syncs by difference or snapshot",
            each(
                total(
                    lambda f: (n for kind, n in f.core.counts.items() if kind.startswith("sync."))
                )
            ),
            "feed",
            is_counter=True,
        ),
        Figure(
            f"{prefix}_refused_messages",
            "Undecodable or out of contract: foreign or damaged",
            each(total(lambda f: f.core.problems.values())),
            "feed",
            is_counter=True,
        ),
    )
