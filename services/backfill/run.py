"""Carries a plan out, chunk by chunk; a run that was killed goes on at the first chunk that is not there."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from clearwell.contract.load import find
from clearwell.errors import ConfigError
from clearwell.kafka import admin
from clearwell.kafka.range_reader import RangeReader, reader
from clearwell.pipeline.batch import Outcomes
from clearwell.pipeline.clean import CleanCodec
from clearwell.pipeline.compiler import Pipeline, PipelineState, compile
from clearwell.privacy.open import open_keyring
from clearwell.records.raw import raw_batch
from clearwell.settings import Settings
from clearwell.worker.batch_watch import BatchWatch
from services.backfill import manifest
from services.backfill.files import locked, move_folder, written
from services.backfill.manifest import Manifest
from services.backfill.part import Account, PartWriter, account_of
from services.backfill.plan import Plan, Range, Request, file_name, make_plan, run_folder, work_folder
from services.backfill.source import Source

Progress = Callable[[int], None]
"""Told the raw offsets done so far."""

PLAN = "_plan.json"


def choose_plan(where: Settings, request: Request, into: Path) -> Plan:
    """The plan of an unfinished run of the same request, so that it is resumed; else a fresh one."""
    fresh = make_plan(where, request)
    for file in sorted(work_folder(into, fresh).parent.glob(f".run=*.unfinished/{PLAN}")):
        try:
            old = msgspec.json.decode(file.read_bytes(), type=Plan)
        except (OSError, msgspec.DecodeError):
            continue
        if old.request == request and old.topic_id == fresh.topic_id:
            return old
    return fresh


async def run(where: Settings, plan: Plan, into: Path, progress: Progress) -> tuple[Manifest, bool]:
    """Write the run; returns its manifest, and whether there was anything to do.

    Raises ConfigError when the topic or the contract is not the planned one any more, or the disk can't be written;
    Retryable when Kafka does not answer or the disk is full: run it again then.
    """
    known = manifest.read(run_folder(into, plan))
    if known is not None:
        return known, False
    work = work_folder(into, plan)
    with locked(work):
        known = manifest.read(run_folder(into, plan))
        if known is not None:  # another process has finished it in this moment
            work.rmdir()
            return known, False
        with written(work / PLAN) as beside:
            beside.write_bytes(msgspec.json.encode(plan))
        pipeline = compiled(where, plan.request)
        async with reader(where.kafka) as log:
            done = await Replay(where, plan, work, pipeline, log).all(progress)
        manifest.write(work, done)
        move_folder(work, run_folder(into, plan))
    return done, True


class Replay:
    """One run of one plan. The state of the steps is carried from a chunk to the next, or rebuilt (invariant 8)."""

    def __init__(self, where: Settings, plan: Plan, folder: Path, pipeline: Pipeline, log: RangeReader) -> None:
        self._where = where
        self._plan = plan
        self._folder = folder
        self._log = log
        self._source = Source(log, plan.topic)
        self._ends = {one.partition: one.end for one in plan.ranges}
        self._pipeline = pipeline
        self._hash = hashlib.sha256(pipeline.source.encode()).hexdigest()
        self._codec = CleanCodec(pipeline.schema)
        self._state: PipelineState = pipeline.new_state()
        self._watch = BatchWatch()
        self._stands = (-1, -1)

    async def all(self, progress: Progress) -> Manifest:
        """Write every chunk that is not there."""
        accounts: dict[Range, Account] = {}
        done = 0
        for chunk in self._plan.chunks():
            path = self._folder / file_name(chunk)
            known = account_of(path)
            if known is None or known.pipeline != self._hash:
                known = await self._chunk(chunk, path)
            accounts[chunk] = known
            done += len(chunk)
            progress(done)
        return manifest.make(self._plan, self._hash, accounts)

    async def _chunk(self, chunk: Range, path: Path) -> Account:
        if self._stands != (chunk.partition, chunk.first):
            await self._warm_up(chunk)
        part = PartWriter(self._pipeline.schema, chunk.partition)
        kept = dropped = rejected = 0
        async for out in self._outcomes(chunk):
            part.add(self._codec.decode(out.values), out.offsets)
            kept, dropped, rejected = kept + len(out.offsets), dropped + len(out.dropped), rejected + len(out.rejected)
        self._stands = (chunk.partition, chunk.end)
        self._confirm_topic()
        rest = len(chunk) - kept - dropped - rejected
        gone = min(rest, await self._removed(chunk)) if rest else 0
        account = Account(self._hash, kept, dropped, rejected, gone, rest - gone)
        part.write(path, account)
        return account

    async def _removed(self, chunk: Range) -> int:
        """How many offsets of a chunk are older than the oldest that retention has left."""
        begin = await self._log.begin(self._plan.topic, chunk.partition)
        return max(0, min(begin, chunk.end) - chunk.first)

    async def _warm_up(self, chunk: Range) -> None:
        """Rebuild what the steps remember before `chunk`, as a cleaner does when it takes a partition over."""
        self._state = self._pipeline.new_state()
        before = Range(chunk.partition, max(0, chunk.first - self._pipeline.lookback), chunk.first)
        if len(before):
            async for _ in self._outcomes(before):
                pass

    async def _outcomes(self, wanted: Range) -> AsyncIterator[Outcomes]:
        async for records in self._source.read(wanted, ahead=self._ends[wanted.partition]):
            batch = raw_batch(self._plan.topic_id, wanted.partition, records)
            with self._watch.during(self._plan.topic, wanted.partition, records[0].offset, records[-1].offset):
                outcomes = self._pipeline.process(batch, self._state)
            yield outcomes

    def _confirm_topic(self) -> None:
        if admin.topic_id(self._where.kafka, self._plan.topic) != self._plan.topic_id:
            raise ConfigError(
                f"{self._plan.topic} was deleted and made again since the plan was made: its history is another one, "
                "plan a new backfill."
            )


def compiled(where: Settings, request: Request) -> Pipeline:
    """The pipeline that the live cleaner runs too. Raises ConfigError, ContractError, Fatal as compiling does."""
    return compile(find(where.schemas, request.stream, request.version), open_keyring(where))
