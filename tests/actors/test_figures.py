"""Figures are read at each scrape, with none, one or several labels."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, generate_latest

from actors.figures import Figure, Figures, one


def test_values_are_those_of_the_moment() -> None:
    held = {"services": 1.0}
    ends: dict[tuple[str, ...], float] = {("services", "gone"): 2.0}
    registry = CollectorRegistry()
    registry.register(
        Figures(
            Figure("objects", "Held", lambda: held, "feed"),
            Figure("leads", "Whether", one(lambda: len(held) > 1)),
            Figure(
                "ends",
                "By kind",
                lambda: ends,
                ("feed", "kind"),
                is_counter=True,
            ),
        )
    )
    held |= {"pods": 2.0, "": 3.0}
    lines = generate_latest(registry).decode().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        'objects{feed="services"} 1.0',
        'objects{feed="pods"} 2.0',
        'objects{feed=""} 3.0',
        "leads 1.0",
        'ends_total{feed="services",kind="gone"} 2.0',
    ]


def test_never_is_no_number() -> None:
    registry = CollectorRegistry()
    registry.register(Figures(Figure("age", "Age", one(lambda: math.inf))))
    assert "age NaN" in generate_latest(registry).decode()
