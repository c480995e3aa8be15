"""The lake keeps every obligation of a destination, in a folder and on an S3-compatible server; read by Polars."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import polars
import pytest
from deltalake import DeltaTable

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.destinations.lake.destination import LakeDestination
from clearwell.destinations.lake.root import TableLocation
from clearwell.testing import DestinationSuite
from clearwell.testing.destination_events import SIMPLE, Row
from tests.support.s3_server import SECRET, S3Server

WRONG = "canary-wrong"
OWN = ("_clean_offset", "_event_date")


@dataclass
class LakeCase:
    """One table; `wrong` are places where it can't be."""

    url: str
    options: Mapping[str, str] = field(default_factory=dict)
    wrong: Mapping[str, TableLocation] = field(default_factory=dict)
    secrets: Sequence[str] = (SECRET, WRONG)

    def destination(self, schema: CleanSchema, group: str) -> LakeDestination:
        """Of the table."""
        return LakeDestination(TableLocation(self.url, self.options), schema, group)

    def rows(self) -> list[dict[str, Any]]:
        """As Polars reads them."""
        if not DeltaTable.is_deltatable(self.url, dict(self.options) or None):
            return []
        found = polars.scan_delta(self.url, storage_options=dict(self.options) or None).collect()
        return [{name: value for name, value in row.items() if name not in OWN} for row in found.to_dicts()]

    @property
    def poisons(self) -> Mapping[str, Callable[[Row], Row]]:
        """What no column takes."""
        return {
            "a number beyond int32": lambda row: (*row[:2], 2**40, row[3]),
            "another type": lambda row: (*row[:2], "many", row[3]),
        }

    def broken(self) -> Mapping[str, Callable[[], LakeDestination]]:
        """What a person gets wrong."""

        def at(place: TableLocation) -> Callable[[], LakeDestination]:
            return lambda: LakeDestination(place, SIMPLE, "broken")

        return {what: at(place) for what, place in self.wrong.items()}


class Lake(DestinationSuite):
    """What tables anywhere share."""

    cannot: ClassVar[dict[str, str]] = {
        "test_names_that_differ_in_case": "Delta takes columns that differ in case alone for one",
        "test_other_key": "the lake keeps every event, so no key is anywhere in a table, and another one is no change",
    }

    def narrowed(self, field: Field, value: Any) -> Any:
        """A json value is kept as its text."""
        return Json(value) if field.type is Type.JSON and field.privacy is None and value is not None else value


class Json(str):
    """Equal to any JSON text of a value."""

    value: Any

    def __new__(cls, value: Any) -> Json:
        """Of that value."""
        made = super().__new__(cls)
        made.value = value
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and json.loads(other) == self.value

    __hash__ = str.__hash__


class TestFolder(Lake):
    """A folder of this machine."""

    @pytest.fixture
    def case(self, tmp_path: Path) -> LakeCase:
        """A table of its own."""
        (tmp_path / "file").write_text("x")
        wrong = {
            "a file in the way": TableLocation(f"{tmp_path}/file/table"),
            "a store that nobody knows": TableLocation(f"nothing://user:{WRONG}@host/table"),
        }
        return LakeCase(str(tmp_path / "table"), wrong=wrong)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    """A server of its own."""
    with S3Server() as server:
        yield server


@pytest.mark.slow
class TestS3(Lake):
    """Object storage, by URL and storage options."""

    @pytest.fixture
    def case(self, s3: S3Server, unique: Callable[[str], str]) -> LakeCase:
        """A table of its own."""
        url, options = s3.url(unique("table")), s3.options
        quick = options | {"max_retries": "1", "retry_timeout": "1s"}
        wrong = {
            "no such bucket": TableLocation("s3://nowhere/table", options),
            "nobody answers": TableLocation(url, quick | {"aws_endpoint_url": "http://127.0.0.1:1"}),
            "a server of something else": TableLocation(url, quick | {"aws_endpoint_url": f"{s3.endpoint}/moto-api"}),
        }
        return LakeCase(url, options, wrong)
