"""The embedded nats-server of a site: started from the wheel, watched, never left behind.

`settings.py` says what it is started with, `config.py` (pure) writes its configuration, `users.py`
changes its users while it runs (from any process of the machine), `embedded.py` keeps it running.
"""

from bus.server.embedded import EmbeddedServer
from bus.server.settings import ServerSettings, ServerUser
from bus.server.users import reload, write_users

__all__ = ["EmbeddedServer", "ServerSettings", "ServerUser", "reload", "write_users"]
