"""Ages as kubectl prints them (cases from apimachinery's duration_test.go)."""

from __future__ import annotations

import pytest

from actors.kube.durations import age, human

M, H, D, Y = 60, 3600, 86400, 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "<invalid>"),
        (-1, "0s"),
        (1, "1s"),
        (70, "70s"),
        (190, "3m10s"),
        (70 * M, "70m"),
        (47 * H, "47h"),
        (49 * H, "2d1h"),
        (9 * D, "9d"),
        (8 * H - 1, "7h59m"),
        (2 * Y, "2y"),
        (2 * Y + D, "2y1d"),
        (2 * Y - 1, "729d"),
        (9 * Y, "9y"),
        (8 * D - 1, "7d23h"),
    ],
)
def test_human(seconds: float, text: str) -> None:
    assert human(seconds) == text


def test_age() -> None:
    assert age("1970-01-01T00:00:10Z", 70.5) == "60s"
    assert age("1970-01-01T00:00:10.250000Z", 70.5) == "60s"
    assert age(None, 5) == age("soon", 5) == "<unknown>"
