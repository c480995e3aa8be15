"""A backfill writes what the pipeline keeps of a range of raw, says what became of the rest, and can be run again."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from kafka import KafkaAdminClient, TopicPartition

from clearwell.backfill import replay
from clearwell.backfill.files import lock_folder
from clearwell.backfill.manifest import Manifest
from clearwell.backfill.part import read_account
from clearwell.backfill.plan import (
    Bound,
    ReplayPlan,
    ReplayRequest,
    Workspace,
    choose_plan,
    file_name,
    make_plan,
    make_request,
)
from clearwell.demo.flights import BROKEN
from clearwell.errors import ConfigError
from clearwell.kafka import admin
from clearwell.kafka.log_client import KafkaLog
from clearwell.kafka.names import raw_topic
from clearwell.kafka.range_reader import reader
from clearwell.pipeline.batch import Outcomes, RawBatch
from clearwell.pipeline.clean import CleanCodec
from clearwell.pipeline.compiler import compile
from tests.support.backfills import backfill, call, clear, rows, table
from tests.support.forked import fork_server
from tests.support.kafka_login import login
from tests.support.platform import Platform, numbered, until

pytestmark = pytest.mark.slow

EVENTS = [*numbered(2_500), *BROKEN, *numbered(40, start=100)]  # the last ones are repeats, dropped
CHUNK = ("--chunk", "1000")


def expected(platform: Platform, values: Sequence[bytes]) -> Outcomes:
    """What the pipeline makes of these events, at offsets from 0 of one partition."""
    pipeline = compile(platform.contract, platform.keyring)
    return pipeline.process(RawBatch("x" * 22, 0, range(len(values)), list(values)), pipeline.new_state())


def make_plan_into(platform: Platform, request: ReplayRequest, into: Path) -> ReplayPlan:
    return make_plan(KafkaLog(platform.settings.kafka), request, Workspace.of(platform.settings, into))


def run_plan(
    platform: Platform, plan: ReplayPlan, progress: Callable[[int], None], pool: Executor | None = None
) -> tuple[Manifest, bool]:
    open_pipeline = partial(replay.compile_pipeline, plan, platform.settings)
    return replay.run(plan, KafkaLog(platform.settings.kafka), open_pipeline, progress, pool)


def planned(platform: Platform, into: Path) -> ReplayPlan:
    """A plan for all there is."""
    return make_plan_into(platform, make_request(platform.settings, platform.stream, None, None, None), into)


def test_the_rows_are_the_pipelines_and_the_account_is_complete(platform: Platform, tmp_path: Path) -> None:
    platform.put(EVENTS, partition=1)
    platform.put(numbered(10, start=5_000), partition=3)
    done = backfill(platform, "run", "--into", str(tmp_path / "out"), *CHUNK)
    manifest, folder = done["manifest"], Path(done["folder"])
    outcomes = expected(platform, EVENTS)
    codec = CleanCodec(compile(platform.contract, platform.keyring).schema)
    want = [clear(platform, row) for row in codec.decode_dicts(outcomes.values)]
    found = rows(platform, folder)
    assert [row.pop("clearwell_offset") for row in found[: len(want)]] == outcomes.offsets
    assert [row.pop("clearwell_partition") for row in found[: len(want)]] == [1] * len(want)
    assert found[: len(want)] == want
    account = {one["partition"]: one for one in manifest["partitions"]}
    assert set(account) == {1, 3}
    assert (account[1]["kept"], account[1]["dropped"], account[1]["rejected"]) == (
        len(outcomes.offsets),
        len(outcomes.dropped),
        len(outcomes.rejected),
    )
    assert account[1]["kept"] + account[1]["dropped"] + account[1]["rejected"] == len(EVENTS) == account[1]["end"]
    assert len(account[1]["files"]) == 3
    assert (manifest["kept"], manifest["gone"], manifest["complete"]) == (len(want) + 10, 0, True)
    assert folder == tmp_path / "out" / "v=1" / f"run={manifest['run']}"
    assert json.loads((folder / "_manifest.json").read_bytes()) == manifest


def test_columns_are_typed_by_the_contract(platform: Platform, tmp_path: Path) -> None:
    platform.put(numbered(3))
    schema = table(Path(backfill(platform, "run", "--into", str(tmp_path))["folder"])).schema
    assert schema.field("scheduled_at").type == pa.timestamp("us", tz="UTC")
    assert schema.field("dep_delay").type == pa.int32()
    assert schema.field("speed").type == pa.float64()
    assert schema.field("tailnum").type == schema.field("aircraft").type == pa.string()
    assert (schema.field("carrier").nullable, schema.field("dep_time").nullable) == (False, True)
    assert schema.field("distance").metadata[b"unit"] == b"mile"


def test_the_same_run_again_is_found_finished_and_new_events_are_a_new_run(platform: Platform, tmp_path: Path) -> None:
    platform.put(numbered(20))
    first = backfill(platform, "run", "--into", str(tmp_path))
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = backfill(platform, "run", "--into", str(tmp_path))
    assert (first["ran"], again["ran"]) == (True, False)
    assert again["manifest"] == first["manifest"]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == written
    platform.put(numbered(5, start=100))
    third = backfill(platform, "run", "--into", str(tmp_path))
    assert (third["ran"], third["manifest"]["kept"]) == (True, 25)
    assert third["folder"] != first["folder"]


def test_plan_and_dry_run_write_nothing_and_say_what_would_be_read(platform: Platform, tmp_path: Path) -> None:
    platform.put(numbered(1_500), partition=2)
    plan = backfill(platform, "plan", "--from", "100", "--to", "1400", "--into", str(tmp_path), *CHUNK)
    assert plan["ranges"] == [{"partition": 2, "first": 100, "end": 1400}]
    assert plan["files"] == [
        "part-0002-000000000100-000000001099.parquet",
        "part-0002-000000001100-000000001399.parquet",
    ]
    assert (plan["events"], plan["topic_id"]) == (1300, platform.ids[raw_topic(platform.stream)])
    dry = backfill(platform, "run", "--from", "100", "--to", "1400", "--into", str(tmp_path), "--dry-run", *CHUNK)
    assert dry == plan
    assert list((tmp_path / "v=1").glob("**/*") if (tmp_path / "v=1").exists() else []) == []
    ran = backfill(platform, "run", "--from", "100", "--to", "1400", "--into", str(tmp_path), *CHUNK)
    assert (ran["manifest"]["run"], ran["manifest"]["kept"]) == (plan["run"], 1300)


def test_a_range_remembers_what_came_before_it(platform: Platform, tmp_path: Path) -> None:
    platform.put(numbered(1_000), partition=0)
    platform.put(numbered(300, start=900), partition=0)  # the first hundred are repeats from before the range
    done = backfill(platform, "run", "--from", "1000", "--into", str(tmp_path))["manifest"]
    assert (done["kept"], done["dropped"]) == (200, 100)


def test_a_range_of_time_holds_its_beginning_and_not_its_end(platform: Platform, tmp_path: Path) -> None:
    topic = raw_topic(platform.stream)
    platform.put(numbered(30), partition=0)
    moments = [min(append_times(platform, topic, 0, 29)) + 1]
    until(lambda: put_after(platform, 30, moments[0]))
    platform.put(numbered(40, start=100), partition=0)
    moments.append(append_times(platform, topic, 0, admin.end_offsets(platform.settings.kafka, topic)[0] - 1)[0] + 1)
    until(lambda: put_after(platform, 60, moments[1]))
    first = admin.offsets_at(platform.settings.kafka, topic, moments[0])[0]
    end = admin.offsets_at(platform.settings.kafka, topic, moments[1])[0]
    assert first is not None and end is not None and 0 < first < end
    at = [iso(moment) for moment in moments]
    plan = backfill(platform, "plan", "--from", at[0], "--to", at[1], "--into", str(tmp_path))
    assert plan["ranges"] == [{"partition": 0, "first": first, "end": end}]
    after = backfill(platform, "plan", "--from", "2999-01-01", "--into", str(tmp_path))
    assert (after["ranges"], after["events"]) == ([], 0)
    assert iso(int(datetime.fromisoformat(after["arrived_from"]).timestamp() * 1000)) <= at[0]
    for command in ("plan", "run"):  # by the time in the events, which is not what a range goes by
        years = ("--from", "2013-01-01", "--to", "2013-04-01", "--into", str(tmp_path / "nothing"))
        code, out, err = call(platform, command, platform.stream, *years)
        said = " ".join(out.split())
        assert (code, err) == (1, "")
        assert "goes by when Kafka took events in" in said
        assert f"arrived from {datetime.now(UTC):%Y-}" in said
    assert not (tmp_path / "nothing").exists()


def append_times(platform: Platform, topic: str, partition: int, offset: int) -> list[int]:
    """When Kafka took the event at `offset` in, Unix ms."""

    async def read() -> list[int]:
        async with reader(platform.settings.kafka) as log:
            return [
                record.timestamp
                async for records in log.records(topic, partition, offset, offset + 1)
                for record in records
            ]

    return asyncio.run(read())


def put_after(platform: Platform, number: int, moment: int) -> bool:
    """Put one event; whether Kafka took it in at or after `moment`."""
    topic = raw_topic(platform.stream)
    platform.put(numbered(1, start=number), partition=0)
    end = admin.end_offsets(platform.settings.kafka, topic)[0]
    return append_times(platform, topic, 0, end - 1)[0] >= moment


def iso(milliseconds: int) -> str:
    """As a person writes it."""
    return str(Bound(time=milliseconds))


def test_what_retention_removed_is_said(platform: Platform, tmp_path: Path) -> None:
    platform.put(numbered(100), partition=0)
    plan = planned(platform, tmp_path / "planned before")
    client = KafkaAdminClient(**login(platform.settings.kafka))
    client.delete_records({TopicPartition(raw_topic(platform.stream), 0): 40})
    client.close()
    late = backfill(platform, "plan", "--from", "10", "--into", str(tmp_path))
    assert (late["gone_before"], late["events"]) == ({"0": 30}, 60)
    done, _ = run_plan(platform, plan, lambda _: None)
    assert (done.kept, done.gone) == (60, 40)
    assert "40 older events are gone" in call(platform, "plan", platform.stream, "--into", str(tmp_path))[1]


def test_an_unfinished_run_is_resumed_though_more_has_come(platform: Platform, tmp_path: Path) -> None:
    platform.put(numbered(50))
    request = make_request(platform.settings, platform.stream, None, None, None)
    client, workspace = KafkaLog(platform.settings.kafka), Workspace.of(platform.settings, tmp_path)
    plan = choose_plan(client, request, workspace)
    with pytest.raises(Stop):
        run_plan(platform, plan, stop)
    platform.put(numbered(50, start=50))
    assert choose_plan(client, request, workspace) == plan
    done, ran = run_plan(platform, plan, lambda _: None)
    assert (done.kept, ran) == (50, True)
    assert choose_plan(client, request, workspace).events == 100


def test_chunks_replayed_by_other_processes_are_the_same_files(platform: Platform, tmp_path: Path) -> None:
    for partition in range(2):  # repeats reach over the borders of chunks: what steps remember is rebuilt
        platform.put([*numbered(600), *BROKEN, *numbered(300, start=400)], partition=partition)
    request = make_request(platform.settings, platform.stream, None, None, None, chunk=300)
    here, there, alone = (make_plan_into(platform, request, tmp_path / name) for name in "123")
    in_order, _ = run_plan(platform, here, lambda _: None)
    done: list[int] = []
    with ProcessPoolExecutor(2, fork_server()) as pool:
        spread, _ = run_plan(platform, there, done.append, pool)
    assert done == sorted(done) and done[-1] == here.events
    assert spread.partitions == in_order.partitions
    assert rows(platform, there.run_folder) == rows(platform, here.run_folder)
    replay_chunk, plan, chunk = pickle.loads(pickle.dumps((replay.replay_chunk, alone, list(alone.chunks())[1])))
    with lock_folder(alone.work_folder):
        account = replay_chunk(plan, chunk)
    assert account == read_account(here.run_folder / file_name(chunk)) == pickle.loads(pickle.dumps(account))


class Stop(Exception):
    """Ends a run early."""


def stop(_done: int) -> None:
    """After the first chunk."""
    raise Stop


def test_a_recreated_topic_is_refused(platform: Platform, tmp_path: Path) -> None:
    platform.put(numbered(50))
    plan = planned(platform, tmp_path)
    admin.delete_topics(platform.settings.kafka, [raw_topic(platform.stream)])
    until(lambda: made_again(platform))
    with pytest.raises(ConfigError, match="deleted and made again since the plan was made"):
        run_plan(platform, plan, lambda _: None)
    assert not list(tmp_path.rglob("*.parquet"))


def made_again(platform: Platform) -> bool:
    """Whether the topics could be made: the deletion of one goes on for a moment."""
    try:
        admin.ensure_topics(platform.settings.kafka, platform.stream, 1, partitions=4)
    except Exception:
        return False
    return True


def test_two_at_once_is_refused(platform: Platform, tmp_path: Path) -> None:
    platform.put(numbered(5))
    plan = planned(platform, tmp_path)
    with lock_folder(plan.work_folder):
        answer = backfill(platform, "run", "--into", str(tmp_path))
    assert "Another backfill is writing to" in answer["error"]
    assert answer["exit_code"] == 2


def test_mistakes_are_one_sentence_and_an_exit_code(platform: Platform, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    platform.put(numbered(1))
    for arguments, said in (
        (["run", "flihgts_x", "--into", str(tmp_path)], 'error: There is no contract for a stream "flihgts_x"'),
        (["run", platform.stream, "--into", str(blocked / "in")], "can't be written (Not a directory)"),
        (["plan", platform.stream, "--from", "noon", "--into", str(tmp_path)], "is not a time, nor an offset"),
        (["rum"], 'No such command "rum". Did you mean "run"?'),
    ):
        code, _, err = call(platform, *arguments)
        assert (code, said in err, "Traceback" in err) == (2, True, False), err
    platform.settings.keys.unlink()
    code, _, err = call(platform, "run", platform.stream, "--into", str(tmp_path))
    assert (code, "There is no key file at" in err) == (2, True), err
