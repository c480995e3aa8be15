"""Cursors as databases really have them: late commits, ties, coarse times, nulls, infinities, mixed storage."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import psycopg
import pytest

from clearwell.errors import Retryable
from clearwell.settings import Settings
from clearwell.source import Refusal
from connectors.sql import fence
from connectors.sql.source import SqlSource, SqlSourceConfig
from tests.support.sql_reading import following, rows_of, whole

Session = psycopg.Connection[tuple[Any, ...]]


class Table:
    """A table of this test in the stack's Postgres."""

    def __init__(self, dsn: str, name: str) -> None:
        self.dsn, self.name = dsn, name
        self.session: Session = psycopg.connect(dsn, autocommit=True)

    def make(self, columns: str) -> None:
        self.run(f"create table {self.name} ({columns})")

    def run(self, statement: str) -> None:
        self.session.execute(statement)  # type: ignore[arg-type]

    def config(self, **options: Any) -> dict[str, Any]:
        return {"url": self.dsn, "table": self.name, "every": 0.05, **options}

    def once(self, **options: Any) -> dict[str, Any]:
        return {"url": self.dsn, "table": self.name, **options}


@pytest.fixture
def table(stack: Settings, unique: Callable[[str], str]) -> Iterator[Table]:
    made = Table(stack.postgres, unique("cursor"))
    yield made
    made.run(f"drop table if exists {made.name} cascade")
    made.session.close()


def test_a_serial_number_that_commits_late_comes(table: Table) -> None:
    table.make("n bigserial primary key, id text")

    async def scene() -> None:
        async with following(table.config(cursor="n")) as follower:
            with psycopg.connect(table.dsn) as late:
                late.execute(f"insert into {table.name}(id) values ('A')")  # type: ignore[arg-type]
                await asyncio.to_thread(table.run, f"insert into {table.name}(id) values ('B')")
                await follower.quiet()
                late.commit()
                assert await follower.until(2) == ["A", "B"]
                late.execute(f"insert into {table.name}(id) values ('never')")  # type: ignore[arg-type]
                await asyncio.to_thread(table.run, f"insert into {table.name}(id) values ('C')")
                await follower.quiet(0.3)
                late.rollback()
            assert await follower.until(3) == ["A", "B", "C"]

    asyncio.run(scene())


def test_a_time_of_a_transaction_that_wrote_late_comes(table: Table) -> None:
    """`now()` is the time at which a transaction began, and it may have read only until then."""
    table.make("n int primary key, id text, at timestamptz not null default now()")

    async def scene() -> None:
        async with following(table.config(cursor="at")) as follower:
            with psycopg.connect(table.dsn) as late:
                late.execute("select now()")
                await asyncio.to_thread(table.run, f"insert into {table.name} values (2, 'B')")
                await follower.quiet()
                late.execute(f"insert into {table.name} values (1, 'A')")  # type: ignore[arg-type]
                late.commit()
            assert await follower.until(2) == ["A", "B"]

    asyncio.run(scene())


def test_one_that_only_reads_is_not_waited_for_for_ever(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "READER_SECONDS", 0.3)
    table.make("n int primary key, id text, at timestamptz not null default now()")
    table.run(f"insert into {table.name} values (1, 'A')")
    with psycopg.connect(table.dsn) as reader:
        reader.execute("select 1")
        assert len(whole(table.once(cursor="at"))[0]) == 1
        assert len(whole(table.once(cursor="n"))[0]) == 1  # a number is handed out to those who write alone


def test_a_writer_that_does_not_end_is_told_of(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "WRITER_SECONDS", 0.3)
    table.make("n int primary key, id text")
    table.run(f"insert into {table.name} values (2, 'B')")
    with psycopg.connect(table.dsn) as writer:
        writer.execute(f"insert into {table.name} values (1, 'A')")  # type: ignore[arg-type]
        with pytest.raises(Retryable, match="Rows are held back by 1 transactions"):
            whole(table.once(cursor="n"))
    assert len(whole(table.once(cursor="n"))[0]) == 2


