"""Every reader of clean records takes each raw event once, and none that no raw event explains (invariant 3)."""

from __future__ import annotations

import asyncio
import os
import random
from types import SimpleNamespace
from typing import Any

from clearwell.records.clean import Headers
from clearwell.records.clean_reader import CleanReader
from clearwell.records.duplicates import Duplicates
from clearwell.records.origins import Origins

TOPIC, FOREIGN = "t" * 22, "f" * 22
END = 1_000


def record(offset: int, raw_offset: int, topic_id: str = TOPIC) -> Any:
    return SimpleNamespace(offset=offset, headers=Headers(topic_id, 0, "flights/v1").at(raw_offset), value=b"{}")


def origins() -> Origins:
    return Origins(lambda: (TOPIC, {0: END}))


def test_forged_records_and_duplicates_are_passed_over_and_named() -> None:
    reader = CleanReader(0, origins())
    records = [record(0, 0), record(1, 1), record(2, 10**18), record(3, 1), record(4, 2), record(5, 3, FOREIGN)]
    taken = reader.take(records)
    assert [each.offset for each in taken.records] == [0, 1, 4]
    assert (list(taken.raw_topics), list(taken.raw_offsets)) == ([TOPIC] * 3, [0, 1, 2])
    assert (list(taken.forged), list(taken.duplicates)) == ([2, 5], [3])
    assert reader.high_watermarks == {TOPIC: 2}, "A forged offset would pass every later event for a duplicate."


def test_any_batches_give_the_same_whoever_reads() -> None:
    seed = int(os.environ.get("CLEARWELL_SEED", random.randrange(10**9)))
    chance, records, raw = random.Random(seed), [], 0
    for offset in range(400):
        kind = chance.random()
        if kind < 0.1:
            records.append(record(offset, END + chance.randrange(10**9)))
        elif kind < 0.3 and raw:
            records.append(record(offset, chance.randrange(raw)))
        else:
            records.append(record(offset, raw))
            raw += chance.randrange(1, 3)
    whole = CleanReader(0, origins()).take(records)

    async def take(reader: CleanReader, some: list[Any], known: Origins) -> list[int]:
        taken = await reader.take_asking(some, lambda: asyncio.to_thread(known.refresh))
        return [each.offset for each in taken.records]

    offsets: list[int] = []
    duplicates, begin = Duplicates(), 0
    while begin < len(records):
        end, known = begin + chance.randrange(1, 90), origins()
        offsets += asyncio.run(take(CleanReader(0, known, duplicates), records[begin:end], known))
        duplicates, begin = Duplicates(duplicates.high_watermarks), end
    assert offsets == [each.offset for each in whole.records], f"CLEARWELL_SEED={seed}"
    assert list(whole.raw_offsets) == sorted(set(whole.raw_offsets)), f"An event came twice: CLEARWELL_SEED={seed}."
    assert max(whole.raw_offsets) < END
