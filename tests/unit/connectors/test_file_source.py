"""The file source gives every line or row once, with the same id each time, from every position on."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import random
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clearwell.errors import ConfigError
from clearwell.source import EVENT_LIMIT, Refusal, SourceEvent, stored_position
from connectors.file import lines as file_lines
from connectors.file.config import FileConfig, FilePosition
from connectors.file.source import FileSource

Batches = list[tuple[list[SourceEvent], FilePosition]]


def read(path: Path | str, after: FilePosition | None = None, **options: Any) -> Batches:
    """All batches of a source, to its end."""

    async def collect() -> Batches:
        source = FileSource(FileConfig(path=str(path), **options))
        async with aclosing(source.read(after)) as batches:
            return [batch async for batch in batches]

    return asyncio.run(collect())


def restored(position: FilePosition) -> FilePosition | None:
    """As it comes back from the registry."""
    return stored_position(json.loads(json.dumps(msgspec.to_builtins(position))), FilePosition)


def events(batches: Batches) -> list[SourceEvent]:
    """The events of all batches in one list."""
    return [event for batch, _ in batches for event in batch]


def data(path: Path | str, **options: Any) -> list[bytes]:
    """The bytes of all events."""
    return [event.data for event in events(read(path, **options))]


LINES = [b'{"id":"%d","n":%d}' % (n, n) for n in range(57)]


@pytest.fixture
def ndjson(tmp_path: Path) -> Path:
    """57 good lines."""
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"\n".join(LINES) + b"\n")
    return path


def test_every_line_is_an_event_with_a_stable_id(ndjson: Path) -> None:
    first, again = read(ndjson), read(ndjson, batch_events=5)
    assert data(ndjson) == LINES
    assert events(first) == events(again)
    assert len({event.id for event in events(first)}) == len(LINES)
    assert events(first)[1].id == f"events.ndjson#{len(LINES[0]) + 1}"


@pytest.mark.parametrize("options", [{}, {"id_field": "id"}])
def test_every_position_resumes_after_its_last_event(ndjson: Path, options: dict[str, Any]) -> None:
    whole = events(read(ndjson, **options))
    batches = read(ndjson, batch_events=7, **options)
    assert len(batches) == 9
    for index, (_, position) in enumerate(batches):
        before = events(batches[: index + 1])
        assert before + events(read(ndjson, restored(position), **options)) == whole


def test_gzip_reads_and_resumes_like_plain(ndjson: Path, tmp_path: Path) -> None:
    packed = tmp_path / "events.ndjson.gz"
    packed.write_bytes(gzip.compress(ndjson.read_bytes()))
    batches = read(packed, batch_events=10)
    assert data(packed) == LINES
    for index, (_, position) in enumerate(batches):
        assert events(batches[: index + 1]) + events(read(packed, position)) == events(batches)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"a":1}\n{"a":2}', [b'{"a":1}', b'{"a":2}']),
        (b'{"a":1}\r\n{"a":2}\r\n', [b'{"a":1}', b'{"a":2}']),
        (b'\xef\xbb\xbf{"a":1}\n', [b'{"a":1}']),
        (b'\n\n{"a":1}\n \t\n\n{"a":2}\n\n', [b'{"a":1}', b'{"a":2}']),
        (b"not json\n{\n\xff\xfe\x00\n{}\n", [b"not json", b"{", b"\xff\xfe\x00", b"{}"]),
        (b"", []),
        (b"\n\n", []),
    ],
    ids=["no last newline", "CRLF", "byte order mark", "empty lines", "malformed", "empty", "only newlines"],
)
def test_lines_pass_untouched(tmp_path: Path, content: bytes, expected: list[bytes]) -> None:
    path = tmp_path / "odd.ndjson"
    path.write_bytes(content)
    assert data(path) == expected
    assert all(event.refused is None for event in events(read(path)))


@pytest.mark.parametrize("size", [EVENT_LIMIT - 1, EVENT_LIMIT, EVENT_LIMIT + 1, EVENT_LIMIT + 2, 5 * EVENT_LIMIT])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b""])
def test_a_line_over_the_limit_becomes_a_note_and_its_neighbours_flow(tmp_path: Path, size: int, ending: bytes) -> None:
    path = tmp_path / "big.ndjson"
    big = b'{"a":"' + b"x" * (size - 8) + b'"}'
    path.write_bytes(LINES[0] + b"\n" + big + ending + (b"" if not ending else LINES[1] + ending))
    found = events(read(path))
    assert found[0].data == LINES[0]
    assert [event.data for event in found[2:]] == ([LINES[1]] if ending else [])
    if size <= EVENT_LIMIT:
        assert found[1] == SourceEvent(f"big.ndjson#{len(LINES[0]) + 1}", big)
    else:
        assert found[1].refused is Refusal.TOO_LARGE
        assert len(found[1].data) < 2_000
        with pytest.raises(ValueError, match="Expecting"):
            json.loads(found[1].data)


def test_blocks_cut_lines_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = random.randrange(10**9)
    print("seed", seed)  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)
    lines = [b'{"x":"' + b"y" * chance.randrange(60) + b'"}' for _ in range(200)]
    path = tmp_path / "cut.ndjson"
    path.write_bytes(b"\n".join(lines))
    for block in (1, 2, 7, 64):
        monkeypatch.setattr(file_lines, "BLOCK", block)
        assert data(path, batch_events=13) == lines


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.ndjson", "a.jsonl", "c.ndjson", "notes.txt"):
        (tmp_path / name).write_bytes(b'{"file":"%s","n":1}\n{"n":2}\n' % name.encode())
    batches = read(tmp_path, batch_events=1)
    assert [event.id for event in events(batches)] == [
        f"{name}#{offset}" for name, offset in (("a.jsonl", 0), ("a.jsonl", 25), ("b.ndjson", 0), ("b.ndjson", 26),
                                                ("c.ndjson", 0), ("c.ndjson", 26))
    ]  # fmt: skip
    for index, (_, position) in enumerate(batches):
        assert events(batches[: index + 1]) + events(read(tmp_path, position)) == events(batches)
    assert len(data(tmp_path / "*.ndjson")) == 4


def test_csv_rows_become_json_and_types_come_from_columns(tmp_path: Path) -> None:
    path = tmp_path / "typed.csv"
    path.write_text(
        'id,n,x,ok,text\n1,5,2.5,true,"a, ""b""\nc"\n2,,,,\n3,five,1e3,maybe,é\n4,9999999999999999999,1,,\n'
    )
    rows = [json.loads(one) for one in data(path, columns={"n": "int", "x": "float", "ok": "bool"})]
    assert rows == [
        {"id": "1", "n": 5, "x": 2.5, "ok": True, "text": 'a, "b"\nc'},
        {"id": "2", "n": None, "x": None, "ok": None, "text": None},
        {"id": "3", "n": "five", "x": 1000.0, "ok": "maybe", "text": "é"},
        {"id": "4", "n": "9999999999999999999", "x": 1.0, "ok": None, "text": None},
    ]


def test_csv_agrees_with_python_and_resumes_everywhere(tmp_path: Path) -> None:
    seed = random.randrange(10**9)
    print("seed", seed)  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)
    path = tmp_path / "random.csv"
    texts = ["", "plain", 'quo"te', "comma,", "line\nbreak", " é ", "a\r\nb"]
    rows = [[f"id{n}", chance.choice(texts), chance.choice(texts)] for n in range(120)]
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator=chance.choice(["\n", "\r\n"])).writerows([["id", "a", "b"], *rows])
    batches = read(path, batch_events=11, id_field="id")
    with path.open(newline="") as file:
        expected = [{k: v or None for k, v in row.items()} for row in csv.DictReader(file)]
    found = [json.loads(event.data) for event in events(batches)]
    normal = [{k: v.replace("\r\n", "\n") if v else v for k, v in row.items()} for row in expected]
    assert [{k: v.replace("\r\n", "\n") if v else v for k, v in row.items()} for row in found] == normal
    assert [event.id for event in events(batches)] == [row[0] for row in rows]
    for index, (_, position) in enumerate(batches):
        assert events(batches[: index + 1]) + events(read(path, position, id_field="id")) == events(batches)


def test_a_broken_csv_row_is_refused_alone(tmp_path: Path) -> None:
    path = tmp_path / "broken.csv"
    path.write_bytes(b'a,b\n1,2\n1\n3,"open\n4,5\n\xff,6\n7,8,9\n5,"x"y\n6,7\n')
    found = events(read(path))
    assert [(event.data, event.refused) for event in found] == [
        (b'{"a":"1","b":"2"}', None),
        (b"1", Refusal.ROW_WIDTH),
        (b'3,"open', Refusal.QUOTES),
        (b'{"a":"4","b":"5"}', None),
        (b"\xff,6", Refusal.NOT_UTF8),
        (b"7,8,9", Refusal.ROW_WIDTH),
        (b'5,"x"y', Refusal.QUOTES),
        (b'{"a":"6","b":"7"}', None),
    ]


def test_an_overlong_csv_row_becomes_a_note(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_bytes(b"a,b\n1," + b"x" * (EVENT_LIMIT + 10) + b"\n2,3\n")
    found = events(read(path))
    assert found[0].refused is not None and len(found[0].data) < 2_000
    assert found[1].data == b'{"a":"2","b":"3"}'


def _vanish(path: Path) -> None:
    path.unlink()


def _shrink(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def _replace(path: Path) -> None:
    path.write_bytes(b"x" * 10_000)


@pytest.mark.parametrize(
    ("harm", "said"), [(_vanish, "does not exist"), (_shrink, "shorter"), (_replace, "has changed")]
)
def test_a_file_that_lost_what_was_read_is_a_clear_error(ndjson: Path, harm: Callable[[Path], None], said: str) -> None:
    _, position = read(ndjson, batch_events=40)[0]
    harm(ndjson)
    with pytest.raises(ConfigError, match=said):
        read(ndjson, position)


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        ("x.csv", b"", {}, "needs a header row"),
        ("x.csv", b"a,a\n", {}, "Column 2 .* repeats the name of column 1"),
        ("x.csv", b"a,,b\n", {}, "Column 2 .* has no name"),
        ("x.csv", b"a,b\n", {"columns": {"aa": "int"}}, '2 columns, but no "aa"'),
        ("x.csv", b"a;b\n", {}, "set `delimiter`"),
        ("x.csv", b"a\tb\n", {}, "set `delimiter`"),
        ("x.ndjson", b"{}\n", {"delimiter": ";"}, "`delimiter` is for csv"),
        ("x.csv", b"a\n", {"time_zone": "UTC"}, "`time_zone` is for parquet"),
        ("x.csv", b"a\n", {"encoding": "base64"}, "`encoding` is none"),
        ("x.csv", b"a\n", {"quote": ";", "delimiter": ";"}, "the same"),
        ("x.bin", b"{}", {}, "set `format`"),
        ("x.ndjson.gz", gzip.compress(b"{}\n" * 9, mtime=0)[:12], {}, "damaged or cut off"),
        ("x.ndjson.gz", gzip.compress(b"{}\n", mtime=0), {"follow": True}, "one plain file"),
    ],
)
def test_check_says_what_is_wrong(
    tmp_path: Path, name: str, content: bytes, options: dict[str, Any], said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        FileSource(FileConfig(path=str(path), **options)).check()


def test_events_before_a_cut_in_gzip_are_read_first(tmp_path: Path) -> None:
    path = tmp_path / "cut.ndjson.gz"
    lines = [b'{"n":%d,"r":"%s"}' % (n, random.randbytes(40).hex().encode()) for n in range(5_000)]
    path.write_bytes(gzip.compress(b"\n".join(lines))[:-5_000])
    found: list[SourceEvent] = []

    async def collect() -> None:
        async for batch, _ in FileSource(FileConfig(path=str(path))).read(None):
            found.extend(batch)

    with pytest.raises(ConfigError, match="damaged or cut off"):
        asyncio.run(collect())
    assert len(found) > 3_000
    assert [event.data for event in found] == lines[: len(found)]


def test_close_ends_a_follower(tmp_path: Path) -> None:
    path = tmp_path / "log.ndjson"
    path.write_bytes(b'{"n":1}\n')

    async def follow() -> int:
        source = FileSource(FileConfig(path=str(path), follow=True, poll_seconds=0.01))
        count = 0
        async with asyncio.timeout(10):
            async for batch, _ in source.read(None):
                count += len(batch)
                await source.close()
                await source.close()
        return count

    assert asyncio.run(follow()) == 1


def test_discover_guesses_types_from_samples(tmp_path: Path) -> None:
    path = tmp_path / "trips.ndjson"
    path.write_bytes(b'{"n":null,"f":1}\nbroken\n{"n":3,"f":2.5,"s":"x","b":true,"l":[1]}\n')
    (stream,) = FileSource(FileConfig(path=str(path))).discover()
    assert stream.name == "trips"
    assert stream.fields == {"n": "int64", "f": "float64", "s": "string", "b": "bool", "l": "json"}
    assert len(stream.sample) == 2
