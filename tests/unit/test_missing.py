"""What a machine lacks is skipped with what it is and how to get it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support import missing
from tests.support.mqtt_broker import Broker


def test_the_summary_has_a_line_for_each_thing_that_is_lacking() -> None:
    reasons = ["Skipped: needs MariaDB: apt-get install it"] * 3 + ["Skipped: the broker's session is the position"]
    assert missing.summary(reasons) == [
        "3 tests skipped: needs MariaDB: apt-get install it",
        "1 test skipped: what they prove is no promise of that source or store (pytest -rs)",
    ]
    assert missing.summary([]) == []


def test_a_program_may_be_taken_for_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(missing.VARIABLE, "mosquitto,ls")
    assert (missing.program("ls"), missing.program("cp")) == (None, shutil.which("cp"))
    with pytest.raises(pytest.skip.Exception, match=r"needs Mosquitto.*apt-get install mosquitto"):
        Broker("mosquitto", tmp_path)
