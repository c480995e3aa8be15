"""Files that are whole or not there: written unfinished, made durable, then renamed."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clearwell.errors import ConfigError, Retryable


@contextmanager
def write_durably(path: Path) -> Iterator[Path]:
    """Write to the path that is yielded; afterwards it is durable under `path`. Raises as `disk_errors` does."""
    unfinished = path.with_name(f".{path.name}.writing")
    with disk_errors(path):
        yield unfinished
        _sync(unfinished)
        unfinished.replace(path)
        _sync(path.parent)


def move_folder(old: Path, new: Path) -> None:
    """Rename a folder durably. Raises as `disk_errors` does."""
    with disk_errors(new):
        old.rename(new)
        _sync(new.parent)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Make a folder and hold it for this process alone. Raises ConfigError when another one has it."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"Another backfill is writing to {folder}: wait for it, or end it.") from None
        yield
    finally:
        os.close(handle)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """What is wrong with the disk becomes Retryable where it is full, else ConfigError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Retryable(
                f"The disk of {path} is full: make room and run it again, it goes on where it was."
            ) from None
        raise ConfigError(f"{path} can't be written ({error.strerror}): choose another folder.") from None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
