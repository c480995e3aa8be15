"""Pages of the guide: their files and commands as one script, and what a page says that they print.

A block of `bash` is run, a block with `file=NAME` is written, a block of `text` tells lines that the block of `bash`
before it prints: spaces don't count, and "…" stands for anything.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.platform import CHECKOUT

Block = re.Match[str]
_BLOCK = re.compile(r"^```(?P<kind>\w+)(?: file=(?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "== block"


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = list(_BLOCK.finditer((CHECKOUT / "docs" / "guide" / page).read_text()))
    assert found, "the page has no blocks"
    return found


def script(found: Sequence[Block], change: Callable[[Block, str], str] = lambda _, text: text) -> str:
    """The files and commands as one script of bash; `change` may alter a block's text."""
    lines = ["set -eu"]
    for number, block in enumerate(found):
        text = change(block, block["text"])
        if block["file"]:
            lines.append(f"mkdir -p \"$(dirname '{block['file']}')\"")
            lines.append(f"cat > {block['file']} <<'END_OF_FILE'\n{text}END_OF_FILE")
        elif block["kind"] == "bash":
            lines += [f"echo '{_MARK} {number}'", text]
    return "\n".join(lines)


def run(found: Sequence[Block], folder: Path, within: float) -> None:
    """Run a page in an empty folder, on a platform of its own, and compare what it prints. `within` is in seconds."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("CLEARWELL_")}
    env |= {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]), "COLUMNS": "200"}
    log = folder / "output.log"
    try:
        with log.open("wb") as output:
            made = ["timeout", str(within), "bash", "-c", script(found)]
            code = subprocess.run(made, env=env, cwd=folder, stdout=output, stderr=output, check=False).returncode
    finally:
        subprocess.run(["clearwell", "down", "--wipe"], env=env, cwd=folder, capture_output=True, check=True)
    printed = log.read_text()
    assert code == 0, printed
    _compare(found, printed)


def _compare(found: Sequence[Block], printed: str) -> None:
    parts = re.split(rf"^{_MARK} (\d+)\n", printed, flags=re.MULTILINE)
    by_block = dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))
    for number, block in enumerate(found):
        if block["kind"] != "text":
            continue
        lines = [" ".join(line.split()) for line in by_block[number - 1].splitlines()]
        for told in block["text"].splitlines():
            pattern = ".*".join(re.escape(" ".join(part.split())) for part in told.split("…"))
            assert any(re.match(pattern, line) for line in lines), f"not printed: {told}\n{by_block[number - 1]}"
