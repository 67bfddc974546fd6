"""The embedded API server as one object: store, registry, writer, and the served HTTP side."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from actors.kube.resource import Resource
from actors.kube.schemas import published
from actors.kube.serve.api import Hooks, ServeSettings
from actors.kube.serve.app import build_app
from actors.kube.serve.backend import CacheBackend
from actors.kube.serve.certificate import keep_secret, own_certificate
from actors.kube.serve.server import Server, start_server
from actors.kube.watchcache import CacheSettings, Entry
from actors.log import logger
from actors.tasks import OwnedTasks
from cloud.apiserver import bootstrap, bulk, kubeconfig
from cloud.apiserver.access.accounts import Accounts
from cloud.apiserver.access.authorizer import AllowAll, RbacAuthorizer
from cloud.apiserver.access.policy import MASTERS
from cloud.apiserver.access.reviews import Reviews
from cloud.apiserver.access.tokens import Signer
from cloud.apiserver.addresses import Addresses
from cloud.apiserver.audit import AuditLog
from cloud.apiserver.auth import Authenticator
from cloud.apiserver.custom import CustomResources
from cloud.apiserver.expiry import Expiry
from cloud.apiserver.janitor import Janitor
from cloud.apiserver.openapi import Described, Documents
from cloud.apiserver.registry import Registry, RegistrySettings, Storage
from cloud.apiserver.store import Store, StoreSettings
from cloud.apiserver.writer import KubeWriter

if TYPE_CHECKING:
    from loguru import Logger

Object = dict[str, Any]
Spawn = Callable[[str, Coroutine[Any, Any, None]], "asyncio.Task[None]"]
DATABASE = "apiserver.db"
DOCUMENTS_AFTER = 2.0  # seconds; asked for earlier, OpenAPI documents are made then


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """PEM files. With `client_ca`, certificates that it signed are users (CN) and groups (O)."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ApiServerSettings:
    """See configs.schema.EmbeddedApi. All of it pickles."""

    host: str = "127.0.0.1"
    port: int = 0  # 0: the system chooses; the choice is kept across restarts
    tokens: Mapping[str, str] = field(default_factory=dict)  # bearer token -> user; none: open
    authorization: Literal["always", "rbac"] = "always"  # see configs.schema.EmbeddedApi
    tls: TlsFiles | None = None
    own_tls: bool = False  # without `tls`: a certificate of our own, kept in the state
    history: int = 10_000  # watch events kept per resource, in memory and on disk
    max_object: int = 1536 * 1024  # bytes; etcd's bound. Request bodies: `serve.max_body`
    event_ttl: float = 3600.0  # seconds since an event was last written; upstream's default
    cluster_ips: str = "10.96.0.0/16"
    audit_bytes: int = 8 * 1024 * 1024  # of each of the two audit files; 0: no audit log
    serve: ServeSettings = field(default_factory=ServeSettings)


