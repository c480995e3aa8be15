"""Backfills as a person runs them, and what they have written."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq

from clearwell.cli.main import main
from clearwell.privacy.envelope import MARK, unseal
from tests.support.platform import CHECKOUT, Platform
from tests.support.processes import killed_at_end

Row = dict[str, Any]


def start(platform: Platform, *arguments: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """`clearwell backfill …` on this platform as a process, for a block; arguments as on the command line."""
    command = [sys.executable, "-m", "clearwell.cli.main", "backfill", *arguments]
    pipe = subprocess.PIPE
    return killed_at_end(command, env=platform.env(), cwd=CHECKOUT, stdout=pipe, stderr=pipe)


def call(platform: Platform, *arguments: str) -> tuple[int, str, str]:
    """`clearwell backfill …` in this process; returns exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with patch.dict(os.environ, platform.env(), clear=True), redirect_stdout(out), redirect_stderr(err):
        code = main(["backfill", *arguments])
    return code, out.getvalue(), err.getvalue()


def backfill(platform: Platform, command: str, *arguments: str) -> Row:
    """What `clearwell backfill <command> <stream> … --json` prints."""
    _, out, err = call(platform, command, platform.stream, *arguments, "--json")
    assert json.loads(out), err
    return dict(json.loads(out))


def table(folder: Path) -> pa.Table:
    """All rows of a finished run, by partition and raw offset."""
    found = pa.concat_tables([pq.read_table(file) for file in sorted(folder.glob("part-*.parquet"))])
    return found.sort_by([("clearwell_partition", "ascending"), ("clearwell_offset", "ascending")])


def rows(platform: Platform, folder: Path) -> list[Row]:
    """All rows of a finished run, in the clear where they were encrypted."""
    return [clear(platform, row) for row in table(folder).to_pylist()]


def clear(platform: Platform, row: Row) -> Row:
    """A row with its encrypted values opened: only their nonces are random."""
    opened = opener(platform, row["id"])
    return {name: opened(name, value) for name, value in row.items()}


def opener(platform: Platform, event_id: str) -> Callable[[str, Any], Any]:
    """Opens what is sealed and gives back what is not."""

    def opened(name: str, value: Any) -> Any:
        if isinstance(value, str) and value.startswith(MARK):
            return unseal(platform.keyring, platform.stream, name, event_id, value)
        return value

    return opened
