from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from actors.kube import liveness

ROOT = Path(__file__).parents[3]


def black_hole(give_up_seconds: int) -> dict[str, float]:
    command = ["unshare", "-rn", sys.executable, "-m", "tests.actors.kube.black_hole"]
    done = subprocess.run(
        [*command, str(give_up_seconds)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_a_black_hole_shows_in_the_age_at_once_and_ends_the_watch() -> None:
    found = black_hole(give_up_seconds=4)
    assert found["idle"] < 2.2  # an idle watch is known to live
    assert found["silent"] > 3.0
    assert found["given_up"] < 8


def test_the_kernel_gives_up_within_half_a_minute() -> None:
    assert liveness.PROBE_SECONDS + liveness.GIVE_UP_SECONDS <= 30


def test_what_is_no_socket_tells_nothing() -> None:
    assert liveness.silence(None) is None
