"""Each line of the threat model names a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "threat-model.md"


def test_every_line_is_proven_by_a_test_that_is_there() -> None:
    rows = [
        line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.endswith("proven by |")
    ]
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row.rsplit("|", 2)[1])
        assert named, f"no test proves: {row}"
        for file, function in named:
            text = (ROOT / file).read_text()
            assert re.search(rf"def {function}\(", text), f"{file} has no {function}"


def test_nobody_is_left_out() -> None:
    page = PAGE.read_text()
    for actor in ("user of the machine", "sender of webhooks", "source's server", "contracts", "operator", "backup"):
        assert re.search(rf"^## .*{actor}", page, re.MULTILINE), actor
