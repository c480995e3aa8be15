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
from clearwell.source import SourceEvent
from connectors.singer import SingerConfig, SingerPosition, SingerSource
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


def read(made: SingerSource, after: Any = None) -> tuple[list[SourceEvent], Any, Exception | None]:
    """All events, the last position, and how it ended."""
    events: list[SourceEvent] = []
    position = after

    async def collect() -> None:
        nonlocal position
        async with aclosing(made.read(after)) as batches:  # type: ignore[type-var]
            async for batch, reached in batches:
                events.extend(batch)
                position = reached

    try:
        asyncio.run(asyncio.wait_for(collect(), 60))
    except (ConfigError, Retryable) as error:
        return events, position, error
    return events, position, None


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
    return [one for one in psutil.Process().children(recursive=True) if "tap-sample" in " ".join(one.cmdline())]


def test_equal_records_without_keys_are_events_of_their_own(case: SingerCase) -> None:
    case.path.write_bytes(b'{"n":1}\n' * 3)
    tap = case.path.parent / "bin" / "tap-sample"
    tap.write_text(tap.read_text().replace('"key_properties": ["id"]', '"key_properties": []'))
    first, again = read(source(case.config))[0], read(source(case.config))[0]
    assert len({event.id for event in first}) == 3
    assert first == again


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
