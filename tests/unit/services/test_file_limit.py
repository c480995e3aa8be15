"""A rate limit is kept within a second, and a process without descriptors goes on."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clearwell.collector.rate_limit import Bucket
from clearwell.collector.watch import Watch
from services.collector import running_connector
from services.collector.file_limit import LoopTrouble, out_of_files
from services.collector.running_connector import Assignment, RunningConnector


class Clock:
    """Goes on only when it is waited for."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("rate", "events"), [(120.0, 4_580), (0.5, 3), (2.5, 10), (100_000.0, 200_000)])
def test_a_rate_is_kept_within_each_second(rate: float, events: int) -> None:
    """Case C26: 4,580 events came at once, and then none for 38 s."""
    clock = Clock()
    bucket = Bucket(rate, clock)
    sent: list[tuple[float, int]] = []
    for part in bucket.parts(range(events)):
        sent.append((clock.now, len(part)))
        clock.now += bucket.take(len(part))
    assert sum(count for _, count in sent) == events
    assert clock.now == pytest.approx(events / rate, abs=max(0.2, 2 / rate))
    for start in range(int(clock.now)):
        within = sum(count for at, count in sent if start <= at < start + 1)
        assert within <= 1.2 * rate + 2, f"{within} events came in second {start}."


def test_without_a_rate_a_batch_stays_whole() -> None:
    events = [1, 2, 3]
    assert list(Bucket(None).parts(events)) == [events] and list(Bucket(5.0).parts([])) == [[]]
    assert next(iter(Bucket(None).parts(events))) is events


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Every open fails, as it does when there are too many."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 20, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_lack_of_descriptors_is_one_sentence_wherever_it_came_from() -> None:
    with no_descriptors():
        try:
            try:
                socket.socket()
            except OSError as error:
                raise ValueError("something else") from error
        except ValueError as error:
            said = out_of_files(error)
    assert said is not None and said.startswith("No more files and sockets may be opened here")
    assert out_of_files(OSError(errno.ENOENT, "no such file")) is None and out_of_files(None) is None


class Run:
    """Fails for want of descriptors twice, then ends well."""

    progressed = False

    def __init__(self, left: list[int]) -> None:
        self.watch = Watch()
        self._left = left

    async def go(self, stop: asyncio.Event) -> bool:
        """Read."""
        if self._left:
            self._left.pop()
            raise OSError(errno.EMFILE, "Too many open files")
        return True

    def break_off(self) -> None:
        """Nothing goes on."""


def test_a_connector_without_descriptors_tries_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was failing for good, as if its source had a bug."""
    monkeypatch.setattr(running_connector, "FIRST_DELAY", 0.01)
    notes: list[Callable[..., Any]] = []

    async def note(change: Callable[..., Any]) -> None:
        notes.append(change)

    async def run() -> None:
        left = [1, 2]
        connector: Any = type("C", (), {"name": "c"})()
        reporting: Any = note
        await RunningConnector(Assignment(connector, lambda: Run(left), None, 60.0), reporting).run()
        assert not left

    asyncio.run(run())
    assert caplog.text.count("No more files and sockets may be opened here") == 2 and "Traceback" not in caplog.text
    assert len(notes) == 3, "Two troubles and one end are noted."


def test_the_loops_own_trouble_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    trouble, loop = LoopTrouble(), type("L", (), {"default_exception_handler": lambda self, context: None})()
    for _ in range(100):
        trouble(loop, {"message": "accept", "exception": OSError(errno.EMFILE, "Too many open files")})
    assert len(caplog.records) == 1
