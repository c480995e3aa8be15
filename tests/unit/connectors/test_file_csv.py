"""CSV as people have it: any line ends, delimiters, encodings; numbers exactly or as they were; errors without data."""

from __future__ import annotations

import asyncio
import gzip
import json
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from clearwell.errors import ConfigError
from clearwell.source import Refusal, SourceEvent
from connectors.file import lines as file_lines
from connectors.file.config import FileConfig, FilePosition
from connectors.file.source import FileSource


def read(path: Path, after: FilePosition | None = None, **options: Any) -> list[tuple[list[SourceEvent], Any]]:
    """All batches of a source, to its end."""

    async def collect() -> list[tuple[list[SourceEvent], Any]]:
        async with aclosing(FileSource(FileConfig(path=str(path), **options)).read(after)) as batches:  # type: ignore[type-var]
            return [batch async for batch in batches]

    return asyncio.run(collect())


def rows(path: Path, **options: Any) -> list[Any]:
    """Rows as decoded; a Refusal for a refused one."""
    return [one.refused or json.loads(one.data) for batch, _ in read(path, **options) for one in batch]


def written(folder: Path, content: bytes, name: str = "a.csv") -> Path:
    """A file."""
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("block", [1, 2, 3, 1_048_576])
def test_any_line_end_ends_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: bytes, block: int) -> None:
    monkeypatch.setattr(file_lines, "BLOCK", block)
    path = written(tmp_path, end.join([b"id,s", b"1,one", b'2,"a' + end + b'b"', b"", b"3,x", b""]))
    expected = [{"id": "1", "s": "one"}, {"id": "2", "s": f"a{end.decode()}b"}, {"id": "3", "s": "x"}]
    assert rows(path) == expected
    batches = read(path, batch_events=1)
    for number, (_, position) in enumerate(batches, 1):
        assert rows_after(path, position) == expected[number:]


def rows_after(path: Path, position: FilePosition) -> list[Any]:
    """What is left after a position."""
    return [json.loads(one.data) for batch, _ in read(path, position) for one in batch]


def test_line_ends_may_be_mixed(tmp_path: Path) -> None:
    path = written(tmp_path, b'a,b\r\n1,2\n3,4\r5,6\r\n\r\r\n7,"8\r9\n0\r\n"\n')
    assert [list(row.values()) for row in rows(path)] == [
        ["1", "2"],
        ["3", "4"],
        ["5", "6"],
        ["7", "8\r9\n0\r\n"],
    ]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "1234567890123456789", 1234567890123456789),
        ("int", "9223372036854775807", 2**63 - 1),
        ("int", "-9223372036854775808", -(2**63)),
        ("int", "9223372036854775808", "9223372036854775808"),
        ("int", "08", 8),
        ("int", "+5", 5),
        ("int", "1" * 5_000, "1" * 5_000),
        ("int", "1.0", "1.0"),
        ("int", "\u0665", "\u0665"),
        ("float", "1e400", "1e400"),
        ("float", "-1e309", "-1e309"),
        ("float", "1e308", 1e308),
        ("float", ".5", 0.5),
        ("float", "-5.", -5.0),
        ("float", "NaN", "NaN"),
        ("float", "1" * 5_000, "1" * 5_000),
        ("float", ".", "."),
        ("string", "007", "007"),
        ("string", "1e400", "1e400"),
        ("bool", "yes", "yes"),
    ],
)
def test_a_number_is_exact_or_stays_as_it_is_written(tmp_path: Path, kind: str, text: str, value: Any) -> None:
    path = written(tmp_path, f"x,y\n{text},\n".encode())
    assert rows(path, columns={"x": kind, "y": kind}) == [{"x": value, "y": None}]


@pytest.mark.parametrize("delimiter", [";", "\t", "|", " "])
def test_another_delimiter(tmp_path: Path, delimiter: str) -> None:
    path = written(tmp_path, f'a{delimiter}b\n1,5{delimiter}"x{delimiter}y"\n'.encode())
    assert rows(path, delimiter=delimiter) == [{"a": "1,5", "b": f"x{delimiter}y"}]


def test_another_quote_or_none(tmp_path: Path) -> None:
    assert rows(written(tmp_path, b"a,b\n'1,\"2',3\n"), quote="'") == [{"a": '1,"2', "b": "3"}]
    assert rows(written(tmp_path, b'a,b\n5" disk,3\n'), quote="") == [{"a": '5" disk', "b": "3"}]


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("latin-1", True),
        ("cp1252", True),
        ("shift_jis", True),
        ("utf-16", False),
        ("utf-32", False),
        ("utf-16-le", True),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_other_encodings(tmp_path: Path, encoding: str, told: bool, pack: Any) -> None:
    word = "\u30c6" if encoding == "shift_jis" else "é"
    content = "a,b\r\n" + "".join(f'{n},"{word}\n{n}"\r\n' for n in range(50))
    path = written(tmp_path, pack(content.encode(encoding)), "a.csv.gz")
    options = {"encoding": encoding} if told else {}
    expected = [{"a": str(n), "b": f"{word}\n{n}"} for n in range(50)]
    batches = read(path, batch_events=7, **options)
    assert [json.loads(one.data) for batch, _ in batches for one in batch] == expected
    rest = read(path, batches[3][1], **options)
    assert [json.loads(one.data) for batch, _ in rest for one in batch] == expected[28:]


def test_what_is_no_text_of_an_encoding_refuses_its_row_alone(tmp_path: Path) -> None:
    assert rows(written(tmp_path, b"a\n\x81\nb\n"), encoding="cp1252") == [Refusal.NOT_UTF8, {"a": "b"}]
    with pytest.raises(ConfigError, match="damaged or cut off"):
        rows(written(tmp_path, "a\nb\n".encode("utf-16")[:-1]))


@pytest.mark.parametrize(
    "header",
    [
        b"alice@example.com,alice@example.com\n",
        b"alice@example.com,\n",
        b'alice@"example\n',
        b"alice@example.com;555\n",
        b"alice@example.com,555\n",
        b"\xffalice@example\n",
    ],
)
def test_errors_of_the_header_hold_no_data(tmp_path: Path, header: bytes) -> None:
    """Of a file without a header its first row is data (invariant 9)."""
    path = written(tmp_path, header + b"x,y\n")
    with pytest.raises(ConfigError) as told:
        FileSource(FileConfig(path=str(path), columns={"alice": "int"})).check()
    assert "example" not in str(told.value) and "555" not in str(told.value)


def test_ragged_rows_and_nuls(tmp_path: Path) -> None:
    path = written(tmp_path, b"\xef\xbb\xbfa,b\n1,2,\n1\n\x00,\x00\n,\n \n\t\n")
    assert rows(path) == [
        Refusal.ROW_WIDTH,
        Refusal.ROW_WIDTH,
        {"a": "\x00", "b": "\x00"},
        {"a": None, "b": None},
        Refusal.ROW_WIDTH,
    ]


def test_capitals_in_a_folder_and_what_is_passed_over_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written(tmp_path, b"a\n1\n", "A.CSV")
    written(tmp_path, gzip.compress(b'{"a":2}\n'), "B.JSON.GZ")
    written(tmp_path, b"", "c.csv")
    written(tmp_path, b"a\n9\n", "d.csv.bz2")
    written(tmp_path, b"a\n9\n", "e")
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere")
    assert [next(iter(row.values())) for row in rows(tmp_path)] == ["1", 2]
    told = [one.getMessage() for one in caplog.records if "passed over" in one.getMessage()]
    assert len(told) == 1
    assert "4 files or folders" in told[0] and "d.csv.bz2, e, link.csv, sub" in told[0]
