"""The one schema of a site file. Every default has its unit and its reason.

Durations are seconds in code and "500ms", "2s", "5m", "1h" in files; sizes are bytes in code and
"64KiB", "8MiB", "1GiB" in files. Fields marked LIVE take effect on edit; any other needs a restart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from configs.units import Bytes, Seconds

LIVE = "x-live"  # in a field's JSON schema: true where an edit needs no restart


def _dns_label(value: str) -> str:
    import re

    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", value):
        raise ValueError("must be a DNS label: lower-case letters, digits and '-', 63 at most")
    return value


Name = Annotated[str, AfterValidator(_dns_label)]
"""A site's or node's name: it becomes a NATS subject token and a Kubernetes name."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Tls(Section):
    """Certificate files of a listener."""

    certificate: Path
    key: Path


class BusServer(Section):
    """The site's own nats-server."""

    url: str | None = None
    """An external server instead of our own; contradicts `listen`, `tls` and `storage`."""
    listen: str = "127.0.0.1:0"
    """host:port; port 0 lets the system choose (written to the state directory for others)."""
    tls: Tls | None = None
    """Needed as soon as `listen` is not loopback: credentials and cluster data cross it."""
    storage: Bytes = 1 << 30
    """JetStream's bound on disk. 1 GiB: a pool's objects and a day of queued events fit."""
    sync: Literal["always", "interval"] = "interval"
    """fsync policy. `interval` (NATS' 2 min): what is kept here, the cloud can give again."""
    max_payload: Bytes = 8 << 20
    """Largest message. 8 MiB: the largest Kubernetes object (3 MiB) in one frame; NATS' advice."""


class Log(Section):
    level: Annotated[
        Literal["trace", "debug", "info", "warning", "error"], Field(json_schema_extra={LIVE: True})
    ] = "info"
    """Only changes are logged at info."""
    json_lines: Annotated[bool, Field(alias="json")] = False
    """One JSON object a line instead of text for people."""


class Health(Section):
    listen: str = "127.0.0.1:0"
    """Where /healthz, /readyz, /metrics and /status are served; loopback unless you say so."""


class Feeds(Section):
    """Pool-scope resources: the same for every node, carried to every pool once."""

    resources: Annotated[tuple[str, ...], Field(json_schema_extra={LIVE: True})] = (
        "services",
        "endpointslices.discovery.k8s.io",
    )
    """As kubectl names them: plural, plural.group or plural.version.group; CRDs too."""
    ring: Bytes = 16 << 20
    """Recent frames kept for followers that missed some. 16 MiB: hours of usual churn."""
    history: Bytes = 32 << 20
    """Older object versions kept to send deltas against. 32 MiB: 10,000 slices of 3 KB."""
    tick: Seconds = 1.0
    """How often followers hear where the feed is: bounds how long a lost tail goes unseen."""
    max_object: Bytes = 3 << 20
    """Larger objects are not carried, and that is reported. 3 MiB: the API server's own bound."""


class EmbeddedApi(Section):
    """Our own small API server, for demos, tests and places without a cluster."""

    listen: str = "127.0.0.1:0"
    tokens: dict[str, str] = {}
    """Bearer token -> user name; empty: everyone on loopback is `system:admin`."""
    history: int = 10_000
    """Watch events kept per resource, so that clients resume after a restart."""


class Api(Section):
    """Where the Kubernetes API is. Exactly one of the three."""

    embedded: EmbeddedApi | None = None
    kubeconfig: Path | None = None
    context: str | None = None
    """Which context of the kubeconfig; its current one by default."""
    in_cluster: bool = False


class Leases(Section):
    """How quickly another node takes over."""

    ttl: Seconds = 2.0
    """A dead holder is replaced after this long. 2 s: crash to service in under 3 s."""
    renew: Seconds = 0.5
    """Renewal period. A quarter of the ttl: three renewals may be lost."""


class HubSettings(Section):
    """What a node's hub does; the pool's section holds for all nodes."""

    window: Bytes = 8 << 20
    """Recent watch events kept per resource for clients that resume. 8 MiB: 3,000 of 2.5 KB."""
    watcher_queue: Bytes = 16 << 20
    """What one slow client may be behind before it is disconnected (it resumes by version)."""
    stale_after: Annotated[Seconds, Field(json_schema_extra={LIVE: True})] = 5.0
    """Age from which answers carry a Warning header. 5 s: five missed ticks."""
    fallback_after: Annotated[Seconds, Field(json_schema_extra={LIVE: True})] = 3.0
    """Silence of the coordinator after which a hub follows the cloud itself (+ jitter)."""
    bookmark: Annotated[Seconds, Field(json_schema_extra={LIVE: True})] = 60.0
    """Watch bookmarks, about once a minute as the API server sends them."""


class Node(Section):
    name: Name
    host: str = "127.0.0.1"
    """The machine that runs it; `atoll up` starts the nodes whose host is this machine."""
    listen: str = "127.0.0.1:10261"
    """Where its hub serves the Kubernetes API. YurtHub's port."""
    cloud_url: str | None = None
    """This node's own way to the cloud bus, where it differs from the pool's."""


class CloudLink(Section):
    """The WAN: how this pool's nodes reach the cloud bus."""

    url: str
    """nats://host:port or tls://host:port; always dialled outward."""
    ca: Path | None = None
    """CA file for tls://."""
    enrolment: Path | None = None
    """Directory shared with the cloud site: nodes put their public keys there. Leave it unset
    where the two are on different machines and copy the keys by hand."""
    ping: Seconds = 1.0
    """Link check period; a black hole is noticed within two. 1 s costs 12 bytes each way."""


class PoolBus(BusServer):
    server: Name | None = None
    """The node that runs the pool's nats-server; the first node by default."""


class SiteFile(Section):
    version: Literal[1] = 1
    """Of this schema."""
    name: Name
    state: Path
    """Everything that outlives a restart; relative to the site file."""
    runtime: Literal["ray", "local"] = "ray"
    """`local` runs the same actors in one process, for devices too small for Ray."""
    log: Log = Log()
    health: Health = Health()


class CloudSiteFile(SiteFile):
    kind: Literal["cloud"]
    bus: BusServer = BusServer()
    api: Api
    feeds: Feeds = Feeds()
    enrolment: Path
    """Directory of node public keys, one file `<pool>.<node>.pub` each; watched."""


class PoolSiteFile(SiteFile):
    kind: Literal["pool"]
    cloud: CloudLink
    bus: PoolBus = PoolBus()
    nodes: Annotated[tuple[Node, ...], Field(min_length=1)]
    leases: Leases = Leases()
    hub: HubSettings = HubSettings()


AnySiteFile = CloudSiteFile | PoolSiteFile
