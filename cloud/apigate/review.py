"""Asks the API server, now and then, whether everything is allowed that ApiGate is for.

It only tells: in the log, the figures, and `atoll status`. What is missing one moment may be there
the next (an API server that has just started refuses everyone for a second), so that a no counts
only if it is said twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from actors.kube.client import ClusterClient
from actors.kube.client_errors import KubeError, Refused
from cloud.apigate.questions import Question

if TYPE_CHECKING:
    from loguru import Logger


@dataclass(frozen=True)
class ReviewSettings:
    """Seconds."""

    every: float = 600.0
    confirm: float = 5.0  # from a first no to the second, which counts
    retry: float = 10.0  # after the API server could not be asked
    apart: float = 30.0  # of reviews that refusals call for, however many there are


class Reviewer:
    def __init__(
        self,
        client: ClusterClient,
        asked: Sequence[Question],
        log: Logger,
        settings: ReviewSettings | None = None,
    ) -> None:
        self.problems: tuple[str, ...] = ()
        self.reviews = 0  # that came to an end
        self._client = client
        self._asked = asked
        self._log = log
        self._settings = settings or ReviewSettings()
        self._wake = asyncio.Event()

    def ask(self, asked: Sequence[Question]) -> None:
        """Other questions from now on."""
        if asked != self._asked:
            self._asked = asked
            self.look_again()

    def look_again(self) -> None:
        """Something was refused: soon, instead of at the next turn."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            if not await self._review():
                await asyncio.sleep(self._settings.retry)
                continue
            await asyncio.sleep(min(self._settings.apart, self._settings.every))
            rest = self._settings.every - self._settings.apart
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, rest)):
                    await self._wake.wait()

    async def _review(self) -> bool:
        """Whether it came to an end."""
        try:
            found = await self._missing(self._asked)
            if found and set(found) - set(self.problems):
                await asyncio.sleep(self._settings.confirm)
                found = [each for each in await self._missing(self._asked) if each in found]
        except KubeError as error:
            self._log.debug("permissions cannot be reviewed: {}", error)
            return False
        self._tell(tuple(found))
        self.reviews += 1
        return True

    def _tell(self, problems: tuple[str, ...]) -> None:
        for problem in problems:
            if problem not in self.problems:
                self._log.warning("{}", problem)
        if self.problems and not problems:
            self._log.info("all that ApiGate is for is allowed now")
        self.problems = problems

    async def _missing(self, asked: Sequence[Question]) -> list[str]:
        """One after the other: nobody waits. Raises KubeError."""
        found: list[str] = []
        may_ask = True
        for question in asked:
            if question.user and not may_ask:
                continue  # one problem is enough
            if not await self._is_allowed(question):
                found.append(question.problem())
                may_ask = may_ask and question.resource != "subjectaccessreviews"
        return found

    async def _is_allowed(self, question: Question) -> bool:
        """Raises KubeError."""
        body = msgspec.json.encode(question.review())
        try:
            answer = await self._client.request("POST", question.path, body=body)
        except Refused as error:
            if error.code != 403:
                raise
            return False
        status = msgspec.json.decode(answer.body).get("status") or {}
        return bool(status.get("allowed"))
