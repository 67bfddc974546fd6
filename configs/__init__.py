"""Site files: one typed, frozen schema, strict loading, hot reload. Start with `schema.py`.

`load` reads a file or says all that is wrong with it; `diff` says which edits need a restart;
`ConfigWatcher` follows a file while a site runs and never lets a bad edit through.
"""

from configs.diff import Change, Diff, diff
from configs.errors import ConfigAbsent, ConfigError, Problem
from configs.load import load, state_directory
from configs.reload import Applied, Broken, ConfigWatcher, Refused
from configs.schema import AnySiteFile, CloudSiteFile, PoolSiteFile, SiteFile

__all__ = [
    "AnySiteFile",
    "Applied",
    "Broken",
    "Change",
    "CloudSiteFile",
    "ConfigAbsent",
    "ConfigError",
    "ConfigWatcher",
    "Diff",
    "PoolSiteFile",
    "Problem",
    "Refused",
    "SiteFile",
    "diff",
    "load",
    "state_directory",
]
