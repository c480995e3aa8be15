"""One supervised process: awaited, started again with growing waits, ended in an orderly way or killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from clearwell.errors import Fatal
from clearwell.local import supervised_process as under_test
from clearwell.local.process import Process, nothing
from clearwell.local.state import READY, STOPPED
from clearwell.local.supervised_process import SupervisedProcess

WAITING = "import signal; signal.pause()"
DEAF = (
    "import signal, pathlib, sys; signal.signal(15, signal.SIG_IGN); pathlib.Path(sys.argv[1]).touch(); signal.pause()"
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path


def process(program: str, *args: str, **more: object) -> Process:
    return Process("thing", (sys.executable, "-c", program, *args), **{"ready": nothing, **more})  # type: ignore[arg-type]


@asynccontextmanager
async def kept(process: Process, home: Path, seen: list[str] | None = None) -> AsyncIterator[SupervisedProcess]:
    def changed() -> None:
        if seen is not None:
            seen.append(supervised.state.state)

    supervised = SupervisedProcess(process, home, changed)
    task = asyncio.create_task(supervised.run())
    try:
        yield supervised
    finally:
        supervised.stop()
        await asyncio.wait_for(task, 20)
        assert supervised.state.state == STOPPED


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what changes is another process
            await asyncio.sleep(0.02)


def test_it_is_ready_only_once_it_answers(home: Path) -> None:
    answers = iter([OSError("refused"), ValueError("not yet"), None])

    def ready() -> None:
        if (answer := next(answers)) is not None:
            raise answer

    async def scene() -> None:
        seen: list[str] = []
        async with kept(process(WAITING, ready=ready), home, seen) as supervised:
            await supervised.first_start
            assert supervised.state.state == READY
            assert seen == ["starting", "starting", "ready"]

    asyncio.run(scene())


def test_one_that_keeps_ending_is_started_again_ever_later_and_says_why(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def delays(first: float, cap: float) -> Iterator[float]:
        for number in range(1_000):
            asked.append(first * 2**number)
            yield 0.01

    monkeypatch.setattr(under_test, "delays", delays)
    program = "print('started'); print('error: mend the contract'); raise SystemExit(2)"

    def never() -> None:
        raise ConnectionError

    async def scene() -> None:
        async with kept(process(program, ready=never), home) as supervised:
            with pytest.raises(Fatal, match=r"thing .* ended with exit code 2, saying: error: mend the contract"):
                await supervised.first_start
            await until(lambda: supervised.state.restarts >= 3)
            assert "error: mend the contract" in supervised.state.last_error

    asyncio.run(scene())
    assert asked[:3] == [0.3, 0.6, 1.2]


def test_a_killed_one_comes_back_as_another_process(home: Path) -> None:
    async def scene() -> None:
        async with kept(process(WAITING), home) as supervised:
            await supervised.first_start
            first = supervised.state.identity
            assert first is not None
            os.kill(first.pid, 9)
            await until(lambda: supervised.state.restarts == 1 and supervised.state.state == READY)
            assert supervised.state.identity != first
            assert supervised.state.last_error == f"(pid {first.pid}) was ended by SIGKILL"

    asyncio.run(scene())


def test_one_that_never_answers_is_ended_and_started_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "READY_WITHIN", 0.3)

    def silent() -> None:
        raise TimeoutError

    async def scene() -> None:
        async with kept(process(WAITING, ready=silent), home) as supervised:
            with pytest.raises(Fatal, match=r"did not answer within 0 s \(TimeoutError\)"):
                await supervised.first_start
            await until(lambda: supervised.state.restarts == 1)

    asyncio.run(scene())


def test_a_deaf_one_is_killed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "ENDS_WITHIN", 0.3)
    marker = home / "deaf"

    async def scene() -> int:
        async with kept(process(DEAF, str(marker)), home) as supervised:
            await until(marker.exists)
            assert supervised.state.identity is not None
            return supervised.state.identity.pid

    pid = asyncio.run(scene())
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        raise AssertionError("it still runs")


def test_a_start_that_the_system_refuses_is_tried_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = asyncio.create_subprocess_exec
    refusals = iter([OSError(11, "Resource temporarily unavailable")])

    async def refuse_once(*args: str, **more: object) -> asyncio.subprocess.Process:
        if (error := next(refusals, None)) is not None:
            raise error
        return await real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse_once)

    async def scene() -> None:
        async with kept(process(WAITING), home) as supervised:
            await until(lambda: supervised.state.state == READY)
            assert supervised.state.last_error == "could not be started: Resource temporarily unavailable"

    asyncio.run(scene())


def test_one_that_runs_and_takes_no_part_is_started_again_and_says_why(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "PRESENCE_EVERY", 0.02)
    monkeypatch.setattr(under_test, "ABSENT_AT_MOST", 0.2)
    looks: list[int] = []

    def alive() -> bool | None:
        looks.append(1)
        if len(looks) % 3 == 0:
            raise OSError("Kafka is away: nobody can tell")
        return None if len(looks) < 20 else len(looks) > 60  # for a while nobody could tell, then it was absent

    def always_absent() -> bool:
        return False

    async def scene() -> None:
        async with kept(process(WAITING), home) as supervised:
            await supervised.first_start
            await asyncio.sleep(0.5)
            assert (supervised.state.state, supervised.state.restarts) == (READY, 0), "nobody said that it is absent"
        async with kept(process(WAITING, alive=always_absent), home) as supervised:
            await until(lambda: supervised.state.restarts > 0)
            assert "took no part in its consumer group" in supervised.state.last_error
        async with kept(process(WAITING, alive=alive), home) as supervised:
            await until(lambda: len(looks) > 30)
            assert supervised.state.restarts == 0, "between two answers that it is absent, nobody could tell"

    asyncio.run(scene())
