"""What a server's log says of its disk (tests/e2e/test_full_disk.py has the whole story)."""

from __future__ import annotations

from pathlib import Path

from bus.server.config import LOG
from bus.server.disk import DiskWatch

HEAD = "[4626] 2026/11/25 02:52:22.067809 [ERR] "
COMPLAINT = "Filestore [KV_leases] Critical write error: write x: no space left on device"
FULL = f"{HEAD}{COMPLAINT}\n"
USUAL = f"{HEAD}10.77.0.1:39940 - cid:6 - TLS handshake error: EOF\n"


def test_tells_of_failed_writes_once(tmp_path: Path) -> None:
    log = tmp_path / LOG
    log.write_text(FULL)
    watch = DiskWatch(tmp_path)
    assert watch.look() == ""  # of an earlier life
    with log.open("a") as file:
        file.write(USUAL + FULL + USUAL)
    assert watch.look() == COMPLAINT
    assert watch.look() == ""


def test_reads_on_after_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / LOG
    log.write_text(USUAL * 10)
    watch = DiskWatch(tmp_path)
    log.write_text(FULL)
    assert "no space left" in watch.look()


def test_no_log_is_no_complaint(tmp_path: Path) -> None:
    watch = DiskWatch(tmp_path / "missing")
    assert watch.look() == ""
    assert not watch.has_room()
    assert DiskWatch(tmp_path).has_room()
