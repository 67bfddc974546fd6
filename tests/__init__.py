"""Tests mirror the source; `tests/e2e` cuts links and kills processes; `tests/bench` measures."""
