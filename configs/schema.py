"""The one schema of a site file. Every default has its unit and its reason.

Durations are seconds in code and "500ms", "2s", "5m", "1h" in files; sizes are bytes in code and
"64KiB", "8MiB", "1GiB" in files. Fields marked LIVE take effect on edit; any other needs a restart.
What contradicts what across keys is in `rules.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from configs.conditions import check_condition
from configs.selectors import check_selector
from configs.units import Address, BusUrl, Bytes, FilePath, JsonPointer, Name, Seconds

LIVE = "x-live"  # in a field's JSON schema: true where an edit needs no restart
SECRET = "x-secret"  # in a field's JSON schema: true where values are never shown


class Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _blank_is_default(cls, data: Any) -> Any:
        # `bus:` with every key below it commented out is null in YAML.
        return {} if data is None else data


class Tls(Section):
    """Certificate files of a listener."""

    certificate: FilePath
    """PEM, with the chain."""
    key: FilePath
    """PEM, readable only by the site's user."""


class BusServer(Section):
    """The site's own nats-server."""

    url: BusUrl | None = None
    """An external server instead of our own; contradicts `listen`, `tls`, `storage` and `sync`."""
    listen: Address = "127.0.0.1:0"
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
    """What is written to standard error."""

    level: Annotated[
        Literal["trace", "debug", "info", "warning", "error"], Field(json_schema_extra={LIVE: True})
    ] = "info"
    """Only changes are logged at info."""
    json_lines: Annotated[bool, Field(alias="json")] = False
    """One JSON object a line instead of text for people."""


class Health(Section):
    """The site's own HTTP port for probes, Prometheus and `atoll status`."""

    listen: Address = "127.0.0.1:0"
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

    listen: Address = "127.0.0.1:0"
    """host:port; port 0 lets the system choose (`atoll status` shows it)."""
    tokens: Annotated[dict[str, str], Field(json_schema_extra={SECRET: True})] = {}
    """Bearer token -> user name (`rbac`: "name,group,group"); empty: everyone on loopback is
    `system:admin` (`rbac`: `system:anonymous`)."""
    authorization: Literal["always", "rbac"] = "always"
    """Who may do what: everyone who is known everything, or what RBAC's objects say. Then
    upstream's default roles are there, it serves HTTPS with a certificate of its own, and the
    kubeconfig in the state directory is the administrator's."""
    history: Annotated[int, Field(gt=0)] = 10_000
    """Watch events kept per resource, so that clients resume after a restart."""


class Api(Section):
    """Where the Kubernetes API is: exactly one of `embedded`, `kubeconfig`, `in_cluster`."""

    embedded: EmbeddedApi | None = None
    """Our own small API server; `embedded: {}` takes its defaults."""
    kubeconfig: FilePath | None = None
    """A kubeconfig file, as kubectl uses it."""
    context: str | None = None
    """Which context of the kubeconfig; its current one by default."""
    in_cluster: bool = False
    """The service account of the pod this site runs in."""


class ApiGate(Section):
    """Through which nodes reach the API server; what they may ask for is up to its RBAC."""

    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that share the nodes' requests. 1: one that dies is back within seconds, and
    watches go on; more carry more."""
    identities: tuple[str, ...] = (
        "system:kube-proxy",
        "system:serviceaccount:kube-system:coredns",
    )
    """Users as whom nodes may act besides themselves (`system:node:<node>`): what every node's
    kube-proxy and CoreDNS are in a kubeadm cluster."""


class Leases(Section):
    """How quickly another node takes over."""

    ttl: Seconds = 2.0
    """A dead holder is replaced after this long. 2 s: crash to service in under 3 s."""
    renew: Seconds = 0.5
    """Renewal period. A quarter of the ttl: three renewals may be lost."""


class HubCache(Section):
    """What a hub keeps on the node's disk, for when nobody can be asked."""

    size: Bytes = 256 << 20
    """Bound on disk; what nobody reads goes first. 256 MiB: what 110 pods need, many times over."""
    components: Annotated[dict[str, tuple[str, ...]], Field(json_schema_extra={LIVE: True})] = {
        "kubelet": ("*",),
        "kube-proxy": ("*",),
        "coredns": ("*",),
        "flanneld": ("*",),
        "calico-node": ("*",),
        "cilium-agent": ("*",),
        "raven-agent-ds": ("*",),
    }
    """Component (as its User-Agent begins) -> resources whose reads are kept, as kubectl names
    them, `*` for all, `-events` for all but. `*` as component is everybody who says who he is;
    `-name: []` is not. What a node needs to start its pods, and the usual network agents."""


