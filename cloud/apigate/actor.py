"""The ApiGate actor."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.actor import Actor, Context
from actors.figures import Figure, Figures, one
from actors.kube.client import ApiAccess, ClusterClient
from bus.keys import NodeKey
from bus.stream import StreamServer, StreamSettings
from cloud.apigate.borrowers import Borrowers
from cloud.apigate.enrolled import Enrolled
from cloud.apigate.gate import Gate
from cloud.apigate.proof import Sessions
from cloud.apigate.questions import Question, questions
from cloud.apigate.review import Reviewer, ReviewSettings


@dataclass(frozen=True)
class ApiGateSettings:
    access: ApiAccess
    identities: tuple[str, ...] = ()  # see configs.schema.ApiGate
    stream: StreamSettings = field(default_factory=StreamSettings)
    resources: tuple[str, ...] = ()  # the feeds', which every node may read
    review: ReviewSettings = field(default_factory=ReviewSettings)
    seed_file: Path | None = None  # the site's; None: nobody's link is lent
    enrolment: Path = Path()  # with `seed_file`: the directory of nodes' keys


class ApiGate(Actor[ApiGateSettings]):
    def __init__(self, context: Context, settings: ApiGateSettings) -> None:
        super().__init__(context, settings)
        self._client = ClusterClient(settings.access, "atoll-apigate")
        self._reviewer = Reviewer(self._client, _asked(settings), context.log, settings.review)
        self._gate = Gate(self._client, frozenset(settings.identities), self._reviewer.look_again)
        # A new name at each start: streams of the one before are not ours.
        name = secrets.token_hex(4)
        self._enrolled: Enrolled | None = None
        self._borrowers: Borrowers | None = None
        if settings.seed_file is not None:
            site = NodeKey.load_or_create(settings.seed_file)
            self._enrolled = Enrolled(settings.enrolment, site.public)
            sessions = Sessions(site, name, self._enrolled.key_of)
            self._borrowers = Borrowers(self._gate, sessions, site.public)
        handler = self._borrowers or self._gate
        self._server = StreamServer(context.buses["cloud"], name, handler, settings.stream)
        context.metrics.register(Figures(*self._figures()))

    def _figures(self) -> tuple[Figure, ...]:
        return (
            Figure(
                "atoll_apigate_requests",
                "Nodes' requests taken",
                one(lambda: self._gate.requests),
                is_counter=True,
            ),
            Figure(
                "atoll_apigate_refused",
                "Nodes' requests that did not reach the API server",
                one(lambda: self._refused),
                is_counter=True,
            ),
            Figure(
                "atoll_apigate_borrowers",
                "Nodes without a link that come through another one's",
                one(lambda: self._borrowing),
            ),
            Figure(
                "atoll_apigate_missing_permissions",
                "What ApiGate, or those as whom it acts, should be allowed and are not",
                one(lambda: len(self._reviewer.problems)),
            ),
            Figure(
                "atoll_apigate_streams",
                "Answers under way, watches among them",
                one(lambda: self._server.open_streams),
            ),
            Figure(
                "atoll_apigate_mirrors",
                "Collections watched for hubs",
                one(lambda: self._gate.mirroring.open),
            ),
            Figure(
                "atoll_apigate_mirror_lists",
                "Collections listed for hubs",
                one(lambda: self._gate.mirroring.lists),
                is_counter=True,
            ),
            Figure(
                "atoll_apigate_mirror_bases_dropped",
                "Objects whose next change goes to a hub whole, for want of memory",
                one(lambda: self._gate.mirroring.memory.evicted),
                is_counter=True,
            ),
        )

    async def on_start(self) -> None:
        if self._enrolled is not None and self._borrowers is not None:
            follow = self._enrolled.follow(self._borrowers.look_again)
            self.context.tasks.spawn("enrolled", follow)
        await self._server.start()
        self.context.tasks.spawn("review", self._reviewer.run())

    async def on_config(self, settings: ApiGateSettings) -> None:
        await super().on_config(settings)
        self._reviewer.ask(_asked(settings))

    async def on_stop(self) -> None:
        await self._server.stop()
        await self._client.close()

    @property
    def _borrowing(self) -> int:
        return len(self._borrowers.sessions) if self._borrowers is not None else 0

    @property
    def _refused(self) -> int:
        false = self._borrowers.refused if self._borrowers is not None else 0
        return self._gate.refused + self._server.refused + false

    def status(self) -> dict[str, Any]:
        return {
            "gate": self._server.gate,
            "streams": self._server.open_streams,
            "requests": self._gate.requests,
            "mirrors": self._gate.mirroring.open,
            "borrowers": self._borrowing,
            "refused": self._refused,
            "missing_permissions": list(self._reviewer.problems),
            "warning": "; ".join(self._reviewer.problems),
        }


def _asked(settings: ApiGateSettings) -> list[Question]:
    return questions(settings.identities, settings.resources)
