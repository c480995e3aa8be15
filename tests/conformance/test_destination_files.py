"""`files` keeps every obligation of a destination, in a folder and on an S3-compatible server; others read them.

Heavy libraries are imported where they are used: the processes that are killed import this module.
"""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import msgspec
import pytest
import zstandard

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.destinations.files.destination import FilesConfig, FilesDestination
from clearwell.errors import ConfigError, Fatal, Retryable
from clearwell.settings import Settings
from clearwell.testing import DestinationSuite
from clearwell.testing.destination_cases import Opener, fresh
from clearwell.testing.destination_events import SIMPLE, START, TOPIC, CleanEvent, Row, batch_of, some_events

KEY, WRONG = "canary-key", "canary-wrong"
FOLDER = "events"


@dataclass
class FilesCase:
    """One folder; `wrong` are configurations that can't work."""

    config: FilesConfig
    positions: str
    wrong: Mapping[str, FilesConfig] = field(default_factory=dict)
    secrets: Sequence[str] = (KEY, WRONG)

    def destination(self, schema: CleanSchema, group: str) -> FilesDestination:
        return FilesDestination(self.config, schema, FOLDER, self.positions, group)

    def files(self) -> dict[str, bytes]:
        """All files that readers of the folder see."""
        options = self.config.storage_options | self.config.storage_secrets
        fs, root = fsspec.core.url_to_fs(f"{self.config.url}/{FOLDER}", skip_instance_cache=True, **options)
        names = [name for name in fs.find(root) if not name.rpartition("/")[2].startswith(("_", "."))]
        return {name: fs.cat_file(name) for name in names}

    def rows(self) -> list[dict[str, Any]]:
        found = [row for name, data in sorted(self.files().items()) for row in read(name, data)]
        return sorted(found, key=lambda row: (row["_raw_topic"], row["_raw_offset"]))

    @property
    def poisons(self) -> Mapping[str, Callable[[Row], Row]]:
        if self.config.format == "ndjson":
            return {}
        return {
            "a number beyond int32": lambda row: (*row[:2], 2**40, row[3]),
            "another type": lambda row: (*row[:2], "many", row[3]),
            "a text that is no Unicode": lambda row: ("\ud800", *row[1:]),
        }

    def broken(self) -> Mapping[str, Callable[[], FilesDestination]]:
        def at(config: FilesConfig) -> Callable[[], FilesDestination]:
            return lambda: FilesDestination(config, SIMPLE, FOLDER, self.positions, "broken")

        return {what: at(config) for what, config in self.wrong.items()}


def read(name: str, data: bytes) -> list[dict[str, Any]]:
    """By other libraries than those that wrote, where there are any."""
    if name.endswith(".parquet"):
        import polars

        return polars.read_parquet(io.BytesIO(data)).to_dicts()
    unpack = {".zst": zstandard.decompress, ".gz": gzip.decompress}.get(name[name.rindex(".") :], bytes)
    return [json.loads(line) for line in unpack(data).splitlines()]


class Json(str):
    """Equal to any JSON text of a value."""

    value: Any

    def __new__(cls, value: Any) -> Json:
        made = super().__new__(cls)
        made.value = value
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and json.loads(other) == self.value

    __hash__ = str.__hash__


class Files(DestinationSuite):
    """What folders anywhere share."""

    cannot: ClassVar[Mapping[str, str]] = {
        "test_other_key": "files keep every event, so no key is anywhere in them, and another one is no change",
    }

    def narrowed(self, field: Field, value: Any) -> Any:
        """A json value is kept as its text."""
        return Json(value) if field.type is Type.JSON and field.privacy is None and value is not None else value


def wrong_of(folder: Path) -> dict[str, FilesConfig]:
    (folder / "file").write_text("x")
    return {
        "a file in the way": FilesConfig(url=f"{folder}/file"),
        "a store that nobody knows": FilesConfig(url=f"nothing://user:{WRONG}@host/x"),
        "an option that nobody knows": FilesConfig(url="s3://bucket/x", storage_options={"nothing": WRONG}),
        "chained URLs": FilesConfig(url=f"simplecache::s3://{WRONG}/x"),
    }