FilterName = Literal[
    "masterservice",
    "forwardkubesvctraffic",
    "serviceenvupdater",
    "inclusterconfig",
    "servicetopology",
    "discardcloudservice",
    "nodeportisolation",
    "hostnetworkpropagation",
]
"""The built-in filters; `edge/filters` says what each does and for whom."""


class PatchOperation(Section):
    """One operation of a JSON patch (RFC 6902)."""

    op: Annotated[
        Literal["add", "remove", "replace", "move", "copy", "test"],
        Field(json_schema_extra={LIVE: True}),
    ]
    """What to do; a `test` that fails leaves the object as it is."""
    path: Annotated[JsonPointer, Field(json_schema_extra={LIVE: True})]
    """Where: a JSON pointer, as "/metadata/annotations/example.com~1note"."""
    source: Annotated[JsonPointer | None, Field(alias="from", json_schema_extra={LIVE: True})] = (
        None
    )
    """From where, for `move` and `copy`."""
    value: Annotated[Any, Field(json_schema_extra={LIVE: True})] = None
    """What, for `add`, `replace` and `test`."""


class RuleMatch(Section):
    """Which objects, in whose eyes. Each key left out is anything."""

    components: Annotated[tuple[str, ...], Field(json_schema_extra={LIVE: True})] = ()
    """Who asks, as his User-Agent begins: "kubelet"; `*` is everybody who says who he is."""
    resources: Annotated[tuple[str, ...], Field(json_schema_extra={LIVE: True})] = ()
    """As kubectl names them: plural, plural.group or plural.version.group; `*` for all."""
    verbs: Annotated[
        tuple[Literal["get", "list", "watch"], ...], Field(json_schema_extra={LIVE: True})
    ] = ()
    """A rule for `list` alone lets a watch show what the list did not."""
    namespaces: Annotated[tuple[str, ...], Field(json_schema_extra={LIVE: True})] = ()
    """Objects that are in no namespace do not match once some are named."""
    labels: Annotated[
        str, AfterValidator(check_selector), Field(json_schema_extra={LIVE: True})
    ] = ""
    """A label selector, as kubectl's: "app=web,tier in (a,b),!canary"."""


class FilterRule(Section):
    """What some components see otherwise than it is."""

    name: Name
    """For messages and figures; unique."""
    match: RuleMatch = RuleMatch()
    """Which objects, in whose eyes."""
    when: Annotated[str, AfterValidator(check_condition), Field(json_schema_extra={LIVE: True})] = (
        ""
    )
    """A condition in CEL on `object`, `node`, `pool` and `component`; an object for which it cannot
    be told (see CEL's `has`) is not touched by the rule, and that is reported."""
    action: Annotated[Literal["keep", "drop", "patch"], Field(json_schema_extra={LIVE: True})]
    """`drop` hides the object, `patch` shows it patched, `keep` leaves it out of later rules."""
    patch: Annotated[tuple[PatchOperation, ...], Field(json_schema_extra={LIVE: True})] = ()
    """A JSON patch. What does not fit an object leaves it as it is, and is reported."""


def _all_filters(value: Any) -> Any:
    return (value,) if value == "*" else value


class HubFilters(Section):
    """What components see otherwise than it is. A view, no protection: whoever reads under another
    name, or past the hub, sees everything."""

    disabled: Annotated[
        tuple[Literal["*", FilterName], ...],
        BeforeValidator(_all_filters),
        WithJsonSchema(
            {
                "anyOf": [
                    {"const": "*"},
                    {"type": "array", "items": {"enum": ["*", *get_args(FilterName)]}},
                ]
            }
        ),
        Field(json_schema_extra={LIVE: True}),
    ] = ()
    """Built-in filters that are off; `"*"` for all."""
    components: Annotated[
        dict[FilterName, tuple[str, ...]], Field(json_schema_extra={LIVE: True})
    ] = {}
    """Built-in filter -> components it is for besides its own; `-name` is not, `*` is everybody who
    says who he is."""
    rules: Annotated[tuple[FilterRule, ...], Field(json_schema_extra={LIVE: True})] = ()
    """In this order, after the built-in filters."""
    python: Annotated[tuple[str, ...], Field(json_schema_extra={LIVE: True})] = ()
    """Filters of installed packages, by their names in the entry point group `atoll.filters`; in
    this order, last."""


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
    identities: Annotated[dict[str, str], Field(json_schema_extra={LIVE: True})] = {
        "kube-proxy": "system:kube-proxy",
        "coredns": "system:serviceaccount:kube-system:coredns",
    }
    """Component (as its User-Agent begins) -> user as whom it acts; all others are the node. The
    cloud's `apigate.identities` has to allow it."""
    requests: Annotated[int, Field(ge=10)] = 400
    """Requests worked on at a time (not watches); upstream's default. 20 % of them are kept for
    kubelet, 15 % for the components of `cache.components`, 15 % for who has credentials of its own,
    5 % for others; who finds none waits up to 5 s, then gets a 429."""
    cache: HubCache = HubCache()
    """What a hub keeps on the node's disk, for when nobody can be asked."""
    filters: HubFilters = HubFilters()
    """What components see otherwise than it is."""


