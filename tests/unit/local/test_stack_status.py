"""What `clearwell status` shows: a line a stream, the processes, the workers, what was lost, and what is not known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clearwell.cli.main import clearwell
from clearwell.control.status import StreamStatus, _Registered
from clearwell.control.stream_states import StreamState
from clearwell.control.workers import WorkerStatus
from clearwell.local.state import READY, ProcessState

AT = datetime(2026, 3, 1, tzinfo=UTC)
WORKER = WorkerStatus(
    name="host:1", kind="worker", state="running", held=4, busy=0.25, rss_mb=97.4, since=AT, seen_at=AT, endpoint=""
)


def stream(name: str = "flights", state: StreamState = StreamState.RUNNING, **figures: object) -> StreamStatus:
    known = {"raw": 1_000, "clean": 900, "dropped": 60, "dead": 40, "lag_events": 0, "lag_seconds": 0.0}
    return StreamStatus(name=name, state=state, **(known | {"lost": 0, "last_error": None} | figures))


@dataclass
class Stack:
    """What the registry tells of a stack whose servers are ready."""

    home: Path
    registered: _Registered

    def show(self, *options: str) -> Result:
        return CliRunner().invoke(clearwell, ["status", "--home", str(self.home), *options])


@pytest.fixture
def stack_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[_Registered], Stack]:
    processes = [ProcessState(name, READY) for name in ("kafka", "worker-1")]

    def make(registered: _Registered) -> Stack:
        monkeypatch.setattr("clearwell.control.status.stack.status", lambda _: processes)
        monkeypatch.setattr("clearwell.control.status._try_registered", lambda: registered)
        return Stack(tmp_path, registered)

    return make


StackOf = Callable[[_Registered], Stack]


def test_streams_come_first_then_processes_and_workers(stack_of: StackOf) -> None:
    shown = stack_of(_Registered([stream()], [WORKER], None)).show()
    assert shown.exit_code == 0
    heads, first, *others = shown.output.splitlines()
    assert heads.split()[:7] == ["stream", "state", "in", "clean", "dropped", "dead", "lag"]
    assert first.split() == ["flights", "running", "1,000", "900", "~60", "40", "0", "0.0", "s"]
    named = [line.split()[0] for line in others if line.strip()]
    assert named == ["process", "kafka", "worker-1", "worker", "host:1"]


def test_what_is_not_known_is_a_question_mark_and_nothing_is_nothing(stack_of: StackOf) -> None:
    unknown = dict.fromkeys(("raw", "clean", "dropped", "dead", "lag_events", "lag_seconds"))
    shown = stack_of(_Registered([stream(**unknown), stream("orders", dropped=0)], [], None)).show()
    rows = {line.split()[0]: line.split() for line in shown.output.splitlines() if line.strip()}
    assert rows["flights"][2:] == ["?"] * 6
    assert rows["orders"][4] == "0"


@pytest.mark.parametrize(
    ("state", "code"),
    [(StreamState.IDLE, 0), (StreamState.PAUSED, 0), (StreamState.RETRYING, 1), (StreamState.NO_WORKER, 1)],
)
def test_the_exit_code_tells_whether_a_stream_needs_somebody(stack_of: StackOf, state: StreamState, code: int) -> None:
    stack = stack_of(_Registered([stream(), stream("orders", state, last_error="It is away.")], [WORKER], None))
    assert stack.show().exit_code == code
    shown = stack.show("--json")
    assert shown.exit_code == code
    as_json = json.loads(shown.output)
    assert as_json["ready"] is (code == 0)
    assert as_json["streams"][1]["state"] == state and as_json["streams"][1]["last_error"] == "It is away."
    assert as_json["workers"][0]["since"] == "2026-03-01T00:00:00+00:00"


def test_losses_are_told(stack_of: StackOf) -> None:
    shown = stack_of(_Registered([stream(lost=1_100), stream("orders")], [], None)).show()
    assert shown.exit_code == 0, "what is lost is lost: there is nothing to mend now"
    assert "flights has lost 1,100 offsets, which retention removed before they were read" in shown.output
    assert "orders has lost" not in shown.output


def test_a_registry_that_is_away_is_told_beside_the_processes(stack_of: StackOf) -> None:
    shown = stack_of(_Registered(unknown="PostgreSQL does not answer.")).show()
    assert shown.exit_code == 1
    assert "Nothing is known of streams: PostgreSQL does not answer." in shown.output and "kafka" in shown.output
