"""The embedded nats-server of a site: started from the wheel, watched, never left behind.

`settings.py` says what it is started with, `config.py` (pure) writes its configuration, `users.py`
changes its users while it runs (from any process of the machine), `files.py` reads what it leaves
in its store, `embedded.py` keeps it running.
"""

from bus.server.embedded import EmbeddedServer
from bus.server.settings import THIN_SILENCE, ServerSettings, ServerUser
from bus.server.users import reload, write_users

__all__ = [
    "THIN_SILENCE",
    "EmbeddedServer",
    "ServerSettings",
    "ServerUser",
    "reload",
    "write_users",
]
