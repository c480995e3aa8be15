"""Where the history of feature views lies as files: a folder of this machine, or any fsspec URL."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from clearwell.destinations.files.store import FolderStore
from clearwell.settings import Settings


class Folder(FolderStore):
    """A folder of the platform's own, so its address is not judged by CLEARWELL_EGRESS_ALLOW."""

    judged = False
    mend = "give this user the right, or set CLEARWELL_OFFLINE to another folder"

    @classmethod
    def root(cls, settings: Settings) -> Self:
        """What the histories of all views are under: CLEARWELL_OFFLINE, else `offline` in the data folder.

        The client of an object store reads what it needs from the environment (AWS_ENDPOINT_URL, …).
        """
        return cls(settings.offline or str(settings.home / "offline"))

    def __truediv__(self, name: str) -> Folder:
        return Folder(f"{self.url}/{name}")

    @property
    def path(self) -> Path | None:
        """The folder, where it is one of this machine."""
        return Path(self.url) if self.is_local else None

    def names(self) -> list[str]:
        """The names of the files in it, in order; none when it does not exist."""
        return sorted(self.find())
