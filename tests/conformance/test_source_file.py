"""The file source passes the suite in each of its forms: formats, packings, a watched folder, URLs."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import boto3
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from moto.server import ThreadedMotoServer

from clearwell.errors import ConfigError, Retryable
from clearwell.testing import SourceSuite
from connectors.file.config import FileConfig
from connectors.file.source import FileSource
from tests.support.sources.file import FileCase


class TestFolder(SourceSuite):
    """A folder of NDJSON files."""

    options: ClassVar[dict[str, Any]] = {"batch_events": 4}

    @pytest.fixture
    def case(self, tmp_path: Path) -> FileCase:
        """The folder."""
        return FileCase(tmp_path / "in")


class WatchedCase(FileCase):
    """A folder in which new files are awaited."""

    finite = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config |= {"watch": True, "poll_seconds": 0.05, "settle_seconds": 0}


@pytest.mark.slow
class TestWatchedFolder(TestFolder):
    """`watch: true`."""

    heartbeat = 0.3

    @pytest.fixture
    def case(self, tmp_path: Path) -> FileCase:
        """The folder."""
        return WatchedCase(tmp_path / "in")


class PackedCase(FileCase):
    """One packed file; each `fill` appends to it."""

    def __init__(self, folder: Path, suffix: str) -> None:
        super().__init__(folder)
        self._path = folder / f"events.ndjson{suffix}"
        self._pack = gzip.compress if suffix == ".gz" else zstandard.compress
        self.write(b"")
        self.config["path"] = str(self._path)

    def write(self, content: bytes) -> None:
        """One more member (frame)."""
        with self._path.open("ab") as file:
            file.write(self._pack(content))


@pytest.mark.slow
class TestGzip(TestFolder):
    """One gzip file of several members."""

    most_positions = most_cancellations = 6  # the same code as above, in another form

    suffix = ".gz"

    @pytest.fixture
    def case(self, tmp_path: Path) -> FileCase:
        """The file."""
        return PackedCase(tmp_path, self.suffix)


@pytest.mark.slow
class TestZstd(TestGzip):
    """One zstd file of several frames."""

    most_positions = most_cancellations = 6  # the same code as above, in another form

    suffix = ".zst"


class CsvCase(FileCase):
    """A CSV file that grows."""

    put: Any = None

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._path = folder / "events.csv"
        self._path.write_bytes(b"id,at,n\n")
        self.config |= {"path": str(self._path), "columns": {"n": "int"}, "id_field": "id"}

    def fill(self, count: int) -> None:
        """Append rows."""
        with self._path.open("a") as file:
            for n in range(self._filled, self._filled + count):
                file.write(f"k{n},2026-01-01T00:00:00Z,{n}\n")
        self._filled += count


@pytest.mark.slow
class TestCsv(TestFolder):
    """CSV with an id field."""

    most_positions = most_cancellations = 6  # the same code as above, in another form

    @pytest.fixture
    def case(self, tmp_path: Path) -> FileCase:
        """The file."""
        return CsvCase(tmp_path)


class ParquetCase(FileCase):
    """A folder of Parquet files with small row groups."""

    put: Any = None

    def fill(self, count: int) -> None:
        """One more file."""
        numbers = list(range(self._filled, self._filled + count))
        at = ["2026-01-01T00:00:00Z"] * count
        table = pa.table({"id": [f"k{n}" for n in numbers], "at": at, "n": numbers})
        pq.write_table(table, self.folder / f"{self._files:06}.parquet", row_group_size=5)
        self._filled, self._files = self._filled + count, self._files + 1


@pytest.mark.slow
class TestParquet(TestFolder):
    """Positions count rows."""

    @pytest.fixture
    def case(self, tmp_path: Path) -> FileCase:
        """The folder."""
        return ParquetCase(tmp_path / "in")


class UrlCase(FileCase):
    """A folder behind a URL."""

    def __init__(self, fs: Any, url: str, folder: Path, **config: Any) -> None:
        self._fs, self._url = fs, url
        super().__init__(folder)
        self.config |= {"path": url, **config}

    @property
    def broken(self) -> dict[str, dict[str, Any]]:
        """A place where nothing is, an unknown scheme."""
        return {"no such folder": {"path": f"{self._url}/nowhere.ndjson"}, "no such scheme": {"path": "nothing://x/y"}}

    def write(self, content: bytes) -> None:
        """One more file."""
        self._fs.pipe_file(f"{self._url}/{self._files:06}.ndjson", content)
        self._files += 1

    def close(self) -> None:
        """Remove the folder."""
        if self._files:
            self._fs.rm(self._url, recursive=True)


@pytest.mark.slow
class TestMemoryUrl(TestFolder):
    """A folder of fsspec's memory file system."""

    most_positions = most_cancellations = 6  # the same code as above, in another form

    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[FileCase]:
        """The folder."""
        made = UrlCase(fsspec.filesystem("memory"), f"memory://{tmp_path.name}", tmp_path)
        yield made
        made.close()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3-compatible server with a bucket "events"."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    ).create_bucket(Bucket="events")
    yield endpoint
    server.stop()


@pytest.mark.parametrize(("path", "options", "error", "said"), [
    ("s3://events/nothing.ndjson", {}, ConfigError, "does not exist"),
    ("s3://nowhere/nothing.ndjson", {}, ConfigError, "does not exist"),
    ("s3://events/nothing.ndjson", {"endpoint_url": "http://127.0.0.1:1"}, Retryable, "could not be read"),
])  # fmt: skip
def test_what_s3_answers_is_told(
    s3: str, path: str, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    told = FileConfig(
        path=path, storage_options={"endpoint_url": s3, "key": "k", **options}, storage_secrets={"secret": "hush"}
    )
    with pytest.raises(error, match=said):
        FileSource(told).check()


@pytest.mark.slow
@pytest.mark.slow
class TestS3(TestFolder):
    """A bucket of a real S3-compatible server, watched not."""

    most_positions = most_cancellations = 6  # the same code as above, in another form

    most_positions = 6
    most_cancellations = 20

    @pytest.fixture
    def case(self, tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileCase]:
        """A folder of the bucket."""
        monkeypatch.setenv("S3_SECRET_OF_TESTS", "s3-secret-of-tests")
        fs = fsspec.filesystem("s3", key="k", secret="s", endpoint_url=s3)
        made = UrlCase(
            fs,
            f"s3://events/{tmp_path.name}",
            tmp_path,
            storage_options={"endpoint_url": s3, "key": "k"},
            storage_secrets={"secret": "${env:S3_SECRET_OF_TESTS}"},
        )
        yield made
        made.close()
