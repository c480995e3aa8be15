"""Log files of the stack's processes: one file each, kept small, and the line that says why one ended."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from clearwell.errors import Fatal
from clearwell.local.environment import for_servers

LARGE = 20_000_000
"""Bytes at which a log file is set aside (as `<name>.log.old`, one kept) before its process starts again."""


def roll(file: Path) -> None:
    """Set the file aside when it has grown large."""
    if file.exists() and file.stat().st_size > LARGE:
        file.replace(file.with_name(file.name + ".old"))


def size(file: Path) -> int:
    """Bytes in the log now; 0 when there is none."""
    return file.stat().st_size if file.exists() else 0


def append(file: Path) -> BinaryIO:
    """The log, to write at its end: its owner's alone, and never a link to somewhere else."""
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    os.fchmod(handle, 0o600)  # one of an older version
    return os.fdopen(handle, "ab")


def last_message(file: Path, since: int = 0, longest: int = 300) -> str:
    """What a process said last after byte `since` of its log, cut to `longest` characters; '' when it said nothing.

    That is the last line, but a full disk is named wherever it stands near the end: programs say more after it.
    """
    if not file.exists():
        return ""
    with file.open("rb") as log:
        log.seek(max(since, size(file) - 16_384))
        said = log.read().decode(errors="replace")
    if "No space left on device" in said:
        return "the disk is full: make room"
    return next((line.strip()[:longest] for line in reversed(said.splitlines()) if line.strip()), "")


def run_logged(command: Sequence[str], log: Path, failure: str, env: Mapping[str, str] | None = None) -> None:
    """Run `command` to its end, its output into `log`. Raises Fatal with `failure` and its last words."""
    began = size(log)
    with append(log) as output:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=for_servers() | dict(env or {})
        )
    if done.returncode != 0:
        raise Fatal(f"{failure}: {last_message(log, began)}. Its log: {log}")
