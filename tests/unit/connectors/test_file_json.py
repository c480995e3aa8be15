"""JSON that is no line a value: arrays, values over several lines; each record as its bytes, in bounded memory."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import tracemalloc
from contextlib import aclosing
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from clearwell.errors import ConfigError
from clearwell.source import EVENT_LIMIT, Refusal, SourceEvent
from connectors.file import json_values
from connectors.file.config import FileConfig
from connectors.file.content import Content
from connectors.file.json_values import JsonReader
from connectors.file.source import FileSource


def read(path: Path, after: Any = None, **options: Any) -> list[tuple[list[SourceEvent], Any]]:
    """All batches of a source, to its end."""

    async def collect() -> list[tuple[list[SourceEvent], Any]]:
        async with aclosing(FileSource(FileConfig(path=str(path), **options)).read(after)) as batches:  # type: ignore[type-var]
            return [batch async for batch in batches]

    return asyncio.run(collect())


def data(path: Path, **options: Any) -> list[bytes]:
    """The bytes of all events."""
    return [one.data for batch, _ in read(path, **options) for one in batch]


def written(folder: Path, content: bytes, name: str = "a.json") -> Path:
    """A file."""
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'[\n  {"id": 1},\n  {"id": 2}\n]', [b'{"id": 1}', b'{"id": 2}']),
        (b'\xef\xbb\xbf [{"a":"],}[{"},{"b":"\\"]"}]\n\n', [b'{"a":"],}[{"}', b'{"b":"\\"]"}']),
        (b'[1, "a,b" ,null,[2,[3]] , {"a":{"b":[]}}]', [b"1", b'"a,b"', b"null", b"[2,[3]]", b'{"a":{"b":[]}}']),
        (b"[]", []),
        (b" [ ] \n [1]\n[2,3]", [b"1", b"2", b"3"]),
        (b'{\n "a": 1\n}\n{\n "a": 2\n}\n', [b'{\n "a": 1\n}', b'{\n "a": 2\n}']),
        (b'[{"a":1}]\n{"b":2}\nword "c d" 5', [b'{"a":1}', b'{"b":2}', b"word", b'"c d"', b"5"]),
        (
            b'[{"a":1,},nonsense,{"b":2},{"c":3} {"d":4},]',
            [b'{"a":1,}', b"nonsense", b'{"b":2}', b'{"c":3}', b'{"d":4}'],
        ),
        (b'{"a":1}\n{"a":\n{"a":3}\n', [b'{"a":1}', b'{"a":', b'{"a":3}']),
        (b'{"a":\n{"a":3}\n', [b'{"a":', b'{"a":3}']),
        (b'{"a":1}\r{"a":2}\r', [b'{"a":1}', b'{"a":2}']),
        (b'"text"\n5\n', [b'"text"', b"5"]),
        (b"", []),
        (b" \n", []),
    ],
    ids=range(14),
)
@pytest.mark.parametrize("block", [1, 7, 1_048_576])
def test_records_are_the_bytes_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, expected: list[bytes], block: int
) -> None:
    monkeypatch.setattr(json_values, "BLOCK", block)
    path = written(tmp_path, content)
    assert data(path) == expected
    batches = read(path, batch_events=1)
    assert len({one.id for batch, _ in batches for one in batch}) == len(expected)
    for number, (_, position) in enumerate(batches, 1):
        assert [one.data for batch, _ in read(path, position) for one in batch] == expected[number:]


def test_arrays_of_any_values_agree_with_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = random.randrange(10**9)
    print("seed", seed)  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)

    def value(depth: int) -> Any:
        kind = chance.randrange(6 if depth else 4)
        if kind == 4:
            return [value(depth - 1) for _ in range(chance.randrange(4))]
        if kind == 5:
            return {chance.choice('ab"\\{},[]'): value(depth - 1) for _ in range(chance.randrange(4))}
        return [chance.random(), None, "".join(chance.choices('"\\{}[], é\n', k=5)), 10**20][kind]

    records = [value(3) for _ in range(200)]
    for block in (3, 64, 1_000):
        monkeypatch.setattr(json_values, "BLOCK", block)
        path = written(tmp_path, json.dumps(records, indent=chance.choice([None, 2])).encode())
        batches = read(path, batch_events=17)
        assert [json.loads(one.data) for batch, _ in batches for one in batch] == records
        rest = read(path, batches[5][1])
        assert [json.loads(one.data) for batch, _ in rest for one in batch] == records[6 * 17 :]


@pytest.mark.parametrize("content", [b'[{"a":1},{"a":2}', b'[{"a":1},', b'[{"a":1},{"a":"x', b'[{"a":1},{"a":"\\'])
def test_an_array_that_does_not_end_is_told_after_what_it_has(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    taken: list[bytes] = []

    async def collect() -> None:
        async for batch, _ in FileSource(FileConfig(path=str(path))).read(None):
            taken.extend(one.data for one in batch)

    with pytest.raises(ConfigError, match="damaged or cut off"):
        asyncio.run(collect())
    assert taken[0] == b'{"a":1}'


def test_packed_arrays_ids_and_capitals(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(b'[{"id":"x"},{"id":"y"},{}]'), "A.JSON.GZ")
    assert [one.id for batch, _ in read(path, id_field="id") for one in batch] == ["x", "y", "A.JSON.GZ#23"]
    with pytest.raises(ConfigError, match="can't be followed"):
        read(written(tmp_path, b"[1]"), follow=True)


@pytest.mark.parametrize("filler", [b"x", b"\\\\", b'\\"', b"\r"])
def test_a_huge_record_is_refused_alone_in_bounded_memory_and_linear_time(filler: bytes) -> None:
    """Also when each block must be read with the state that the one before left."""
    huge = filler * (4 * EVENT_LIMIT // len(filler))
    big = b'{"big":["' + huge + b'"]}'
    content = Content(BytesIO(b'[{"a":1},' + big + b',{"a":2}]'))
    tracemalloc.start()
    try:
        events, _ = JsonReader("a", content, None).batch(10)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [one.refused for one in events] == [None, Refusal.TOO_LARGE, None]
    assert (events[0].data, events[2].data) == (b'{"a":1}', b'{"a":2}')
    assert len(events[1].data) < 2_000
    assert peak < 9 * EVENT_LIMIT
