"""Which files `path` names, in the order of names; what is passed over is told once."""

from __future__ import annotations

import logging

from clearwell.errors import ConfigError
from connectors.file.config import KNOWN, FileConfig, Form, form_of, known_form, require_used
from connectors.file.stores import File, FileStore

log = logging.getLogger(__name__)

TOLD = 5
"""Names of passed-over files that a line of the log shows."""


class SourceFolder:
    """Looks for files, as often as it is asked."""

    def __init__(self, config: FileConfig, store: FileStore) -> None:
        self._config, self._store = config, store
        self._told: set[str] = set()
        self.passed_over = 0
        """Files, and folders inside, that are there and not read, when it was last looked."""

    def files(self) -> list[File]:
        """What there is to be read. Raises ConfigError when that is nothing and nothing is awaited."""
        config = self._config
        there = self._store.find()
        alone = len(there) == 1 and self._store.is_named(there[0])
        files = [file for file in there if alone or config.format != "auto" or known_form(file.key)]
        passed = {file.key for file in there} - {file.key for file in files} | set(self._store.others)
        self._tell(passed)
        if alone:
            with self._store.failures(files[0]):
                self._store.now(files[0])  # which says when it is not there
            form_of(config.format, files[0].key)
        if not files and not config.watch:
            raise ConfigError(f"{self._store.place} holds no {KNOWN}: set `path` right.")
        if config.follow and not alone:
            raise ConfigError("`follow` needs one plain file: name it in `path`, or leave `follow` out.")
        return sorted(files, key=lambda file: file.key)

    def require_options(self, files: list[File]) -> None:
        """Raises ConfigError when an option is of use for none of the files."""
        forms: set[Form] = {form_of(self._config.format, file.key) for file in files}
        require_used(self._config, forms)

    def _tell(self, passed: set[str]) -> None:
        """Invariant 11: what is not read is told, each name once."""
        self.passed_over = len(passed)
        new = sorted(passed - self._told)
        self._told = passed
        if new:
            shown = ", ".join(new[:TOLD]) + (f" and {len(new) - TOLD} more" if len(new) > TOLD else "")
            log.warning(
                "%s: %d files or folders are passed over, since they are no %s: %s",
                self._store.place,
                len(new),
                KNOWN,
                shown,
            )
