"""What the parts of `DestinationSuite` share: fixtures, excuses, and the comparison of stored rows with events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from clearwell.contract.model import CleanSchema, Field
from clearwell.destinations.protocol import Claim, Destination
from clearwell.destinations.shape import IDENTITY
from clearwell.testing.destination_cases import Opener, opening
from clearwell.testing.destination_events import SIMPLE, TOPIC, CleanEvent, Identity, Row, batches_of, newest, once


class DestinationBase:
    """A subclass of the suite gives the fixture `case` (a `DestinationCase`).

    `cannot` maps a test's name to the reason why it must fail (a strict xfail: a gap of the store), `skipped` to the
    reason why it makes no sense. `fields` are those of the schema that the store keeps. `outlives` says whether what
    is stored outlives the process.
    """

    cannot: ClassVar[Mapping[str, str]] = {}
    skipped: ClassVar[Mapping[str, str]] = {}
    schema: ClassVar[CleanSchema] = SIMPLE
    fields: ClassVar[Sequence[str]] = ("id", "at", "number", "tail")
    outlives: ClassVar[bool] = True

    @pytest.fixture
    def case(self) -> Any:
        """The destination under test."""
        raise NotImplementedError("A suite's subclass gives the fixture `case`: a DestinationCase.")

    @pytest.fixture
    def opened(self, case: Any) -> Iterator[Opener]:
        """Makes open destinations."""
        with opening(case, self.schema) as opened:
            yield opened

    @pytest.fixture(autouse=True)
    def _excused(self, request: pytest.FixtureRequest) -> None:
        name = getattr(request.node, "originalname", request.node.name)
        unknown = [one for one in (*self.cannot, *self.skipped) if not hasattr(self, one)]
        assert not unknown, f"`cannot` and `skipped` name no test: {unknown}."
        if name in self.skipped:
            pytest.skip(self.skipped[name])
        if name in self.cannot:
            request.applymarker(pytest.mark.xfail(strict=True, reason=self.cannot[name]))

    def narrowed(self, field: Field, value: Any) -> Any:
        """What `DestinationCase.rows` gives of `value`: override it where a store's types are narrower."""
        return value

    def poisons(self, case: Any, destination: Destination) -> Mapping[str, Callable[[Row], Row]]:
        """What makes a row one that the store refuses."""
        found: dict[str, Callable[[Row], Row]] = dict(getattr(case, "poisons", {}))
        if keeps_newest(destination):
            found["a row without a key"] = lambda row: (None, *row[1:])
        return found

    def deliver(
        self, destination: Destination, events: Sequence[CleanEvent], generation: int = 1, size: int = 64
    ) -> Claim:
        """Claim, and deliver what is left of `events`."""
        claim = destination.claim(TOPIC, 0, generation)
        for batch in batches_of(events, claim, size):
            destination.write(batch)
        return claim

    def require(self, case: Any, destination: Destination, events: Sequence[CleanEvent]) -> None:
        """Assert that the store holds just what it must after `events` were delivered."""
        expected = [(event.identity, event.row) for event in self.expected(destination, events)]
        self.require_rows(case, destination, expected)

    def require_rows(self, case: Any, destination: Destination, expected: Sequence[tuple[Identity, Row]]) -> None:
        """Assert that the store holds just these rows, and says how many."""
        found = self.stored(case, destination)
        identities = [identity for identity, _ in found]
        assert len(set(identities)) == len(identities), "A row is there twice."
        missing = {identity for identity, _ in expected} - set(identities)
        more = set(identities) - {identity for identity, _ in expected}
        assert not missing, f"Rows are missing: {sorted(missing)[:10]}; instead there are {sorted(more)[:10]}."
        assert not more, f"Rows are there that should not be: {sorted(more)[:10]}."
        wanted = [(identity, self.kept(row)) for identity, row in self._ordered(destination, expected)]
        different = [(ours, theirs) for ours, theirs in zip(wanted, found, strict=True) if ours != theirs]
        assert not different, f"Rows are not as they were written: {different[0]}."
        held = destination.row_count()
        assert held in (None, len(found)), f"`row_count` says {held} of {len(found)} rows."

    def expected(self, destination: Destination, events: Iterable[CleanEvent]) -> list[CleanEvent]:
        """The newest event of each key, or each once where history is kept or events are given away."""
        return newest(events) if keeps_newest(destination) else once(events)

    def kept(self, row: Row) -> Row:
        """What `DestinationCase.rows` gives of a row of the suite's schema."""
        schema = zip(self.schema.fields, row, strict=True)
        values = {field.name: self.narrowed(field, value) for field, value in schema}
        return tuple(values[name] for name in self.fields)

    def stored(self, case: Any, destination: Destination) -> list[tuple[Identity, Row]]:
        """What is stored; of events that are given away each first one, since a repeat is allowed there."""
        rows = case.rows()
        found = [(identity_of(row), tuple(row.get(name) for name in self.fields)) for row in rows]
        if destination.row_count() is None:
            first: dict[Identity, tuple[Identity, Row]] = {}
            for one in found:
                first.setdefault(one[0], one)
            found = list(first.values())
        return self._ordered(destination, found)

    def _ordered(self, destination: Destination, rows: Sequence[tuple[Identity, Row]]) -> list[tuple[Identity, Row]]:
        return list(rows) if destination.row_count() is None else sorted(rows, key=lambda one: one[0])


def keeps_newest(destination: Destination) -> bool:
    """Whether a store holds one row a key."""
    return not destination.keeps_history and destination.row_count() is not None


def identity_of(row: Mapping[str, Any]) -> Identity:
    """Where in raw a stored row came from."""
    topic, partition, offset = (row[name] for name in IDENTITY)
    return (topic, partition, offset)
