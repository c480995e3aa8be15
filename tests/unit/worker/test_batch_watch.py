"""A batch that does not end is named, whatever holds it up: in the log, in the supervisor's state, without data."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from pathlib import Path

import msgspec
import pytest

from clearwell.local import supervised_process as under_test
from clearwell.local.process import Process, nothing
from clearwell.local.state import READY, STUCK
from clearwell.worker import batch_watch
from clearwell.worker.batch_watch import LOOK_EVERY, TOLD_AFTER, BatchWatch, left_behind, stuck, stuck_in
from tests.unit.local.test_supervised_process import kept, until

SAID = "The batch of raw.visits, partition 2, offsets 100 to 199 is worked on for "

HOLDS_THE_INTERPRETER = """
import ctypes
from clearwell.worker.batch_watch import BatchWatch
watch = BatchWatch(after=0.3, every=0.1)
with watch.during("raw.visits", 2, 100, 199):
    import time; time.sleep(0.3)
    ctypes.PyDLL(None).sleep(3)  # a C function that does not let go of the interpreter
with watch.during("raw.visits", 2, 200, 299):
    pass
print("went on", flush=True)
time.sleep(60)
"""


def test_it_is_named_within_half_a_minute() -> None:
    assert TOLD_AFTER + LOOK_EVERY <= 30


def test_the_process_names_it_once_and_says_when_it_has_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(batch_watch.VARIABLE, str(tmp_path))
    watch = BatchWatch("cleaner.visits.v1", after=0.1, every=0.02)
    with caplog.at_level(logging.WARNING, batch_watch.__name__):
        with watch.during("raw.visits", 2, 100, 199):
            assert stuck_in(tmp_path, 30) is None
            deadline = time.monotonic() + 10
            while not caplog.messages and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(0.1)
            assert (stuck_in(tmp_path, 0) or "").startswith(SAID)
        with watch.during("raw.visits", 2, 200, 299):
            pass
    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith(SAID)
    assert caplog.messages[1].startswith("The batch of raw.visits, partition 2, from offset 100 has ended after")
    assert stuck_in(tmp_path, 0) is None
    watch.close()


def test_the_supervisor_names_what_holds_the_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state says so while it lasts, and the log of the process which line it is."""
    (tmp_path / "logs").mkdir()
    monkeypatch.setattr(under_test, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(under_test, "TOLD_AFTER", 0.5)
    env = {batch_watch.VARIABLE: str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = (sys.executable, "-c", HOLDS_THE_INTERPRETER)

    async def scene() -> None:
        async with kept(Process("thing", argv, ready=nothing, env=env), tmp_path) as supervised:
            await until(lambda: supervised.state.state == STUCK)
            assert supervised.state.last_error.startswith(SAID)
            await until(lambda: supervised.state.state == READY)

    asyncio.run(scene())
    written = (tmp_path / "logs" / "thing.log").read_text()
    assert "Timeout" in written and 'File "<string>", line 7' in written


def test_what_held_a_process_up_is_known_to_the_next_one(tmp_path: Path) -> None:
    begun = {"topic": "raw.visits", "partition": 2, "first": 100, "last": 199}
    for name, seconds in (("cleaner.visits.v1", 90.0), ("cleaner.orders.v1", 5.0)):
        (tmp_path / f"{name}.batch").write_bytes(msgspec.json.encode({**begun, "since": time.time() - seconds}))
    (tmp_path / "cleaner.idle.v1.batch").write_bytes(b" " * 512)
    (held_up,) = left_behind(tmp_path, 45.0).items()
    assert held_up[0] == "cleaner.visits.v1" and held_up[1].startswith(SAID)


def test_a_note_that_is_half_written_is_no_news(tmp_path: Path) -> None:
    assert stuck(tmp_path / "none") is None
    (tmp_path / "note").write_bytes(b'{"topic":"raw.vi')
    assert stuck(tmp_path / "note", 0) is None
