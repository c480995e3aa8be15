"""`SourceSuite`: what every source must do, proven in a class of one fixture.

class TestFileSource(SourceSuite):
    @pytest.fixture
    def case(self, tmp_path):
        return FileCase(tmp_path)
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest

from clearwell.errors import ClearwellError
from clearwell.source import HEARTBEAT_SECONDS, Batch, Comparing, Counting, SourceEvent
from clearwell.testing import reading
from clearwell.testing.source_cases import HOSTILE, require_clear
from clearwell.testing.source_spec import ConfiguredSuite

SLACK = 2.0
"""Seconds that a heartbeat may be late on a busy machine."""


class SourceSuite(ConfiguredSuite):
    """Subclass it, and give the fixture `case` (a `SourceCase` over a real server).

    The case's configuration must make several batches of `count` events (set `options` to smaller batches, or `count`
    higher). Override `lane` when a source keeps the order of its parts alone, such as partitions, and set `repeats`
    where the server may send again what was acknowledged, since it stores acknowledgements after it has answered.
    """

    count: ClassVar[int] = 23
    most_positions: ClassVar[int] = 40
    most_cancellations: ClassVar[int] = 60
    heartbeat: ClassVar[float] = 1.0
    repeats: ClassVar[bool] = False

    @pytest.fixture(autouse=True)
    def _short_heartbeats(self, case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """HEARTBEAT_SECONDS made shorter in the source's own package, so that tests of waiting are quick."""
        own = self.source_class(case).__module__
        package = own.rpartition(".")[0] or own
        for name, module in list(sys.modules.items()):
            if name.startswith(package) and name != __name__ and hasattr(module, "HEARTBEAT_SECONDS"):
                monkeypatch.setattr(module, "HEARTBEAT_SECONDS", self.heartbeat)

    def lane(self, case: Any, number: int) -> Any:
        """What the event `number` keeps its order in; None: in the whole source."""
        return None

    def prepare(self, case: Any) -> None:
        """There are events."""
        case.fill(self.count)

    def use(self, source: Any) -> None:
        """Read one batch."""

        async def once() -> None:
            try:
                await asyncio.wait_for(reading.take(source, None, bool), reading.PATIENCE)
            except TimeoutError:
                await source.close()

        reading.run(once(), 2 * reading.PATIENCE)

    def read(self, case: Any, after: Any, expected: int, *, wait: bool = True) -> list[Batch]:
        """What is left after a position, by a fresh source, to its end.

        Of an endless source: what is expected and, to `wait` whether more comes, the first heartbeat after that.
        """
        return reading.run(reading.take(self.make(case), after, self._enough(case, expected, wait)))

    def whole(self, case: Any) -> list[Batch]:
        """`count` events filled in and read, the numbers checked."""
        case.fill(self.count)
        batches = self.read(case, None, self.count)
        self.require_numbers(case, reading.events_of(batches), range(self.count))
        return batches

    def require_numbers(self, case: Any, events: Sequence[SourceEvent], expected: Sequence[int]) -> None:
        """Assert that just the expected events came, in the order of each lane."""
        found = self._numbers(case, events)
        lost, more = set(expected) - set(found), set(found) - set(expected)
        assert not lost, f"Events were lost: {sorted(lost)}."
        assert not more, f"Events came that were read before or never were: {sorted(more)}."
        assert len(found) == len(expected), f"Events came twice: {sorted(n for n in found if found.count(n) > 1)}."
        assert self._lanes(case, found) == self._lanes(case, list(expected)), f"Not in the source's order: {found}."

    def _numbers(self, case: Any, events: Sequence[SourceEvent]) -> list[int]:
        numbers = [case.number(event.data) for event in events]
        return list(dict.fromkeys(numbers)) if self.repeats else numbers

    def _lanes(self, case: Any, numbers: list[int]) -> dict[Any, list[int]]:
        lanes: dict[Any, list[int]] = defaultdict(list)
        for number in numbers:
            lanes[self.lane(case, number)].append(number)
        return lanes

    def _enough(self, case: Any, expected: int, wait: bool = True) -> Callable[[list[Batch]], bool]:
        def enough(batches: list[Batch]) -> bool:
            came = len(reading.events_of(batches)) >= expected
            return not case.finite and came and not (wait and batches[-1][0])

        return enough

    def test_every_event_once_in_order(self, case: Any) -> None:
        """All events come, once each, in the source's order."""
        batches = self.whole(case)
        assert all(event.refused is None for event in reading.events_of(batches)), "Good events were refused."

    def test_ids_are_stable_and_unique(self, case: Any) -> None:
        """Two reads give the same ids, and no two events the same."""
        first = reading.events_of(self.whole(case))
        again = reading.events_of(self.read(case, None, self.count))
        ids = {case.number(event.data): event.id for event in first}
        assert len(set(ids.values())) == self.count, "Two events have the same id."
        assert all(ids.values()), "An event has an empty id."
        assert ids == {case.number(event.data): event.id for event in again}, "A second read gives other ids."

    def test_positions_survive_the_registry(self, case: Any) -> None:
        """A position is small, and the same after it was stored as JSON."""
        shape = self.source_class(case).Position
        for _, position in self.whole(case):
            assert position is None or isinstance(position, shape), "A position is none of the source's `Position`."
            assert reading.as_stored(position, shape) == position, "A position is another one after it was stored."

    def test_resume_from_every_position(self, case: Any) -> None:
        """From every position just the rest comes: no event lost, none again, with the same ids."""
        batches = self.whole(case)
        places = [at for at, (events, position) in enumerate(batches) if events and position is not None]
        assert len(places) >= 3, (
            "Too few batches to resume from: set smaller batches in `options`, or a higher `count`."
        )
        shape = self.source_class(case).Position
        for at in places[:: -(-len(places) // self.most_positions)]:
            rest = reading.events_of(batches[at + 1 :])
            after = reading.as_stored(batches[at][1], shape)
            found = reading.events_of(self.read(case, after, len(rest), wait=not rest))
            self.require_numbers(case, found, [case.number(event.data) for event in rest])
            assert {event.id for event in found} == {event.id for event in rest}, "Resumed events have other ids."

    def test_restart_after_every_batch(self, case: Any) -> None:
        """A new source for every batch, each acknowledged: no event lost, none again."""
        case.fill(self.count)
        found: list[SourceEvent] = []
        after = None
        shape = self.source_class(case).Position
        while len(self._numbers(case, found)) < self.count:
            batch = reading.run(reading.take_and_acknowledge(self.make(case), after))
            assert batch is not None, f"The source ended after {len(found)} of {self.count} events."
            found += batch[0]
            after = reading.as_stored(batch[1], shape)
        self.require_numbers(case, found, range(self.count))

    def test_items_are_counted(self, case: Any) -> None:
        """A source that counts its items counts each that became an event, in step with its batches (invariant 11)."""
        shape = self.source_class(case)
        if not issubclass(shape, Counting):
            pytest.skip("the source does not count its items")
        batches = self.whole(case)
        places = [at for at, (_, position) in enumerate(batches) if position is not None and at + 1 < len(batches)]
        for at in (-1, *places[:1]):
            after = None if at < 0 else reading.as_stored(batches[at][1], shape.Position)
            self._require_counted(case, after, len(reading.events_of(batches[at + 1 :])))

    def _require_counted(self, case: Any, after: Any, expected: int) -> None:
        source = self.make(case)
        enough = self._enough(case, expected)

        def counted(batches: list[Batch]) -> bool:
            events, items = len(reading.events_of(batches)), source.count().read
            assert items == events, f"The source counted {items} items and gave {events} events of them."
            return enough(batches)

        assert source.count().read == 0, "The source counted items before it read any."
        reading.run(reading.take(source, after, counted))
        count = source.count()
        assert count.read == expected, f"At its end the source counted {count.read} items of {expected}."
        assert count.held in (None, self.count), f"The source says it holds {count.held} items, not {self.count}."

    def test_more_events_are_found_later(self, case: Any) -> None:
        """What comes after the last position is read from there."""
        *_, (_, position) = self.whole(case)
        case.fill(3)
        after = reading.as_stored(position, self.source_class(case).Position)
        found = reading.events_of(self.read(case, after, 3))
        self.require_numbers(case, found, range(self.count, self.count + 3))

    def test_cancellation_at_every_await(self, case: Any) -> None:
        """Cancelled anywhere, reading ends soon, leaves nothing open, and can begin again."""
        case.fill(self.count)

        def cut(at: int) -> int:
            return asyncio.run(reading.cancelled_at(at, self.make(case), self._enough(case, self.count)))

        total = cut(0)
        with reading.nothing_left_open():
            for at in range(1, total + 1, -(-total // self.most_cancellations)):
                cut(at)
        self.require_numbers(case, reading.events_of(self.read(case, None, self.count)), range(self.count))

    def test_close_is_idempotent(self, case: Any) -> None:
        """Closing before, during and after reading, each twice, fails nowhere and leaves nothing open."""
        case.fill(self.count)

        async def close_twice(source: Any) -> None:
            await source.close()
            await source.close()

        async def closed_while_reading() -> None:
            source = self.make(case)
            batches: Any = source.read(None)
            try:
                assert (await anext(batches))[0] is not None
                await close_twice(source)
                for _ in range(self.count + 100):
                    await anext(batches)
            except StopAsyncIteration:
                pass
            except ClearwellError as error:
                require_clear(error)
            finally:
                await batches.aclose()
                await close_twice(source)

        reading.run(closed_while_reading())
        with reading.nothing_left_open():
            reading.run(close_twice(self.make(case)))
            reading.run(closed_while_reading())

    def test_heartbeats(self, case: Any) -> None:
        """A source that waits says so at least every HEARTBEAT_SECONDS, with a position from which to go on."""
        if case.finite:
            pytest.skip("the source ends by itself")
        batches = self.whole(case)

        async def beats() -> list[Batch]:
            source = self.make(case)
            batch: Any = source.read(batches[-1][1])
            try:
                return [await asyncio.wait_for(anext(batch), HEARTBEAT_SECONDS + SLACK) for _ in range(3)]
            except TimeoutError:
                raise AssertionError(f"Nothing was heard for {HEARTBEAT_SECONDS:.0f} s.") from None
            finally:
                await batch.aclose()
                await source.close()

        heard = reading.run(beats(), 4 * (HEARTBEAT_SECONDS + SLACK))
        assert not reading.events_of(heard), "After the last event, events came again."
        case.fill(2)
        after = reading.as_stored(heard[-1][1], self.source_class(case).Position)
        self.require_numbers(case, reading.events_of(self.read(case, after, 2)), range(self.count, self.count + 2))

    def test_hostile_data(self, case: Any) -> None:
        """Whatever an item holds, it is one event, passed on or refused, and its neighbours flow."""
        put = getattr(case, "put", None)
        if put is None:
            pytest.skip("the source can't carry arbitrary data")
        case.fill(1)
        carried = [name for name, data in HOSTILE.items() if put(data) is not False]
        assert carried, "The case carried nothing."
        case.fill(1)
        events = reading.events_of(self.read(case, None, len(carried) + 2))
        ours = [event for event in events if _number(case, event) in (0, 1)]
        assert len(events) == len(carried) + 2, f"{len(carried)} hostile items made {len(events) - 2} events."
        assert len(ours) >= 2, "The neighbours of hostile items did not come."
        assert len({event.id for event in events}) == len(events) or self.ids_may_repeat, "Ids repeat."

    ids_may_repeat: ClassVar[bool] = False
    """Whether hostile items may share an id: where the id is a field's value."""

    def test_reading_fails_clearly(self, case: Any) -> None:
        """What is wrong is told by `read` as it is by `check`, never by another exception."""
        for what, other in self.broken(case).items():

            async def read(other: Any = other) -> None:
                await reading.take(self.make(case, **other), None, bool)

            with self.told(case, what):
                reading.run(read())
                continue  # what only `check` can find

    def test_distance_between_positions_is_told(self, case: Any) -> None:
        """`between` says in one sentence what a move of the position means."""
        if not issubclass(self.source_class(case), Comparing):
            pytest.skip("the source can't compare positions")
        places = [position for _, position in self.whole(case) if position is not None]
        source = self.make(case)
        for old, new in ((None, places[-1]), (places[-1], None), (places[0], places[-1]), (places[-1], places[0])):
            said = source.between(old, new)
            assert said and "\n" not in said and said.endswith("."), f"`between` says no sentence: {said!r}."
        reading.run(source.close())


def _number(case: Any, event: SourceEvent) -> int | None:
    try:
        return int(case.number(event.data))
    except Exception:  # hostile data has no number
        return None
