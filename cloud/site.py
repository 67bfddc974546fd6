"""The cloud's composition root: which servers and hosts a cloud's site file asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from actors.kube.client import ApiAccess
from actors.sitefile import bus_server, bus_store, log_settings
from actors.specs import ActorSpec, HostSpec
from bus import permissions
from bus.connection import BusSettings
from bus.feed.settings import FeedSettings
from bus.keys import NodeKey
from bus.server import THIN_SILENCE, ServerSettings
from cloud.apigate import rbac
from cloud.apigate.actor import ApiGateSettings
from cloud.apiserver.server import ApiServerSettings
from cloud.enrolment.actor import EnrolmentSettings
from cloud.enrolment.roster import read_roster
from cloud.feeds.actor import FeedsSettings
from configs.schema import CloudSiteFile, EmbeddedApi
from configs.units import split_address

CLOUD_BUS = "cloud"
API_SERVER = "apiserver"


class CloudSite:
    """Implements `actors.specs.Site`. `node` means nothing here: a cloud site has no nodes."""

    def __init__(self, config: CloudSiteFile, node: str = "") -> None:
        if node:
            raise ValueError(f"--node {node}: {config.name} is a cloud site, it has no nodes")
        self._config = config
        self._admin = NodeKey.load_or_create(config.state / "keys" / "admin.seed")

    @staticmethod
    def manifests(config: CloudSiteFile) -> Mapping[str, str]:
        """What a cluster has to be given before it serves this site, as YAML by name."""
        return {"rbac": rbac.render(config.apigate.identities, config.feeds.resources)}

    def servers(self) -> Sequence[ServerSettings]:
        return () if self._config.bus.url is not None else (self._server(),)

    def hosts(self, urls: Mapping[str, str]) -> Sequence[HostSpec]:
        url = self._config.bus.url or urls[CLOUD_BUS]
        more = range(2, self._config.apigate.replicas + 1)
        return [
            self._host("cloud", url, self._config.state, self._actors()),
            *(
                self._host(name, url, self._config.state / name, (self._gate(),))
                for name in (f"apigate-{number}" for number in more)
            ),
        ]

    def _host(self, name: str, url: str, state: Path, actors: tuple[ActorSpec, ...]) -> HostSpec:
        return HostSpec(
            name=name,
            site=self._config.name,
            node="",
            state=state,
            actors=actors,
            buses={"cloud": self._bus(url)},
            log=log_settings(self._config),
        )

    def _server(self) -> ServerSettings:
        roster = read_roster(self._config.enrolment, self._admin.public)
        server = bus_server(self._config, CLOUD_BUS, roster.users(self._admin.public))
        return replace(server, silence_seconds=THIN_SILENCE)

    def _bus(self, url: str) -> BusSettings:
        bus = self._config.bus
        return BusSettings(
            name="cloud",
            urls=(url,),
            seed_file=self._admin.seed_file,
            client=self._config.name,
            inbox_prefix=permissions.ADMIN_INBOX,
            ca=bus.tls.certificate if bus.tls else None,
            pinned=bus.tls is not None,  # our own server, whatever address it is named for
            max_payload=bus.max_payload,
        )

    def _actors(self) -> tuple[ActorSpec, ...]:
        """In start order; stopped in reverse."""
        enrolment = ActorSpec(
            "enrolment", "cloud.enrolment.actor:Enrolment", self._enrolment_settings()
        )
        feeds = ActorSpec("feeds", "cloud.feeds.actor:Feeds", self._feeds_settings())
        if self._config.api.embedded is None:
            return (enrolment, feeds, self._gate())
        api = ActorSpec(
            API_SERVER, "cloud.apiserver.actor:ApiServer", _api_settings(self._config.api.embedded)
        )
        return (api, enrolment, feeds, self._gate())

    def _gate(self) -> ActorSpec:
        settings = ApiGateSettings(
            self._access(),
            self._config.apigate.identities,
            resources=self._config.feeds.resources,
            seed_file=self._admin.seed_file,
            enrolment=self._config.enrolment,
        )
        return ActorSpec("apigate", "cloud.apigate.actor:ApiGate", settings)

    def _enrolment_settings(self) -> EnrolmentSettings:
        is_ours = self._config.bus.url is None
        return EnrolmentSettings(
            directory=self._config.enrolment,
            admin=self._admin.public,
            store=bus_store(self._config) if is_ours else None,
        )

    def _feeds_settings(self) -> FeedsSettings:
        feeds = self._config.feeds
        return FeedsSettings(
            resources=feeds.resources,
            access=self._access(),
            feed=FeedSettings(
                max_object=feeds.max_object, ring_bytes=feeds.ring, history_bytes=feeds.history
            ),
            tick=feeds.tick,
        )

    def _access(self) -> ApiAccess:
        api = self._config.api
        if api.embedded is not None:
            # The API server writes it at each start, with the port it got and a token.
            return ApiAccess(kubeconfig=self._config.state / API_SERVER / "kubeconfig")
        return ApiAccess(kubeconfig=api.kubeconfig, context=api.context, in_cluster=api.in_cluster)


def _api_settings(api: EmbeddedApi) -> ApiServerSettings:
    host, port = split_address(api.listen)
    return ApiServerSettings(
        host=host,
        port=port,
        tokens=api.tokens,
        authorization=api.authorization,
        own_tls=api.authorization == "rbac",
        history=api.history,
    )