def test_writers_that_commit_in_any_order_lose_nothing(table: Table) -> None:
    """Random transactions, some given up, each over several rows."""
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    table.make("n bigserial primary key, id text, at timestamptz not null default now()")
    committed: set[str] = set()

    async def write(writer: int) -> None:
        session = await psycopg.AsyncConnection.connect(table.dsn)
        async with session:
            for turn in range(12):
                ids = [f"{writer}.{turn}.{row}" for row in range(chance.randrange(1, 4))]
                for one in ids:
                    await session.execute(f"insert into {table.name}(id) values ('{one}')")  # type: ignore[arg-type]
                    await asyncio.sleep(chance.random() * 0.03)
                if chance.random() < 0.8:
                    await session.commit()
                    committed.update(ids)
                else:
                    await session.rollback()

    async def scene(cursor: str) -> None:
        async with following(table.config(cursor=cursor, lookback=0, page=chance.randrange(1, 20))) as follower:
            await asyncio.gather(*(write(number) for number in range(4)))
            await follower.until(len(committed))
            await follower.quiet(0.2)
            assert sorted(follower.ids()) == sorted(committed), f"seed {seed}, by {cursor}"

    asyncio.run(scene("n"))
    table.run(f"delete from {table.name}")
    committed.clear()
    asyncio.run(scene("at"))


def test_a_row_and_a_change_within_the_cursors_second_come(table: Table) -> None:
    table.make("key uuid primary key, id text, s text, updated_at timestamp(0) not null")
    moment = "'2024-05-01 10:00:00'"
    table.run(f"insert into {table.name} values ('80000000-0000-0000-0000-000000000000', 'a', 'first', {moment})")

    async def scene() -> None:
        async with following(table.config(cursor="updated_at")) as follower:
            await follower.until(1)
            insert = (
                f"insert into {table.name} values ('10000000-0000-0000-0000-000000000000', 'b', 'second', {moment})"
            )
            await asyncio.to_thread(table.run, insert)
            await follower.until(2)
            await asyncio.to_thread(table.run, f"update {table.name} set s = 'first, changed' where id = 'a'")
            await follower.until(3)
            assert [row["s"] for row in rows_of(follower.events)] == ["first", "second", "first, changed"]
            assert len({event.id for event in follower.events}) == 3, "a changed row is another event"
            await follower.quiet()
            after = follower.position
        async with following(table.config(cursor="updated_at"), after) as again:
            await again.quiet()
            await asyncio.to_thread(table.run, f"update {table.name} set s = 'changed again' where id = 'b'")
            assert rows_of(again.events) == [] and await again.until(1) == ["b"]

    asyncio.run(scene())


def test_rows_without_a_place_in_the_order_are_read_beside_it(table: Table) -> None:
    """Null and infinity, first and later, whether a row before them was read or not; what follows is not cut off."""
    table.make("n int primary key, id text, updated_at timestamptz")

    async def scene() -> None:
        async with following(table.config(cursor="updated_at")) as follower:
            for number, (name, at) in enumerate(
                [
                    ("null", "null"),
                    ("infinity", "'infinity'"),
                    ("minus", "'-infinity'"),
                    ("bc", "'0044-03-15 BC'"),
                    ("plain", "'2024-01-01'"),
                    ("null again", "null"),
                    ("sentinel", "'9999-12-31'"),
                    ("year 20000", "'20000-01-01'"),
                    ("later", "'2024-01-02'"),
                ],
                start=1,
            ):
                await asyncio.to_thread(table.run, f"insert into {table.name} values ({-number}, '{name}', {at})")
                assert (await follower.until(number))[-1] == name
            await asyncio.to_thread(table.run, f"update {table.name} set updated_at = '2024-01-03' where n = -1")
            assert (await follower.until(10))[-1] == "null"
            await follower.quiet()
            after = follower.position
        assert [row["updated_at"] for row in rows_of(follower.events)][:4] == [
            None,
            "infinity",
            "-infinity",
            "0044-03-15 00:00:00+00 BC",
        ]
        async with following(table.config(cursor="updated_at"), after) as again:
            await again.quiet()

    asyncio.run(scene())


