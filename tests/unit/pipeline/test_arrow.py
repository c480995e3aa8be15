"""Clean fields as Arrow columns, type by type."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from clearwell.contract.model import Field, Type
from clearwell.contract.privacy import Privacy, PrivacyKind
from clearwell.pipeline.arrow import arrow_schema, arrow_type, record_batch

MOMENT = datetime(2024, 2, 29, 23, 59, 59, 123456, UTC)


@pytest.mark.parametrize(
    ("field", "kind", "value", "read"),
    [
        (Field("f", Type.STRING), pa.string(), "ü", "ü"),
        (Field("f", Type.INT32), pa.int32(), -(2**31), -(2**31)),
        (Field("f", Type.INT64), pa.int64(), 2**63 - 1, 2**63 - 1),
        (Field("f", Type.FLOAT64), pa.float64(), 1e308, 1e308),
        (Field("f", Type.DECIMAL, precision=6, scale=3), pa.decimal128(6, 3), Decimal("1.5"), Decimal("1.500")),
        (Field("f", Type.BOOL), pa.bool_(), False, False),
        (Field("f", Type.TIMESTAMP), pa.timestamp("us", "UTC"), MOMENT, MOMENT),
        (Field("f", Type.DATE), pa.date32(), date(1, 1, 1), date(1, 1, 1)),
        (Field("f", Type.BYTES), pa.binary(), b"\x00\xff", b"\x00\xff"),
        (Field("f", Type.JSON), pa.string(), {"ü": [1, None]}, '{"ü":[1,null]}'),
        (Field("f", Type.LIST, items=Type.INT64), pa.list_(pa.int64()), [1, 2], [1, 2]),
        (Field("f", Type.LIST, items=Type.DATE), pa.list_(pa.date32()), [date(2024, 1, 1)], [date(2024, 1, 1)]),
        (Field("f", Type.INT64, privacy=Privacy(PrivacyKind.ENCRYPT)), pa.string(), "cw1.k.x", "cw1.k.x"),
        (Field("f", Type.JSON, privacy=Privacy(PrivacyKind.HASH)), pa.string(), "ab", "ab"),
        (Field("f", Type.INT32, privacy=Privacy(PrivacyKind.GENERALISE, 10)), pa.int32(), 40, 40),
    ],
)
def test_each_type(field: Field, kind: pa.DataType, value: Any, read: Any) -> None:
    assert arrow_type(field) == kind
    batch = record_batch([field], [(value,), (None,)])
    assert batch.column(0).type == kind
    assert batch.column(0).to_pylist() == [read, None]


def test_the_schema_carries_what_the_contract_says() -> None:
    field = Field("f", Type.INT32, required=True, unit="mile", description="How far.")
    assert arrow_schema([field]).field(0).nullable is False
    assert arrow_schema([field]).field(0).metadata == {b"unit": b"mile", b"description": b"How far."}


def test_no_rows_keep_the_columns() -> None:
    batch = record_batch([Field("a", Type.INT32), Field("b", Type.JSON)], [])
    assert (batch.num_rows, batch.schema.names) == (0, ["a", "b"])


def test_a_number_that_does_not_fit_is_refused_not_wrapped() -> None:
    with pytest.raises(pa.ArrowInvalid):
        record_batch([Field("a", Type.INT32)], [(2**31,)])
