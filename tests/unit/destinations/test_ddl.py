"""The SQL that a schema becomes, without a server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.contract.privacy import Privacy, PrivacyKind
from clearwell.destinations.postgres import ddl
from clearwell.destinations.postgres.destination import PostgresDestination
from clearwell.errors import ConfigError

SCHEMA = CleanSchema(
    stream="sales",
    version=1,
    fields=(Field("shop", Type.STRING), Field("Till", Type.INT32), Field("at", Type.TIMESTAMP)),
    key=("shop", "Till"),
    event_id="shop",
    event_time="at",
)

TYPES = [
    (Field("x", Type.STRING), "text", "text"),
    (Field("x", Type.INT32), "integer", "int8"),
    (Field("x", Type.INT64), "bigint", "int8"),
    (Field("x", Type.FLOAT64), "double precision", "float8"),
    (Field("x", Type.DECIMAL, precision=12, scale=2), "numeric(12,2)", "numeric"),
    (Field("x", Type.BOOL), "boolean", "bool"),
    (Field("x", Type.TIMESTAMP), "timestamp with time zone", "timestamptz"),
    (Field("x", Type.DATE), "date", "date"),
    (Field("x", Type.JSON), "jsonb", "jsonb"),
    (Field("x", Type.BYTES), "bytea", "bytea"),
    (Field("x", Type.LIST, items=Type.INT32), "integer[]", "int8[]"),
    (Field("x", Type.LIST, items=Type.DECIMAL, precision=5, scale=1), "numeric(5,1)[]", "numeric[]"),
    (Field("x", Type.INT32, privacy=Privacy(PrivacyKind.ENCRYPT)), "text", "text"),
    (Field("x", Type.LIST, items=Type.DATE, privacy=Privacy(PrivacyKind.HASH)), "text", "text"),
    (Field("x", Type.INT32, privacy=Privacy(PrivacyKind.GENERALISE, 10)), "integer", "int8"),
]


def test_every_type_is_covered() -> None:
    assert {field.type for field, _, _ in TYPES} == set(Type)


@pytest.mark.parametrize(("field", "final", "wire"), TYPES, ids=[f"{f.type}-{final}" for f, final, _ in TYPES])
def test_column_types(field: Field, final: str, wire: str) -> None:
    assert ddl.column_type(field) == (final, wire)


def test_table() -> None:
    assert ddl.create_table(SCHEMA, "sales").as_string() == (
        'CREATE TABLE "sales" ("shop" text, "Till" integer, "at" timestamp with time zone, '
        '"_raw_topic" text NOT NULL, "_raw_partition" integer NOT NULL, "_raw_offset" bigint NOT NULL, '
        '"_delivered_at" timestamp with time zone NOT NULL DEFAULT now(), PRIMARY KEY ("shop", "Till"))'
    )


def test_added_columns_are_nullable() -> None:
    added = [Field("gate", Type.INT32, required=True), Field("note", Type.JSON)]
    assert ddl.add_columns("sales", added).as_string() == (
        'ALTER TABLE "sales" ADD COLUMN "gate" integer, ADD COLUMN "note" jsonb'
    )


def test_the_upsert_leaves_the_key_and_guards_the_rest() -> None:
    sql = ddl.guarded_upsert(SCHEMA, "sales").as_string()
    assert 'ON CONFLICT ("shop", "Till") DO UPDATE SET "at" = excluded."at"' in sql
    assert '"shop" = excluded' not in sql
    assert 'WHERE (excluded."at" > stored."at"' in sql


@pytest.mark.parametrize("name", ["a b", "", "1a", 'x"; DROP TABLE y; --', "a" * 64, "schema.table", "naïve"])
def test_a_table_that_is_no_plain_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="can't be the name of a table"):
        PostgresDestination("postgresql://localhost/x", SCHEMA, name, "group")


@pytest.mark.parametrize("name", ["a b", 'x" text); --', "_raw_offset", "ctid", "a" * 64])
def test_a_field_that_can_be_no_column_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="field"):
        PostgresDestination(
            "postgresql://localhost/x", replace(SCHEMA, fields=(*SCHEMA.fields, Field(name, Type.STRING))), "t", "g"
        )
