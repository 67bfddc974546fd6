"""kubectl, as a process: one answer, or lines as they come."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import shlex
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.interop.target import DEADLINE

Json = dict[str, Any]
SECONDS = 30.0
OPENAPI_V3 = 27  # older ones read OpenAPI v2 as protobuf, which our servers do not have
STRICT = 25  # older ones leave unknown fields to a schema that they cannot read
WAIT_JSONPATH = 23


@functools.cache
def minor() -> int:
    """1.x of the kubectl on this machine: Debian 12 has 1.20."""
    command = ["kubectl", "version", "--client", "-o", "json"]
    said = subprocess.run(command, capture_output=True, check=True).stdout
    text: str = json.loads(said)["clientVersion"]["minor"]
    return int(text.rstrip("+"))


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        """A table's cells, without its heading; columns are two blanks or more apart."""
        return [line.split() for line in self.out.splitlines()[1:]]

    @property
    def heading(self) -> list[str]:
        return self.out.splitlines()[0].split()

    @property
    def names(self) -> list[str]:
        return [row[0] for row in self.rows]

    @property
    def json(self) -> Json:
        return dict(json.loads(self.out))


class Kubectl:
    """Of one kubeconfig and namespace. `home` keeps it from the caches of other runs."""

    def __init__(self, kubeconfig: Path, namespace: str, home: Path) -> None:
        self._command = ["kubectl", "--kubeconfig", str(kubeconfig), "--namespace", namespace]
        self._command += ["--cache-dir", str(home / "cache")]
        self._env = {**os.environ, "HOME": str(home)}

    async def run(self, line: str, stdin: str | Json = "") -> Done:
        """Any outcome. `line` is split as a shell would."""
        process = await self._start(line)
        text = stdin if isinstance(stdin, str) else json.dumps(stdin)
        try:
            async with asyncio.timeout(SECONDS):
                out, err = await process.communicate(text.encode())
        finally:
            await _end(process)
        return Done(process.returncode or 0, out.decode(), err.decode())

    async def __call__(self, line: str, stdin: str | Json = "") -> Done:
        """Fails unless kubectl is content."""
        done = await self.run(line, stdin)
        assert done.code == 0, f"kubectl {line}: {done.code}\n{done.out}{done.err}"
        return done

    @contextlib.asynccontextmanager
    async def lines(self, line: str) -> AsyncIterator[Lines]:
        """Of a command that runs on until it is stopped."""
        process = await self._start(line)
        try:
            yield Lines(process)
        finally:
            await _end(process)

    async def _start(self, line: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *self._command, *shlex.split(line), stdin=pipe, stdout=pipe, stderr=pipe, env=self._env
        )


class Lines:
    """With `-v=6` its standard error tells each request once its answer begins."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._out, self._err = process.stdout, process.stderr

    async def next(self) -> str:
        return await self._line(self._out)

    async def watches(self) -> None:
        """Returns once a watch is open."""
        while "watch=true" not in (line := await self._line(self._err)) or "200 OK" not in line:
            continue

    async def _line(self, stream: asyncio.StreamReader) -> str:
        try:
            async with asyncio.timeout(DEADLINE):
                line = await stream.readline()
        except TimeoutError:
            raise AssertionError(f"kubectl says nothing for {DEADLINE} s") from None
        assert line, f"kubectl ended: {(await self._err.read()).decode()}"
        return line.decode().rstrip()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.communicate()
