"""Backfills: a range of a stream's history, replayed through its own pipeline into Parquet for training."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from clearwell.backfill import manifest, replay
from clearwell.backfill.arrivals import Arrivals, read_arrivals
from clearwell.backfill.manifest import Manifest
from clearwell.backfill.plan import CHUNK, Bound, ReplayPlan, Workspace, choose_plan, file_name, make_request
from clearwell.backfill.replay import OffsetsDone
from clearwell.control.platform import Actor, Platform
from clearwell.control.times import parse_time
from clearwell.kafka.log_client import KafkaLog
from clearwell.registry import audit


@dataclass(frozen=True, slots=True)
class BackfillPlan:
    """What a backfill would read and write; `arrived`: where it would find nothing, what there is instead."""

    replay: ReplayPlan
    arrived: Arrivals | None

    def to_json(self) -> dict[str, Any]:
        """As every face shows it; files in the order they are written."""
        plan = self.replay
        return {
            "clock": "arrival",
            "arrived_from": self.arrived[0] if self.arrived else None,
            "arrived_to": self.arrived[1] if self.arrived else None,
            "run": plan.run,
            "folder": str(plan.run_folder),
            "stream": plan.request.stream,
            "version": plan.request.version,
            "topic": plan.topic,
            "topic_id": plan.topic_id,
            "events": plan.events,
            "ranges": plan.ranges,
            "gone_before": plan.gone,
            "files": [file_name(chunk) for chunk in plan.chunks()],
        }


class Backfilled(msgspec.Struct, frozen=True):
    """A finished run; `ran` is False where it had been finished before."""

    folder: str
    ran: bool
    manifest: Manifest


def parse_bound(text: str, name: str) -> Bound:
    """Digits are an offset; else a time of arrival. Raises ConfigError as `parse_time`."""
    if re.fullmatch(r"[0-9]{1,18}", text):
        return Bound(offset=int(text))
    time = parse_time(text, name, alternative="an offset such as 5000")
    return Bound(time=int(time.timestamp() * 1000))


def plan_backfill(
    platform: Platform,
    stream: str,
    into: Path,
    *,
    start: Bound | None = None,
    end: Bound | None = None,
    version: int | None = None,
    chunk: int = CHUNK,
) -> BackfillPlan:
    """Fix what would be read: an unfinished run of the same request, or a new one. Blocks.

    start, end: None is the oldest and the newest event as of now. version: None is the highest. chunk: offsets of one
    file. Raises ConfigError when there is no such contract, Retryable when Kafka or the topic is not there.
    """
    settings = platform.settings
    request = make_request(settings, stream, version, start, end, chunk)
    plan = choose_plan(KafkaLog(settings.kafka), request, Workspace.of(settings, into))
    return BackfillPlan(plan, None if plan.ranges else asyncio.run(read_arrivals(settings, plan.topic)))


def apply(
    platform: Platform, actor: Actor, plan: BackfillPlan, progress: OffsetsDone, executor: Executor | None = None
) -> Backfilled:
    """Carry a plan out; one that was broken off goes on where it was. Blocks. Raises as `replay.run`."""
    folder, request = plan.replay.run_folder, plan.replay.request
    if manifest.read(folder) is None:
        with platform.changing(actor) as session:  # who took history out is known, however the run ends
            detail = {"run": plan.replay.run, "version": request.version, "events": plan.replay.events}
            audit.record(session, "backfill", f"stream/{request.stream}", detail)
    client, settings = KafkaLog(platform.settings.kafka), platform.settings
    open_pipeline = partial(replay.compile_pipeline, plan.replay, settings)
    made, ran = replay.run(plan.replay, client, open_pipeline, progress, executor)
    return Backfilled(str(folder), ran, made)
