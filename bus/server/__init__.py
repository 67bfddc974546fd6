"""The embedded nats-server of a site: started from the wheel, watched, never left behind."""

from bus.server.settings import ServerSettings, ServerUser

__all__ = ["ServerSettings", "ServerUser"]
