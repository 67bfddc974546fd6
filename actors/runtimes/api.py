"""What a runtime promises. Implementations are told apart by name only: `create`."""

from __future__ import annotations

from typing import Any, Protocol

from actors.specs import HostSpec, LogSettings


class HostGone(Exception):
    """The host's process is not there (any more); the text says what is known of its end."""


class HostHandle(Protocol):
    """A started host, wherever it runs. All methods raise HostGone once it has died."""

    name: str
    pid: int

    async def status(self) -> dict[str, Any]:
        """See `actors.host.Host.status`."""

    async def metrics(self) -> str:
        """Prometheus text."""

    async def configure(self, actor: str, settings: Any) -> None:
        """Raises SettingsRefused; the actor then goes on with its old settings."""

    async def set_log(self, settings: LogSettings) -> None:
        """From now on; no restart needed."""

    async def stop(self, deadline: float) -> None:
        """Orderly within `deadline` seconds, by force beyond it. Idempotent, never raises."""

    async def wait_exit(self) -> str:
        """Returns the reason when the host has died; does not return while it lives."""


class Runtime(Protocol):
    """Starts hosts. One object may serve several sites of one process."""

    name: str

    async def start(self) -> None:
        """Makes ready to start hosts. Idempotent."""

    async def start_host(self, spec: HostSpec) -> HostHandle:
        """Returns when the host's actors have had their turn to start, well or not.

        Raises HostGone if the host died meanwhile. Cancelled: the host is gone.
        """

    async def stop(self, deadline: float) -> None:
        """Leaves no process behind. Hosts that still run are ended. Idempotent."""

    def kill(self) -> None:
        """Everything, at once, without goodbye."""


def create(name: str) -> Runtime:
    """The runtime a site file names: "local" or "ray"."""
    if name == "local":
        from actors.runtimes.local import LocalRuntime

        return LocalRuntime()
    if name == "ray":
        from actors.runtimes.ray import RayRuntime

        return RayRuntime()
    raise ValueError(f"no runtime {name!r}: there are 'local' and 'ray'")
