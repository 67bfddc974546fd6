"""All checks, in the order in which they fail fastest: `python -m tests [pytest arguments]`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKS = (
    ("format", ["ruff", "format", "--check", "--quiet", "."]),
    ("lint", ["ruff", "check", "--quiet", "."]),
    ("layers", ["importlinter.cli", "lint"]),
    ("types", ["mypy"]),
)


def _run(name: str, arguments: list[str]) -> int:
    sys.stderr.write(f"== {name}\n")
    sys.stderr.flush()
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, check=False).returncode


def main() -> int:
    for name, arguments in CHECKS:
        if code := _run(name, arguments):
            return code
    return _run("tests", ["pytest", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
