from __future__ import annotations

import pytest

from edge.hub.sources import Source, choose

CASES = [
    (0.0, True, Source.POOL),
    (2.9, False, Source.POOL),  # a takeover is under way: wait for it
    (3.0, True, Source.CLOUD),
    (3.0, False, Source.NONE),
    (1e9, True, Source.CLOUD),
]


@pytest.mark.parametrize(("silence", "cloud_up", "wanted"), CASES)
def test_chooses_whom_to_follow(silence: float, cloud_up: bool, wanted: Source) -> None:
    assert choose(silence, cloud_up, fallback_after=3.0) is wanted
