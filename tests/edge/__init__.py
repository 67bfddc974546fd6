"""The edge's mechanisms over a bus in memory; `tests/e2e` has the same with everything real."""
