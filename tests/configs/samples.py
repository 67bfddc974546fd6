"""Sites made in code, with what a test wants otherwise."""

from __future__ import annotations

from typing import Any

from configs import CloudSiteFile, PoolSiteFile


def cloud(**changes: Any) -> CloudSiteFile:
    site = {"kind": "cloud", "name": "cloud", "state": "var", "enrolment": "keys"}
    return CloudSiteFile.model_validate({**site, "api": {"embedded": {}}, **changes})


def pool(**changes: Any) -> PoolSiteFile:
    site = {"kind": "pool", "name": "pool-a", "state": "var", "nodes": [{"name": "node-1"}]}
    return PoolSiteFile.model_validate({**site, "cloud": {"url": "nats://a:1"}, **changes})
