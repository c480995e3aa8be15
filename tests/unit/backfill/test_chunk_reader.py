"""Consecutive ranges of one partition are read over one connection, in batches that never are empty."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from clearwell.backfill.chunk_reader import ChunkReader
from clearwell.backfill.plan import OffsetRange


class Log:
    """A partition whose records come in the slices that are given."""

    def __init__(self, slices: list[list[int]]) -> None:
        self.slices = slices

    async def records(self, topic: str, partition: int, start: int, end: int) -> AsyncIterator[list[Any]]:
        for offsets in self.slices:
            if kept := [SimpleNamespace(offset=offset) for offset in offsets if start <= offset < end]:
                yield kept


def read(slices: list[list[int]], bounds: list[int]) -> list[list[list[int]]]:
    async def all_ranges() -> list[list[list[int]]]:
        source: Any = ChunkReader(Log(slices), "raw.things")
        ranges = [OffsetRange(0, first, end) for first, end in pairwise(bounds)]
        return [[[one.offset for one in some] async for some in source.read(part, bounds[-1])] for part in ranges]

    return asyncio.run(all_ranges())


def test_a_range_that_ends_where_a_slice_does() -> None:
    assert read([[0, 1], [2, 3]], [0, 2, 4]) == [[[0, 1]], [[2, 3]]]


@given(
    holes=st.sets(st.integers(0, 29)),
    cuts=st.sets(st.integers(0, 30), max_size=6),
    bounds=st.sets(st.integers(0, 30), min_size=2, max_size=6),
)
def test_whatever_the_slices_are(holes: set[int], cuts: set[int], bounds: set[int]) -> None:
    offsets = [offset for offset in range(30) if offset not in holes]
    edges = [0, *sorted(cuts), 30]
    slices = [[offset for offset in offsets if first <= offset < end] for first, end in pairwise(edges)]
    limits = sorted(bounds)
    found = read(slices, limits)
    assert all(some for part in found for some in part)
    assert [[offset for some in part for offset in some] for part in found] == [
        [offset for offset in offsets if first <= offset < end] for first, end in pairwise(limits)
    ]
