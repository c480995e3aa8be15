"""The guide's page "Your first connector in 40 lines": its files are written, its commands run, on the real stack."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from clearwell.settings import Settings
from tests.support import guide
from tests.support.collecting import CHECKOUT, Sandbox, header

PAGE = "first-connector.md"
STREAM, PORT = "shop_orders", "8765"


def test_the_source_has_at_most_40_lines() -> None:
    source = next(one["text"] for one in guide.blocks(PAGE) if one["file"] == f"{STREAM}.py")
    assert len([line for line in source.splitlines() if line.strip()]) <= 40


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_page(stack: Settings, unique: Callable[[str], str], tmp_path: Path) -> None:
    """After the last block, raw holds the shop's four orders once each."""
    stream = unique("orders")
    sandbox = Sandbox(replace(stack), stream, tmp_path / "sandbox")
    sandbox.names.append(stream)
    work = tmp_path / "work"
    work.mkdir()
    try:
        done = subprocess.run(
            ["bash", "-c", _script(stream)],
            env=_environment(stack, tmp_path),
            cwd=work,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        ids = sorted(str(header(record, "ce_id")) for record in sandbox.new_records())
    finally:
        sandbox.close()
    assert ids == ["A1", "A2", "A3", "A4"]


def _script(stream: str) -> str:
    """The page as one script; names and port are the test's own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def changed(block: guide.Block, text: str) -> str:
        text = text.replace(PORT, port)
        if block["file"]:
            return re.sub(rf"\b((?:name|stream): ){STREAM}\b", rf"\g<1>{stream}", text)
        return re.sub(rf"\b{STREAM}\b(?!\.(?:py|yaml))", stream, text)

    return "trap 'kill $(jobs -p)' EXIT\n" + guide.script(guide.blocks(PAGE), changed)


def _environment(stack: Settings, folder: Path) -> dict[str, str]:
    """Packages are installed into a folder of the test's own, by the tools that are there."""
    site = folder / "site"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {
        "PATH": path,
        "PYTHONPATH": os.pathsep.join([str(site), str(CHECKOUT)]),
        "PIP_TARGET": str(site),
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it as "no isolation"
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "CLEARWELL_HOME": str(stack.home),
        "CLEARWELL_SCHEMAS": str(folder / "schemas"),
    }
