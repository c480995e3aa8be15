"""Passwords of the embedded servers: made once, at random, each in a file of its own that only its owner may read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

USER = "clearwell"
"""Who our processes are to each embedded server."""


def password(file: Path) -> str:
    """The password in `file`, made on the first call. Letters and digits alone: it fits into any URL and any file."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return file.read_text()
    with os.fdopen(handle, "w") as new:
        new.write(secrets.token_hex(24))
    return file.read_text()


def write_private(file: Path, text: str) -> None:
    """Replace `file` by one of mode 0600 that holds `text`; readers see the old or the new, never half."""
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w") as writing:
        writing.write(text)
    new.replace(file)
