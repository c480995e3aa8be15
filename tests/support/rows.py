"""What a destination must hold: the same events through the pipeline in memory, compared field by field."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from pymongo import MongoClient

from clearwell.pipeline.batch import RawBatch
from clearwell.pipeline.clean import CleanCodec
from clearwell.pipeline.compiler import compile
from clearwell.privacy.envelope import unseal
from tests.support.platform import Platform

Rows = dict[str, dict[str, Any]]


def expected(platform: Platform, values: Sequence[bytes]) -> Rows:
    """Clean rows by id of `values`, in the clear where they are encrypted."""
    pipeline = compile(platform.contract, platform.keyring)
    outcomes = pipeline.process(RawBatch("x" * 22, 0, range(len(values)), list(values)), pipeline.new_state())
    return _clear(platform, CleanCodec(pipeline.schema).decode_dicts(outcomes.values))


def in_postgres(platform: Platform, table: str | None = None, ids: Sequence[str] | None = None) -> Rows:
    """The rows by id of a table (default: the stream's), or those of `ids`; our own columns left out, in the clear."""
    query = sql.SQL("SELECT * FROM {} WHERE %s::text[] IS NULL OR id = ANY (%s)").format(
        sql.Identifier(table or platform.stream)
    )
    wanted = None if ids is None else list(ids)
    with psycopg.connect(platform.settings.postgres, row_factory=dict_row) as connection:
        connection.execute("SET timezone = 'UTC'")
        found = connection.execute(query, [wanted, wanted]).fetchall()
    return _clear(platform, ({k: v for k, v in row.items() if not k.startswith("_")} for row in found))


def digest_in_postgres(platform: Platform, table: str | None = None) -> tuple[int, int]:
    """How many rows a table (default: the stream's) has, and the sum of the hashes of all that was delivered in them.

    For tables that are too large to be fetched: two with the same rows have the same digest.
    """
    name = table or platform.stream
    with psycopg.connect(platform.settings.postgres) as connection:
        with connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(sql.Identifier(name))) as cursor:
            columns = [sql.Identifier(one.name) for one in cursor.description or () if one.name != "_delivered_at"]
        query = sql.SQL("SELECT count(*), sum(hash_record_extended(ROW({}), 0)::numeric) FROM {}").format(
            sql.SQL(", ").join(columns), sql.Identifier(name)
        )
        found = connection.execute(query).fetchone()
    assert found is not None
    return int(found[0]), int(found[1] or 0)


def in_mongo(platform: Platform) -> Rows:
    """The collection's documents by id, our own fields left out, in the clear."""
    client: MongoClient[dict[str, Any]] = MongoClient(platform.settings.mongo, tz_aware=True)
    with client:
        found = list(client.get_default_database()[platform.stream].find())
    rows = [{("id" if k == "_id" else k): v for k, v in one.items() if k == "_id" or k[0] != "_"} for one in found]
    return _clear(platform, rows)


def _clear(platform: Platform, rows: Iterable[Mapping[str, Any]]) -> Rows:
    result: Rows = {}
    for row in rows:
        clear = dict(row)
        if clear["tailnum"] is not None:
            opened = unseal(platform.keyring, platform.stream, "tailnum", clear["id"], clear["tailnum"])
            clear["tailnum"] = opened.decode()
        assert clear["id"] not in result, "one event twice"
        result[clear["id"]] = json.loads(json.dumps(clear, default=str))
    return result
