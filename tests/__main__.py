"""All checks, in the order in which they fail fastest: `python -m tests [pytest arguments]`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# importlinter.cli does nothing as a module: this is what its `lint-imports` script does.
_LINT_IMPORTS = "from importlinter.cli import lint_imports_command as lint; lint()"
CHECKS = (
    ("format", ["-m", "ruff", "format", "--check", "--quiet", "."]),
    ("lint", ["-m", "ruff", "check", "--quiet", "."]),
    ("layers", ["-c", _LINT_IMPORTS]),
    ("types", ["-m", "mypy"]),
)


def _run(name: str, arguments: list[str]) -> int:
    sys.stderr.write(f"== {name}\n")
    sys.stderr.flush()
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, check=False).returncode


def main() -> int:
    for name, arguments in CHECKS:
        if code := _run(name, arguments):
            return code
    return _run("tests", ["-m", "pytest", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