class EmbeddedApiServer:
    """`async with EmbeddedApiServer(directory) as server: ... server.url`.

    Everything that outlives a restart is in `state`. `spawn` starts its background tasks (an actor
    gives its own); by default they are owned and ended here.
    """

    def __init__(
        self,
        state: Path,
        settings: ApiServerSettings | None = None,
        *,
        log: Logger = logger,
        spawn: Spawn | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.state = state
        self.settings = settings or ApiServerSettings()
        self._log = log
        self._wall = wall
        self._own_tasks: OwnedTasks | None = None
        self._spawn = spawn
        self._fold = asyncio.Event()
        self._server: Server | None = None
        self._store: Store | None = None
        self._audit: AuditLog | None = None
        self._admin_token = ""
        self._tls: TlsFiles | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    # -- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Serves when it returns. Raises OSError if the address cannot be bound."""
        await asyncio.to_thread(self._load)
        spawn = self._spawn or self._own_spawn()
        spawn("janitor", self.janitor.run())
        spawn("expiry", self._expiry.run())
        spawn("accounts", self.accounts.run())
        spawn("checkpoints", self._keep_folded())
        spawn("openapi", self._prepare_documents())
        self._server = await self._listen()
        self.store.set_meta("port", str(self._server.port))
        bootstrap.fill(self.registry, self.addresses, self.settings.host, self._server.port)
        if self._rbac is not None:
            bootstrap.fill_policy(self.registry)
        self.accounts.fill()
        self._write_kubeconfig()
        self._log.info("embedded API server at {}, version {}", self.url, self.store.version)

    def _own_spawn(self) -> Spawn:
        # A failure was logged with its trace; the rest goes on serving.
        self._own_tasks = OwnedTasks("apiserver", self._log, lambda _name, _error: None)
        return self._own_tasks.spawn

    def _load(self) -> None:
        """Everything from disk; large stores take a while, and nobody else is here yet."""
        settings = self.settings
        self._store = Store(self.state / DATABASE, StoreSettings(history_events=settings.history))
        self.backend = CacheBackend()
        self.registry = Registry(
            self._store,
            self.backend,
            RegistrySettings(
                max_object=settings.max_object, cache=CacheSettings(window_events=settings.history)
            ),
        )
        self.addresses = Addresses(settings.cluster_ips)
        self.janitor = Janitor(self.registry, self._wall)
        self.registry.listen(self._on_commit)
        for storage in bootstrap.storages():
            self.registry.add(storage)
        CustomResources(self.registry).load()
        for storage in self.registry.storages.values():
            self.janitor.look_at(storage)
        self._expiry = Expiry(self.registry, settings.event_ttl)
        self._expiry.load()
        bulk.note_services(self.registry, self.addresses)
        self.documents = Documents(published(), self._describe)
        self.writer = KubeWriter(self.registry, self.addresses, self._wall)
        self._load_access()

    def _load_access(self) -> None:
        signer = Signer(self.state / "service-accounts.key", self._wall)
        self.accounts = Accounts(self.registry, signer, self._wall)
        self._tls = self.settings.tls or self._own_tls()
        is_rbac = self.settings.authorization == "rbac"
        self._rbac = RbacAuthorizer(self.registry) if is_rbac else None
        self._authenticator = Authenticator(self._tokens(), self.accounts, self._rbac)
        for cache in bootstrap.reviews():
            self.backend.add(cache)
        self._writer = Reviews(
            self.writer, self._rbac or AllowAll(), self.accounts, self._authenticator
        )

    def _own_tls(self) -> TlsFiles | None:
        if not self.settings.own_tls:
            return None
        files = own_certificate(self.state, self.settings.host, self._wall())
        return TlsFiles(certificate=files[0], key=files[1])

    def _tokens(self) -> Mapping[str, str]:
        """Where users have only the rights they were given, our own kubeconfig's has them all."""
        if self.settings.authorization == "always":
            return self.settings.tokens
        file = self.state / "admin.token"
        if not file.is_file():
            keep_secret(file, secrets.token_urlsafe(32).encode())
        self._admin_token = file.read_text(encoding="ascii")
        return {**self.settings.tokens, self._admin_token: f"system:admin,{MASTERS}"}

    def _describe(self) -> Sequence[Described]:
        """What is served, for OpenAPI."""
        return [self._described(resource) for resource in self.backend.resources()]

    def _described(self, resource: Resource) -> Described:
        served = self.registry.find(resource)
        if served is None:  # a review
            name = published().name_of(resource.group, resource.version, resource.kind)
            return Described(resource, name, None)
        codec = served[1].codec
        return Described(
            resource, getattr(codec, "definition", None), getattr(codec, "schema", None)
        )

    async def _prepare_documents(self) -> None:
        """Not at once: whoever starts us wants the processor for other things first."""
        await asyncio.sleep(DOCUMENTS_AFTER)
        await asyncio.to_thread(self.documents.prepare)

    def _on_commit(
        self, storage: Storage, key: str, obj: Object | None, _before: Entry | None
    ) -> None:
        if storage.name == "services":
            self.addresses.note(key, obj)
        if self.store.checkpoint_due:
            self._fold.set()

    async def _keep_folded(self) -> None:
        """The write-ahead log is folded in by a thread: its fsyncs never hold the loop."""
        while True:
            await self._fold.wait()
            self._fold.clear()
            await asyncio.to_thread(self.store.checkpoint)

    async def _listen(self) -> Server:
        settings = self.settings
        if settings.audit_bytes:
            path = self.state / "audit.jsonl"
            self._audit = AuditLog(path, self._log, settings.audit_bytes, self._wall)
        hooks = Hooks(
            writer=self._writer,
            openapi=self.documents,
            authenticate=self._authenticator,
            authorize=self._rbac.authorize if self._rbac is not None else None,
            audit=self._audit,
        )
        app = build_app(self.backend, hooks, settings.serve)
        tls = None if self._tls is None else _tls(self._tls)
        kept = int(self.store.meta("port") or 0)
        if not settings.port and kept:
            with contextlib.suppress(OSError):  # taken by another meanwhile: choose anew
                return await start_server(app, settings.host, kept, tls=tls)
            app = build_app(self.backend, hooks, settings.serve)
        return await start_server(app, settings.host, settings.port, tls=tls)

    async def stop(self) -> None:
        """Ends watches cleanly, then closes the store. May be called half-started, and twice."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop()
        if self._own_tasks is not None:
            await self._own_tasks.close(5.0)
        if self._audit is not None:
            self._audit.close()
        store, self._store = self._store, None
        if store is not None:
            await asyncio.to_thread(store.close)

    # -- what others use --------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        assert self._store is not None, "the API server is not running"
        return self._store

    @property
    def url(self) -> str:
        """Where it serves; "" while it does not."""
        if self._server is None:
            return ""
        scheme = "http" if self._tls is None else "https"
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"{scheme}://{host}:{self._server.port}"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    def _write_kubeconfig(self) -> None:
        tls = self._tls
        token = self._admin_token or next(iter(self.settings.tokens), "")
        kubeconfig.write(self.kubeconfig, self.url, token, tls.certificate if tls else None)

    def put_many(self, storage: str, objects: Iterable[Object]) -> int:
        """Keep objects in bulk, past HTTP and validation; the last version. See `bulk.put_many`."""
        return bulk.put_many(self.registry, self.addresses, storage, objects, self._wall())

    def forget_history(self) -> None:
        """Watches and continued lists from before now get 410, also after a restart."""
        self.registry.forget_history()

    def counts(self) -> dict[str, int]:
        """Objects by storage name, where there are any."""
        storages = self.registry.storages.values()
        return {each.name: len(each.cache) for each in storages if len(each.cache)}


def erase(state: Path) -> None:
    """Forget everything of a stopped server, as if its etcd had been lost: versions start anew."""
    for suffix in ("", "-wal", "-shm"):
        (state / (DATABASE + suffix)).unlink(missing_ok=True)


def _tls(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # As before Python 3.13, and as kube-apiserver: certificates need not name their issuer's key.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_cert_chain(files.certificate, files.key)
    if files.client_ca is not None:
        context.load_verify_locations(files.client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
