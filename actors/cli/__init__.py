"""The `atoll` command. `app.py` has the commands, `sites.py` and `picture.py` what `status` shows.

Start-up is part of the interface: what a command does not need it does not import (ray, kubernetes
and aiohttp take longer to load than `atoll config check` takes to run).

Exit codes: 0 done; 1 it failed (`up`: the site cannot run; `demo`: a step failed); 2 the command
line or a site file is not valid; 3 `status`: a site is down; `up`: it runs already; 130 a Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

FAILED, INVALID, DOWN, INTERRUPTED = 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with its code; errors are one line each on stderr."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    from actors.cli.app import app

    try:
        return int(app(list(arguments), prog_name="atoll", standalone_mode=False) or 0)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `atoll ... | head`
        _close_stdout()
        return FAILED
    except Exception as error:
        return _tell(error)


def _tell(error: Exception) -> int:
    from configs.errors import ConfigError

    if type(error).__name__.startswith("NoArgsIsHelp"):
        _say(str(error.args[0]))
        return INVALID
    if hasattr(error, "format_message"):  # the command line, as typer or click says it
        _say(f"atoll: {error.format_message()}")
        return int(getattr(error, "exit_code", INVALID))
    if isinstance(error, ConfigError):
        _say(str(error))
        return INVALID
    if type(error).__name__ == "Abort":
        return INTERRUPTED
    if os.environ.get("ATOLL_TRACEBACK"):
        raise error
    _say(f"atoll: {type(error).__name__}: {error} (ATOLL_TRACEBACK=1 shows where)")
    return FAILED


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _close_stdout() -> None:
    # The interpreter would flush it at the exit, and complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
