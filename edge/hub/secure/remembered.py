"""Answers by question, bounded, and kept on disk: offline the last known one holds.

Tokens are known by their hashes; those that are no good are not kept on disk.
The file is replaced as a whole, and only when an answer is new or another one: that answers were
confirmed wears no flash.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import msgspec

from actors.kube.serve.api import User
from actors.kube.serve.certificate import keep_secret

if TYPE_CHECKING:
    from loguru import Logger

    from edge.hub.secure.reviews import Reviews

T = TypeVar("T")
Question = tuple[str, ...]
SAVE_SECONDS = 5.0  # what a power cut may forget
_PAST = float("-inf")


class Held(NamedTuple, Generic[T]):
    answer: T
    until: float  # when it has to be asked again, monotonic


class Remembered(Generic[T]):
    """The least recently used go."""

    def __init__(self, most: int) -> None:
        self.changed = asyncio.Event()
        self._most = most
        self._held: OrderedDict[Question, Held[T]] = OrderedDict()

    def get(self, question: Question) -> Held[T] | None:
        held = self._held.get(question)
        if held is not None:
            self._held.move_to_end(question)
        return held

    def put(self, question: Question, answer: T, until: float) -> T:
        """Returns the answer."""
        before = self._held.get(question)
        self._held[question] = Held(answer, until)
        self._held.move_to_end(question)
        if len(self._held) > self._most:
            self._held.popitem(last=False)
        if before is None or before.answer != answer:
            self.changed.set()
        return answer

    def drop(self, question: Question) -> None:
        if self._held.pop(question, None) is not None:
            self.changed.set()

    def restore(self, answers: Iterable[tuple[Question, T]]) -> None:
        """From before a restart: to be asked again as soon as somebody can be asked."""
        for question, answer in answers:
            self.put(question, answer, _PAST)
        self.changed.clear()

    def answers(self) -> list[tuple[Question, T]]:
        return [(question, held.answer) for question, held in self._held.items()]

    def __len__(self) -> int:
        return len(self._held)


class _Person(msgspec.Struct):
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: dict[str, tuple[str, ...]] = {}


class _File(msgspec.Struct):
    tokens: Sequence[tuple[Question, _Person]] = ()
    rights: Sequence[tuple[Question, bool]] = ()


class ReviewFile:
    """`load` before use; `run` saves what changes, `save` at the end."""

    def __init__(self, file: Path, reviews: Reviews, log: Logger) -> None:
        self._file = file
        self._reviews = reviews
        self._log = log
        self._is_failing = False

    def load(self) -> None:
        """A file that is damaged is none: all is asked anew."""
        try:
            held = msgspec.json.decode(self._file.read_bytes(), type=_File)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            self._log.warning("{} is not used: {}", self._file.name, error)
            return
        tokens = self._reviews.tokens
        tokens.restore((question, _user(person)) for question, person in held.tokens)
        self._reviews.rights.restore(held.rights)

    async def run(self) -> None:
        while True:
            await self._any_change()
            await asyncio.sleep(SAVE_SECONDS)
            await self.save()

    async def _any_change(self) -> None:
        held = (self._reviews.tokens, self._reviews.rights)
        waits = [asyncio.create_task(each.changed.wait(), name="new answers") for each in held]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
            await asyncio.wait(waits)

    async def save(self) -> None:
        """What changed since. A disk that does not take it is told of once, and tried again."""
        tokens, rights = self._reviews.tokens, self._reviews.rights
        if not (tokens.changed.is_set() or rights.changed.is_set()):
            return
        tokens.changed.clear()
        rights.changed.clear()
        people = [(question, _person(user)) for question, user in tokens.answers()]
        text = msgspec.json.encode(_File(people, rights.answers()))
        try:
            await asyncio.to_thread(keep_secret, self._file, text)
            self._is_failing = False
        except OSError as error:
            if not self._is_failing:
                self._log.warning("{} cannot be written: {}", self._file.name, error)
            self._is_failing = True
            tokens.changed.set()


def _user(person: _Person) -> User:
    return User(person.name, person.groups, person.uid, person.extra)


def _person(user: User) -> _Person:
    return _Person(user.name, user.groups, user.uid, dict(user.extra))
