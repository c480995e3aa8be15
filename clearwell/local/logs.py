"""Log files of the stack's processes: one file each, kept small, and the line that says why one ended."""

from __future__ import annotations

from pathlib import Path

LARGE = 20_000_000
"""Bytes at which a log file is set aside (as `<name>.log.old`, one kept) before its process starts again."""


def roll(file: Path) -> None:
    """Set the file aside when it has grown large."""
    if file.exists() and file.stat().st_size > LARGE:
        file.replace(file.with_name(file.name + ".old"))


def last_line(file: Path, longest: int = 300) -> str:
    """The last line of a log that says something, cut to `longest` characters; '' when there is none."""
    try:
        with file.open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - 16_384))
            lines = log.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return next((line.strip()[:longest] for line in reversed(lines) if line.strip()), "")
