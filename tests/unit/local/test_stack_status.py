"""What `clearwell status` shows beside the processes: how deliverers fare, and what was lost to retention."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from clearwell.cli.main import clearwell
from clearwell.control.status import ServiceHealth
from clearwell.local.state import READY, ProcessState
from clearwell.registry.jobs import JobState

CLEANER, DELIVERER = "cleaner.flights.v1", "deliverer.flights.v1.postgres"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stack whose cleaner has lost 1,100 offsets."""
    health = {DELIVERER: ServiceHealth(state=JobState.RUNNING), CLEANER: ServiceHealth(lost=1_100)}
    processes = [ProcessState(name, READY) for name in ("kafka", CLEANER, DELIVERER)]
    monkeypatch.setattr("clearwell.control.status.stack.status", lambda _: processes)
    monkeypatch.setattr("clearwell.control.status._try_health", lambda _: health)
    return tmp_path


def test_losses_are_told(home: Path) -> None:
    shown = CliRunner().invoke(clearwell, ["status", "--home", str(home)])
    assert shown.exit_code == 0, "what is lost is lost: there is nothing to mend now"
    assert f"{CLEANER} has lost 1,100 offsets, which retention removed before it had read them" in shown.output
    assert f"{DELIVERER} has lost" not in shown.output


def test_losses_are_figures(home: Path) -> None:
    shown = json.loads(CliRunner().invoke(clearwell, ["status", "--home", str(home), "--json"]).output)
    assert {one["name"]: one["lost"] for one in shown["processes"]} == {"kafka": 0, CLEANER: 1_100, DELIVERER: 0}
