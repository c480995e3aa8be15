"""The guide's page "Test your streams without servers": its files are written, its tests run, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import guide


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test of the page passes."""
    for block in guide.blocks("tests-without-servers.md"):
        file = tmp_path / block["file"]
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as written:
            written.write(block["text"])
    monkeypatch.chdir(tmp_path)
    assert pytest.main(["-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", ".", "test_orders.py"]) == 0
