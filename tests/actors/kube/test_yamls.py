"""YAML bodies."""

from __future__ import annotations

import pytest

from actors.kube.yamls import from_yaml


def test_dates_stay_text() -> None:
    assert from_yaml(b"when: 2020-01-01\nat: 2020-01-01T00:00:00Z\nnone:\n") == {
        "when": "2020-01-01",
        "at": "2020-01-01T00:00:00Z",
        "none": None,
    }


def test_stars_that_are_no_aliases() -> None:
    assert from_yaml(b'cron: "* * *"') == {"cron": "* * *"}


@pytest.mark.parametrize(
    "text",
    [
        b"a: b: c",
        b"\xff\xfe\x00",
        b"a: 1\n---\nb: 2",
        b"a: &x [1]\nb: *x",
        b"!!python/object:os.x {}",
    ],
)
def test_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_yaml(text)
