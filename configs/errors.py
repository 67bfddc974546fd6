"""What is wrong with a site file: all of it at once, each with file, line, path and reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One thing to mend. `line` 0: the file as a whole; `key` "": no particular key."""

    file: Path
    line: int
    key: str  # dotted: "feeds.resources", "nodes[node-1].listen"
    reason: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{where}: {self.key}: {self.reason}" if self.key else f"{where}: {self.reason}"


class ConfigError(Exception):
    """The file is no valid site file. `problems` holds everything found, in line order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class ConfigAbsent(ConfigError):
    """There is no such file: absent is not invalid."""

    def __init__(self, path: Path) -> None:
        super().__init__([Problem(path, 0, "", "there is no such file")])
