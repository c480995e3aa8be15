"""Carries a plan out, chunk by chunk; a run that was killed goes on at the first chunk that is not there."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor, as_completed

import msgspec

from clearwell.backfill import manifest
from clearwell.backfill.chunk_reader import ChunkReader
from clearwell.backfill.files import lock_folder, move_folder, write_durably
from clearwell.backfill.manifest import Manifest
from clearwell.backfill.part import ChunkAccount, PartWriter, read_account
from clearwell.backfill.plan import PLAN, OffsetRange, ReplayPlan, file_name
from clearwell.contract.load import find
from clearwell.errors import ConfigError
from clearwell.kafka.log_client import KafkaLog, LogClient, RangeReader
from clearwell.pipeline.batch import Outcomes
from clearwell.pipeline.clean import CleanCodec
from clearwell.pipeline.compiler import Pipeline, PipelineState, compile
from clearwell.privacy.open_keyring import open_keyring
from clearwell.records.raw import raw_batch
from clearwell.settings import Settings
from clearwell.settings import load as load_settings
from clearwell.worker.batch_watch import BatchWatch

OffsetsDone = Callable[[int], None]
"""Told the raw offsets done so far."""

OnChunk = Callable[[OffsetRange, ChunkAccount], None]
"""Told each chunk that is written."""


def run(
    plan: ReplayPlan,
    client: LogClient,
    open_pipeline: Callable[[], Pipeline],
    progress: OffsetsDone,
    executor: Executor | None = None,
) -> tuple[Manifest, bool]:
    """Write the run; returns its manifest, and whether there was anything to do. Blocks.

    open_pipeline: asked where there is something to do; see `compile_pipeline`.
    executor: what replays the chunks, each alone; None: this process, in order, which carries what the steps remember
    from a chunk to the next. The files are the same. Raises ConfigError when the topic or the contract is not the
    planned one any more, or the disk can't be written; Retryable when Kafka does not answer or the disk is full: run it
    again then.
    """
    finished = manifest.read(plan.run_folder)
    if finished is not None:
        return finished, False
    with lock_folder(plan.work_folder):
        finished = manifest.read(plan.run_folder)
        if finished is not None:  # another process has finished it in this moment
            plan.work_folder.rmdir()
            return finished, False
        with write_durably(plan.work_folder / PLAN) as unfinished:
            unfinished.write_bytes(msgspec.json.encode(plan))
        pipeline = open_pipeline()
        accounts = _known_accounts(plan, pipeline)
        missing = [chunk for chunk in plan.chunks() if chunk not in accounts]
        done = plan.events - sum(map(len, missing))

        def note(chunk: OffsetRange, account: ChunkAccount) -> None:
            nonlocal done
            accounts[chunk] = account
            done += len(chunk)
            progress(done)

        if executor is None:
            asyncio.run(_replay_in_order(plan, client, pipeline, missing, note))
        else:
            _replay_by(executor, plan, pipeline, missing, note)
        made = manifest.make(plan, pipeline_hash(pipeline), accounts)
        manifest.write(plan.work_folder, made)
        move_folder(plan.work_folder, plan.run_folder)
    return made, True


def replay_chunk(plan: ReplayPlan, chunk: OffsetRange) -> ChunkAccount:
    """Write the file of one chunk and return its account, in whatever process. Blocks.

    The same arguments give the same file; they and the result can be pickled. Servers and keys are those of the plan's
    workspace and of the environment. Raises as `run`.
    """
    workspace = plan.workspace
    here = load_settings(
        os.environ
        | {"CLEARWELL_HOME": workspace.home, "CLEARWELL_SCHEMAS": workspace.schemas, "CLEARWELL_KEYS": workspace.keys}
    )
    accounts: list[ChunkAccount] = []
    client, pipeline = KafkaLog(here.kafka), compile_pipeline(plan, here)
    asyncio.run(_replay_in_order(plan, client, pipeline, [chunk], lambda _, account: accounts.append(account)))
    return accounts[0]


async def _replay_in_order(
    plan: ReplayPlan, client: LogClient, pipeline: Pipeline, chunks: list[OffsetRange], on_chunk: OnChunk
) -> None:
    async with client.reader() as log:
        replayer = ChunkReplayer(plan, client, pipeline, log, {chunk.partition: chunk.end for chunk in chunks})
        for chunk in chunks:
            on_chunk(chunk, await replayer.write(chunk))


def _replay_by(
    executor: Executor, plan: ReplayPlan, pipeline: Pipeline, chunks: list[OffsetRange], on_chunk: OnChunk
) -> None:
    futures = {executor.submit(replay_chunk, plan, chunk): chunk for chunk in chunks}
    try:
        for future in as_completed(futures):
            account = future.result()
            if account.pipeline != pipeline_hash(pipeline):  # invariant 8
                raise ConfigError("A worker runs another version of Clearwell or of the contract than this process.")
            on_chunk(futures[future], account)
    finally:
        for future in futures:
            future.cancel()


def _known_accounts(plan: ReplayPlan, pipeline: Pipeline) -> dict[OffsetRange, ChunkAccount]:
    """Of the chunks that an earlier process has written, by this pipeline."""
    accounts = {}
    for chunk in plan.chunks():
        account = read_account(plan.work_folder / file_name(chunk))
        if account is not None and account.pipeline == pipeline_hash(pipeline):
            accounts[chunk] = account
    return accounts


class ChunkReplayer:
    """Writes chunks of one plan; the steps' state is carried from a chunk to the next, or rebuilt (invariant 8)."""

    def __init__(
        self, plan: ReplayPlan, client: LogClient, pipeline: Pipeline, log: RangeReader, ends: Mapping[int, int]
    ) -> None:
        """`ends`: up to which offset of a partition will be asked for, chunk after chunk."""
        self._plan = plan
        self._client = client
        self._pipeline = pipeline
        self._log = log
        self._reader = ChunkReader(log, plan.topic)
        self._ends = ends
        self._codec = CleanCodec(pipeline.schema)
        self._state: PipelineState = pipeline.new_state()
        self._watch = BatchWatch()
        self._next = (-1, -1)

    async def write(self, chunk: OffsetRange) -> ChunkAccount:
        """Write the file of a chunk."""
        if self._next != (chunk.partition, chunk.first):
            await self._rebuild_state(chunk)
        part = PartWriter(self._pipeline.schema, chunk.partition)
        kept = dropped = rejected = 0
        async for out in self._outcomes(chunk):
            part.add(self._codec.decode(out.values), out.offsets)
            kept, dropped, rejected = kept + len(out.offsets), dropped + len(out.dropped), rejected + len(out.rejected)
        self._next = (chunk.partition, chunk.end)
        self._confirm_topic()
        rest = len(chunk) - kept - dropped - rejected
        gone = min(rest, await self._removed(chunk)) if rest else 0
        account = ChunkAccount(pipeline_hash(self._pipeline), kept, dropped, rejected, gone, rest - gone)
        part.write(self._plan.work_folder / file_name(chunk), account)
        return account

    async def _removed(self, chunk: OffsetRange) -> int:
        """How many offsets of a chunk are older than the oldest that retention has left."""
        begin = await self._log.begin(self._plan.topic, chunk.partition)
        return max(0, min(begin, chunk.end) - chunk.first)

    async def _rebuild_state(self, chunk: OffsetRange) -> None:
        """Rebuild what the steps remember before `chunk`, as a cleaner does when it takes a partition over."""
        self._state = self._pipeline.new_state()
        before = OffsetRange(chunk.partition, max(0, chunk.first - self._pipeline.lookback), chunk.first)
        if len(before):
            async for _ in self._outcomes(before):
                pass

    async def _outcomes(self, chunk: OffsetRange) -> AsyncIterator[Outcomes]:
        async for records in self._reader.read(chunk, ahead=self._ends[chunk.partition]):
            batch = raw_batch(self._plan.topic_id, chunk.partition, records)
            with self._watch.during(self._plan.topic, chunk.partition, records[0].offset, records[-1].offset):
                outcomes = self._pipeline.process(batch, self._state)
            yield outcomes

    def _confirm_topic(self) -> None:
        if self._client.topic_now(self._plan.topic) != self._plan.topic_id:
            raise ConfigError(
                f"{self._plan.topic} was deleted and made again since the plan was made: its history is another one, "
                "plan a new backfill."
            )


def compile_pipeline(plan: ReplayPlan, settings: Settings) -> Pipeline:
    """The pipeline that the live cleaner runs too. Raises ConfigError, ContractError, Fatal as compiling does."""
    contract = find(settings.schemas, plan.request.stream, plan.request.version)
    return compile(contract, open_keyring(settings))


def pipeline_hash(pipeline: Pipeline) -> str:
    """What a chunk is known by as this pipeline's: SHA-256 of its source."""
    return hashlib.sha256(pipeline.source.encode()).hexdigest()
