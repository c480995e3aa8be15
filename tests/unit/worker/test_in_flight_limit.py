"""Room for records in flight: never more than there is, first come first served, nothing lost by who gave up."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearwell.worker.in_flight_limit import InFlightLimit


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_large_taker_is_not_passed_by_small_ones() -> None:
    async def scene() -> list[str]:
        limit, order = InFlightLimit(10), []

        async def take(name: str, count: int) -> None:
            await limit.take(count)
            order.append(name)

        await take("first", 6)
        large = asyncio.create_task(take("large", 8))
        await _settle()
        small = asyncio.create_task(take("small", 1))
        await _settle()
        assert order == ["first"]
        limit.free(6)
        await asyncio.gather(large, small)
        return order

    assert asyncio.run(scene()) == ["first", "large", "small"]


def test_more_than_there_is_goes_alone() -> None:
    async def scene() -> None:
        limit = InFlightLimit(10)
        await limit.take(25)
        other = asyncio.create_task(limit.take(1))
        await _settle()
        assert not other.done()
        limit.free(25)
        await other

    asyncio.run(scene())


@pytest.mark.parametrize("granted", [False, True])
def test_who_gives_up_takes_nothing_with_it(granted: bool) -> None:
    async def scene() -> None:
        limit = InFlightLimit(10)
        await limit.take(10)
        gone = asyncio.create_task(limit.take(10))
        await _settle()
        if granted:
            limit.free(10)  # its turn comes in the moment in which it is cancelled
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        if not granted:
            limit.free(10)
        await asyncio.wait_for(limit.take(10), 1)

    asyncio.run(scene())


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(1, 40), st.integers(0, 2**32))
def test_everybody_gets_a_turn_in_order_and_never_too_much_is_out(counts: list[int], most: int, seed: int) -> None:
    chance = random.Random(seed)

    async def scene() -> None:
        limit, out, order = InFlightLimit(most), [], []

        async def work(index: int, count: int) -> None:
            await limit.take(count)
            out.append(count)
            order.append(index)
            assert sum(out) <= most or out == [count]
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            out.remove(count)
            limit.free(count)

        await asyncio.gather(*(work(index, count) for index, count in enumerate(counts)))
        assert order == sorted(order)

    asyncio.run(scene())
