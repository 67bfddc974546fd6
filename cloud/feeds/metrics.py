"""The feeds' figures for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from actors.figures import Figure, Figures
from cloud.feeds.source import SourceFeed

_GAUGES: tuple[tuple[str, str, Callable[[SourceFeed], float]], ...] = (
    ("objects", "Objects carried", lambda f: len(f.publisher.items)),
    ("age_seconds", "Age of what we know of the API server", lambda f: f.reflector.age()),
    ("oversized_objects", "Objects over feeds.max_object, not carried", lambda f: len(f.oversized)),
    (
        "interrupted",
        "Whether the API server cannot be followed",
        lambda f: bool(f.reflector.stats.error),
    ),
)
_COUNTERS: tuple[tuple[str, str, Callable[[SourceFeed], float]], ...] = (
    ("source_events", "Watch events from the API server", lambda f: f.reflector.stats.events),
    ("source_bytes", "Bytes from the API server", lambda f: f.reflector.stats.bytes),
    ("frames", "Frames handed to the bus", lambda f: f.publisher.frames),
    ("frame_bytes", "Bytes of these frames", lambda f: f.publisher.frame_bytes),
    ("frames_unsent", "Frames made while the bus was down", lambda f: f.publisher.unsent),
    ("sync_answers", "Answers to followers that sync", lambda f: f.publisher.answers),
    ("sync_bytes", "Bytes of these answers", lambda f: f.publisher.answer_bytes),
)
_COUNTS: tuple[tuple[str, str, str, Callable[[SourceFeed], Mapping[str, int]]], ...] = (
    ("relists", "Whole lists, by reason", "reason", lambda f: f.reflector.stats.relists),
    (
        "source_endings",
        "Unhappy ends of requests, by kind",
        "kind",
        lambda f: f.reflector.stats.endings,
    ),
)


def feed_figures(
    feeds: Mapping[str, SourceFeed], unknown: Callable[[], Mapping[str, str]]
) -> Figures:
    """`feeds` and `unknown` (names of the site file that the API server does not serve) live on."""

    def each(read: Callable[[SourceFeed], float]) -> Callable[[], Mapping[str, float]]:
        return lambda: {name: read(feed) for name, feed in feeds.items()}

    def counts(
        read: Callable[[SourceFeed], Mapping[str, int]],
    ) -> Callable[[], Mapping[tuple[str, ...], float]]:
        return lambda: {
            (name, what): count
            for name, feed in feeds.items()
            for what, count in read(feed).items()
        }

    return Figures(
        *(Figure(f"atoll_feed_{name}", text, each(read), "feed") for name, text, read in _GAUGES),
        *(
            Figure(f"atoll_feed_{name}", text, each(read), "feed", is_counter=True)
            for name, text, read in _COUNTERS
        ),
        *(
            Figure(f"atoll_feed_{name}", text, counts(read), ("feed", label), is_counter=True)
            for name, text, label, read in _COUNTS
        ),
        Figure(
            "atoll_feed_unknown_resource",
            "Resources of the site file that the API server does not serve",
            lambda: dict.fromkeys(unknown(), 1.0),
            "name",
        ),
    )
