"""The cloud site's public key, as a node knows it: who has it is the cloud, whoever brings it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bus.keys import BadKey, check_public

if TYPE_CHECKING:
    from loguru import Logger


class SiteKey:
    """What an own link tells always counts; of lenders only the first is believed, as with SSH.

    Remove the file where the cloud has a new key and this node never has a link of its own.
    """

    def __init__(self, file: Path, log: Logger) -> None:
        self.public = ""
        self._file = file
        self._log = log
        try:
            self.public = check_public(file.read_text())
        except FileNotFoundError:
            pass
        except (OSError, ValueError, BadKey) as error:
            log.warning("{}: no key of the cloud site: {}", file, error)

    def told_by_cloud(self, public: str) -> None:
        """By an own link. Raises BadKey."""
        if public != self.public:
            self._keep(check_public(public))

    def told_by_lender(self, public: str) -> None:
        """Only asked where none is known. Raises BadKey."""
        if not self.public:
            self._keep(check_public(public))
            self._log.warning("believes a lender that the cloud site's key is {}", public)

    def _keep(self, public: str) -> None:
        self.public = public
        partial = self._file.with_suffix(".new")
        try:
            partial.write_text(public + "\n")
            os.replace(partial, self._file)
        except OSError as error:
            self._log.warning("{}: not kept: {}", self._file, error)
