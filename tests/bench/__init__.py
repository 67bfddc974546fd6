"""Benches: `python -m tests.bench NAME [--json] [options]`; `... list` names them.

Each file is one bench and one idea; it measures Atoll beside a baseline in the same run, because
this machine is shared and only ratios travel. A table for people goes to stderr, the last line of
stdout is one JSON object. `parts/` is what runs in processes of its own.
"""
