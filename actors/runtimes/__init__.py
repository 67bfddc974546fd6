"""Where hosts run: `local` in this process, `ray` in a process each. One protocol, one test suite.

Start with `api.py` (what a runtime promises). `local.py` is the whole idea in fifty lines; `ray.py`
starts each host as one Ray actor on a Ray of its own (`ray_head.py`), `ray_worker.py` is what runs
in that process, and `ray_logs.py` brings its log lines home.
"""

from actors.runtimes.api import HostGone, HostHandle, Runtime, create

__all__ = ["HostGone", "HostHandle", "Runtime", "create"]