def test_values_that_python_has_not_are_passed_on_as_the_server_writes_them(table: Table) -> None:
    table.make(
        "n int primary key, ts timestamptz, day date, span interval, clock time, at timestamp, doc json, d float8"
    )
    table.run(
        f"insert into {table.name} values (1, 'infinity', '-infinity', '1000000 years', '24:00', '20000-01-01', "
        """'{"n": 1e400, "d": 0.12345678901234567890123, "s": "\\ud800"}', 'NaN'), """
        "(2, '2024-01-05Z', '2024-01-05', '1 day', '23:59', '2024-01-05', '[1]', 1)"
    )
    events, _ = whole(table.once(mode="snapshot"))
    assert len(events) == 2 and all(event.refused is None for event in events)
    assert b'"doc":{"n": 1e400, "d": 0.12345678901234567890123, "s": "\\ud800"}' in events[0].data
    second = rows_of(events[1:])[0]
    assert (second["ts"], second["day"], second["doc"]) == ("2024-01-05T00:00:00Z", "2024-01-05", [1])
    assert b'"ts":"infinity","day":"-infinity"' in events[0].data
    assert b'"clock":"24:00:00","at":"20000-01-01 00:00:00"' in events[0].data


def test_a_label_that_an_enum_gets_later_is_read(table: Table) -> None:
    table.run(f"create type {table.name}_kind as enum ('a')")
    table.make(f"n int primary key, id {table.name}_kind")
    table.run(f"insert into {table.name} values (1, 'a')")

    async def scene() -> None:
        async with following(table.config(cursor="n")) as follower:
            await follower.until(1)
            await asyncio.to_thread(table.run, f"alter type {table.name}_kind add value 'b'")
            await asyncio.to_thread(table.run, f"insert into {table.name} values (2, 'b')")
            assert await follower.until(2) == ["a", "b"]

    asyncio.run(scene())
    table.run(f"drop table {table.name}")
    table.run(f"drop type {table.name}_kind")


def test_a_value_that_the_driver_cannot_take_is_one_refused_event(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever driver: here psycopg without its mercy for times."""
    monkeypatch.setattr("connectors.sql.postgres.forgive", lambda connection: None)
    table.make("n int primary key, id text, ts timestamptz")
    table.run(f"insert into {table.name} values (1, 'a', now()), (2, 'b', 'infinity'), (3, 'c', now())")
    events, position = whole(table.once(mode="snapshot", page=2))
    assert [event.refused for event in events] == [None, Refusal.UNREADABLE, None]
    assert [event.id for event in events] == ["1", "2", "3"]
    assert position.after == [3]


def test_numbers_that_are_none_do_not_end_a_table(table: Table) -> None:
    table.make("n numeric, id text primary key")
    table.run(f"insert into {table.name} values ('NaN', 'nan'), ('Infinity', 'inf'), (1, 'a'), (1e400, 'b')")
    events, position = whole(table.once(cursor="n", page=2))
    assert sorted(row["id"] for row in rows_of(events)) == ["a", "b", "inf", "nan"]
    assert {row["id"]: row["n"] for row in rows_of(events)}["b"] == "1" + "0" * 400
    table.run(f"insert into {table.name} values (1e401, 'c')")
    assert [row["id"] for row in rows_of(whole(table.once(cursor="n"), position)[0])] == ["c"]


def test_what_the_order_cannot_promise_is_warned_of(table: Table) -> None:
    table.make("n int primary key, at timestamptz, good timestamptz not null")

    def warnings(config: dict[str, Any]) -> list[str]:
        return SqlSource(msgspec.convert(config, SqlSourceConfig)).warnings()

    assert warnings(table.once(cursor="good")) == []
    assert warnings(table.once(mode="snapshot")) == []
    assert warnings(table.once(cursor="at")) == [
        "at may be null: rows without a value are read beside the order, at most 1,000."
    ]