class Node(Section):
    """One node of the pool."""

    name: Name
    """Its Kubernetes node name."""
    host: str = "127.0.0.1"
    """The machine that runs it; `atoll up` starts the nodes whose host is this machine."""
    listen: Address = "127.0.0.1:10261"
    """Where its hub serves the Kubernetes API. YurtHub's port."""
    secure: Address | None = None
    """Where its hub serves pods over TLS, by their service account tokens; YurtHub's port is 10268.
    Unset: nowhere. Pods need an address of the node here, not loopback."""
    secure_tls: Tls | None = None
    """Its certificate; a change of the files is noticed. Unset: the hub makes and renews its own,
    with a CA for pods in the node's state directory (`hub-ca.crt`)."""
    cloud_url: BusUrl | None = None
    """This node's own way to the cloud bus, where it differs from the pool's."""
    public_key: str | None = None
    """Its nkeys user ("U..."), which the machine that runs the pool's bus needs of nodes on other
    machines; `atoll keys list` shows it. Unset: the key in this machine's state directory."""


class CloudLink(Section):
    """The WAN: how this pool's nodes reach the cloud bus."""

    url: BusUrl
    """nats://host:port or tls://host:port; always dialled outward."""
    ca: FilePath | None = None
    """CA file for tls://; the system's CAs by default."""
    enrolment: FilePath | None = None
    """Directory shared with the cloud site: nodes put their public keys there. Leave it unset
    where the two are on different machines and copy the keys by hand."""
    ping: Seconds = 1.0
    """Link check period; a black hole is noticed within two. 1 s costs 12 bytes each way."""


class PoolBus(BusServer):
    """The pool's nats-server; it runs on one node, so that the pool works without the cloud."""

    server: Name | None = None
    """The node that runs the pool's nats-server; the first node by default."""
    ca: FilePath | None = None
    """CA file by which the pool's other machines check its certificate; the system's by default."""


class SiteFile(Section):
    """What every site has."""

    version: Literal[1] = 1
    """Of this schema."""
    name: Name
    """The site's name; unique among the sites of one cloud."""
    state: FilePath
    """Everything that outlives a restart; relative to the site file."""
    runtime: Literal["ray", "local"] = "ray"
    """`local` runs the same actors in one process, for devices too small for Ray."""
    log: Log = Log()
    """What is written to standard error."""
    health: Health = Health()
    """The site's own HTTP port for probes, Prometheus and `atoll status`."""


class CloudSiteFile(SiteFile):
    """The cloud: one bus for all pools, and the feeds that carry cluster state to them."""

    kind: Literal["cloud"]
    """A cloud site."""
    bus: BusServer = BusServer()
    """The bus that the nodes of all pools dial."""
    api: Api
    """Where the Kubernetes API is."""
    feeds: Feeds = Feeds()
    """Which resources go to the pools, and the bounds on what is kept for them."""
    apigate: ApiGate = ApiGate()
    """Nodes' way to the API server."""
    enrolment: FilePath
    """Directory of node public keys, one file `<pool>.<node>.pub` each; watched."""


class PoolSiteFile(SiteFile):
    """A pool: nodes on one LAN that share what they know and live on without the cloud."""

    kind: Literal["pool"]
    """A pool site."""
    cloud: CloudLink
    """The WAN: how this pool's nodes reach the cloud bus."""
    bus: PoolBus = PoolBus()
    """The pool's own bus."""
    nodes: Annotated[tuple[Node, ...], Field(min_length=1)]
    """All nodes of the pool, on whichever machine; names are unique."""
    leases: Leases = Leases()
    """How quickly another node takes over."""
    hub: HubSettings = HubSettings()
    """What every node's hub does."""


AnySiteFile = CloudSiteFile | PoolSiteFile
