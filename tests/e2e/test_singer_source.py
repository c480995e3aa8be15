"""The singer source: a real tap from PyPI, and taps on bad days; nothing is lost, and what happened is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from clearwell.errors import ConfigError, Retryable
from clearwell.source import Batch, SourceEvent
from clearwell.testing.reading import events_of
from connectors.singer.messages import SingerPosition
from connectors.singer.source import SingerConfig, SingerSource
from tests.support.sources.singer import SingerCase

REQUIREMENT = "tap-jsonl==0.3.1"


@pytest.fixture
def case(tmp_path: Path) -> Iterator[SingerCase]:
    """The small tap over a file of its own."""
    made = SingerCase(tmp_path / "events.jsonl")
    yield made
    made.close()


def source(written: dict[str, Any], **options: Any) -> SingerSource:
    """A source of a configuration."""
    return SingerSource(msgspec.convert(written | options, SingerConfig))


def read_batches(made: SingerSource, after: Any = None) -> tuple[list[Batch], Exception | None]:
    """All batches, and how it ended."""
    found: list[Batch] = []

    async def collect() -> None:
        async with aclosing(made.read(after)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                found.append(batch)

    try:
        asyncio.run(asyncio.wait_for(collect(), 60))
    except (ConfigError, Retryable) as error:
        return found, error
    return found, None


def read(made: SingerSource, after: Any = None) -> tuple[list[SourceEvent], Any, Exception | None]:
    """All events, the last position, and how it ended."""
    batches, error = read_batches(made, after)
    return events_of(batches), batches[-1][1] if batches else after, error


@pytest.mark.parametrize(
    ("trouble", "kind", "message"),
    [
        ({"garbage_after": 12}, ConfigError, "is no Singer message"),
        ({"exit_after": 12}, Retryable, "ended with exit code 1"),
        ({"hang_after": 12}, Retryable, "wrote nothing for 2 s and was ended"),
    ],
)
def test_a_tap_on_a_bad_day_loses_nothing(
    case: SingerCase, trouble: dict[str, int], kind: type[Exception], message: str
) -> None:
    case.fill(30)
    settings = case.config["config"] | {"token": "canary-token"}
    events, position, error = read(source(case.config, config=settings | trouble, patience=2.0))
    assert isinstance(error, kind) and message in str(error) and "canary" not in str(error)
    assert position == SingerPosition(state={"line": 10})
    rest, last, error = read(source(case.config, config=settings), position)
    assert (error, last) == (None, SingerPosition(state={"line": 30}))
    assert {case.number(event.data) for event in [*events, *rest]} == set(range(30))
    ids = {case.number(event.data): event.id for event in events}
    assert all(ids.get(number, event.id) == event.id for event in rest for number in [case.number(event.data)])


def test_a_batch_holds_many_states(case: SingerCase) -> None:
    case.fill(10_000)
    batches, error = read_batches(source(case.config, batch_events=2_500))
    assert error is None
    assert len(batches) < 50, "2,000 states, each of which costs a round trip to Kafka and a save"
    read_so_far = 0
    for events, position in batches:
        read_so_far += len(events)
        assert len(events) <= 2_500 and position == SingerPosition(state={"line": read_so_far})
    assert read_so_far == 10_000


def test_a_batch_comes_when_the_tap_falls_silent(case: SingerCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.singer.source.HEARTBEAT_SECONDS", 1_000)
    case.fill(10)
    settings = case.config["config"] | {"hang_after": 7}

    async def first() -> Batch:
        async with aclosing(source(case.config, config=settings).read(None)) as batches:  # type: ignore[type-var]
            return await anext(batches)

    events, position = asyncio.run(asyncio.wait_for(first(), 30))
    assert ([case.number(event.data) for event in events], position) == (
        [0, 1, 2, 3, 4],
        SingerPosition(state={"line": 5}),
    )


def test_a_tap_is_ended_with_what_it_started(case: SingerCase) -> None:
    case.fill(10)
    settings = case.config["config"] | {"hang_after": 7}

    async def begin() -> None:
        async with aclosing(source(case.config, config=settings).read(None)) as batches:  # type: ignore[type-var]
            await anext(batches)
            assert taps(), "the tap is not running"

    asyncio.run(asyncio.wait_for(begin(), 30))
    assert not taps()


def taps() -> list[psutil.Process]:
    """The running taps of this process."""
    found = psutil.Process().children(recursive=True)
    return [one for one in found if "tap-sample" in " ".join(command_of(one))]


def command_of(process: psutil.Process) -> list[str]:
    """Its command line; empty where it has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # a zombie too
        return []


@pytest.mark.parametrize("batch_events", [3, 5, 7, 10, 100])  # less than a STATE covers, as much, and more
def test_equal_records_without_keys_keep_their_ids(case: SingerCase, batch_events: int) -> None:
    case.path.write_bytes(b'{"n":1}\n' * 23)
    tap = case.path.parent / "bin" / "tap-sample"
    tap.write_text(tap.read_text().replace('"key_properties": ["id"]', '"key_properties": []'))
    made = source(case.config, batch_events=batch_events)
    batches, _ = read_batches(made)
    events = events_of(batches)
    assert len({event.id for event in events[:5]}) == 5
    for position in {repr(position): position for _, position in batches}.values():
        done = position.state["line"] if isinstance(position, SingerPosition) else 0
        assert read(made, position)[0] == events[done:]


def test_it_runs_again_and_goes_on(case: SingerCase) -> None:
    case.fill(5)

    async def follow() -> list[int]:
        numbers: list[int] = []
        async with aclosing(source(case.config, every=0.3).read(None)) as batches:  # type: ignore[type-var]
            async for events, _ in batches:
                numbers += [case.number(event.data) for event in events]
                if len(numbers) == 5 and not events and case.path.read_bytes().count(b"\n") == 5:
                    case.fill(2)
                if len(numbers) >= 7:
                    break
        return numbers

    assert asyncio.run(asyncio.wait_for(follow(), 30)) == list(range(7))


@pytest.mark.slow
def test_a_real_tap_from_pypi(case: SingerCase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLEARWELL_TAPS", "tap-jsonl")
    monkeypatch.setenv("CLEARWELL_HOME", str(tmp_path / "home"))
    case.fill(40)
    settings = {"path": str(case.path), "stream_name": "flights", "primary_keys": ["id"]}
    config = {"tap": "tap-jsonl", "pip": REQUIREMENT, "stream": "flights", "id_field": "id", "config": settings}
    made = source(config)
    made.check()
    (stream,) = made.discover()
    assert stream.name == "flights"
    assert {name: kind for name, kind in stream.fields.items() if not name.startswith("_sdc")} == {
        "id": "string",
        "at": "timestamp",
        "n": "int64",
    }
    assert len(stream.sample) == 40
    events, position, error = read(made)
    assert error is None
    assert [event.id for event in events] == [f"k{n}" for n in range(40)]
    assert "bookmarks" in position.state
    with pytest.raises(ConfigError, match="pip finds no tap-jsonl"):
        source(config, pip="tap-jsonl==0.0.0.dev0").check()
