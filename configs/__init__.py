"""Site files: one typed, frozen schema, strict loading, hot reload. Start with `schema.py`.

`load` reads a file or says all that is wrong with it; `diff` says which edits need a restart;
`ConfigWatcher` follows a file while a site runs and never lets a bad edit through.
"""

from configs.diff import Change, Diff, diff
from configs.errors import ConfigAbsent, ConfigError, Problem
from configs.load import load, state_directory
from configs.schema import AnySiteFile, CloudSiteFile, PoolSiteFile, SiteFile

__all__ = [
    "AnySiteFile",
    "Change",
    "CloudSiteFile",
    "ConfigAbsent",
    "ConfigError",
    "Diff",
    "PoolSiteFile",
    "Problem",
    "SiteFile",
    "diff",
    "load",
    "state_directory",
]