@pytest.mark.slow
class TestParquet(Files):
    """In a folder of this machine."""

    @pytest.fixture
    def case(self, tmp_path: Path, stack: Settings) -> FilesCase:
        return FilesCase(FilesConfig(url=str(tmp_path / "lake")), stack.postgres, wrong_of(tmp_path))

    def test_folders_by_date(self, case: FilesCase, opened: Opener) -> None:
        """DuckDB reads the folder as one table with the date as a column, and Polars by its path alone."""
        import duckdb
        import polars

        days = [START, START + timedelta(days=1), START + timedelta(hours=23, minutes=59), None]
        destination = opened()
        self.deliver(destination, [CleanEvent(f"k{n}", day, n, raw_offset=n) for n, day in enumerate(days)])
        found = duckdb.sql(
            f"SELECT clearwell_date::VARCHAR, count(*) FROM read_parquet('{case.config.url}/{FOLDER}/*/*.parquet', "
            "hive_partitioning = true) GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        assert found == [("2013-01-01", 2), ("2013-01-02", 1), (None, 1)]
        assert polars.scan_parquet(f"{case.config.url}/{FOLDER}").collect().height == 4

    def test_a_crash_before_the_position(self, case: FilesCase, opened: Opener) -> None:
        """What was written, and not noted, is found by whoever takes over, in whatever flushes."""
        events = some_events(7, 90, 30)
        written = opened(group=fresh("crashed"))
        claim = written.claim(TOPIC, 0, 1)
        with pytest.raises(Fatal, match="no longer ours"):  # taken over: the files are there, the position not
            _put_without_position(written, batch_of(events[:50], claim, 50))
            written.claim(TOPIC, 0, 2)
            written.write(batch_of(events[:50], claim, 50))
        successor = opened(group=fresh("successor"))
        self.deliver(successor, events, size=33)
        self.require(case, successor, events)
        before = case.files()
        again = opened(group=fresh("again"))
        self.deliver(again, events, size=90)
        assert case.files() == before

    def test_files_of_others(self, case: FilesCase, opened: Opener) -> None:
        """They are left alone, and are no events."""
        destination = opened()
        folder = Path(case.config.url) / FOLDER
        folder.mkdir(parents=True)
        others = [folder / "README.md", folder / "_SUCCESS", folder / ".x.parquet.part"]
        for other in others:
            other.write_text("x")
        self.deliver(destination, [CleanEvent("a", START, 1, raw_offset=0)])
        assert destination.row_count() == 1 and all(other.read_text() == "x" for other in others)

    def test_a_damaged_file(self, case: FilesCase, opened: Opener) -> None:
        """A replay does not guess what was in it."""
        events = some_events(8, 10, 5)
        self.deliver(opened(), events)
        [name] = case.files()
        Path(name).write_bytes(b"PAR1")
        replay = opened(group=fresh("replay"))
        with pytest.raises(Fatal, match="can't be read"):
            self.deliver(replay, events)
        assert replay.accounts(TOPIC)[0].next_offset == 0

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_no_right_to_write(self, case: FilesCase, opened: Opener) -> None:
        destination = opened()
        Path(case.config.url, FOLDER).chmod(0o500)
        with pytest.raises(ConfigError, match="rights"):
            self.deliver(destination, [CleanEvent("a", START, 1, raw_offset=0)])


def _put_without_position(destination: Any, batch: Any) -> None:
    """The first half of a write."""
    list(destination._put(batch))


class TestLines(Files):
    """NDJSON, packed by gzip: the events as they are in the clean topic."""

    compression: ClassVar[Any] = "gzip"

    @pytest.fixture
    def case(self, tmp_path: Path, stack: Settings) -> FilesCase:
        config = FilesConfig(url=str(tmp_path / "lines"), format="ndjson", compression=self.compression)
        return FilesCase(config, stack.postgres, wrong_of(tmp_path))

    def narrowed(self, field: Field, value: Any) -> Any:
        """As JSON has it."""
        return json.loads(msgspec.json.encode(value))


@pytest.mark.slow
class TestPlainLines(TestLines):
    """Not packed."""

    compression = "none"


@pytest.mark.slow
class TestZstdLines(TestLines):
    """Packed by zstd."""

    compression = "zstd"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The endpoint of an S3-compatible server that has one bucket, `lake`."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="k",
                          aws_secret_access_key=KEY)  # fmt: skip
    client.create_bucket(Bucket="lake")
    client.close()
    yield endpoint
    server.stop()


@pytest.mark.slow
class TestS3(Files):
    """Object storage, by URL and storage options."""

    @pytest.fixture
    def case(self, s3: str, unique: Callable[[str], str], stack: Settings) -> FilesCase:
        def config(url: str, endpoint: str = s3) -> FilesConfig:
            return FilesConfig(
                url=url,
                storage_options={"endpoint_url": endpoint, "key": "k"},
                storage_secrets={"secret": KEY},
            )

        wrong = {
            "no such bucket": config("s3://nowhere/x"),
            "nobody answers": config("s3://lake/x", "http://127.0.0.1:1"),
            "a link-local address": config("s3://lake/x", f"http://169.254.169.254/{WRONG}"),
        }
        return FilesCase(config(f"s3://lake/{unique('files')}"), stack.postgres, wrong)

    def test_nobody_answers(self, case: FilesCase) -> None:
        """It may be back later."""
        with pytest.raises(Retryable):
            case.broken()["nobody answers"]().open()
