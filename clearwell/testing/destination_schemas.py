"""Every type goes in and comes back, names are kept apart, a schema is widened, and what can't be is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.contract.privacy import Privacy, PrivacyKind
from clearwell.contract.route_options import RouteOptions
from clearwell.destinations.protocol import Claim, Destination, DestinationConfig
from clearwell.errors import ConfigError
from clearwell.plugins.options import options_of
from clearwell.testing.destination_base import DestinationBase, identity_of, keeps_newest
from clearwell.testing.destination_cases import Opener, fresh, told
from clearwell.testing.destination_events import SIMPLE, START, TOPIC, CleanEvent, batch_of

ENCRYPT = Privacy(PrivacyKind.ENCRYPT)

ALL = CleanSchema(
    stream="types",
    version=1,
    fields=(
        Field("id", Type.STRING, required=True),
        Field("at", Type.TIMESTAMP),
        Field("small", Type.INT32),
        Field("big", Type.INT64),
        Field("real", Type.FLOAT64),
        Field("exact", Type.DECIMAL, precision=34, scale=9),
        Field("flag", Type.BOOL),
        Field("day", Type.DATE),
        Field("free", Type.JSON),
        Field("raw", Type.BYTES),
        Field("words", Type.LIST, items=Type.STRING),
        Field("numbers", Type.LIST, items=Type.INT32),
        Field("amounts", Type.LIST, items=Type.DECIMAL, precision=20, scale=2),
        Field("days", Type.LIST, items=Type.DATE),
        Field("times", Type.LIST, items=Type.TIMESTAMP),
        Field("secret_number", Type.INT32, privacy=ENCRYPT),
        Field("secret_time", Type.TIMESTAMP, privacy=Privacy(PrivacyKind.HASH)),
        Field("age", Type.INT32, privacy=Privacy(PrivacyKind.GENERALISE, 10)),
    ),
    key=("id",),
    event_id="id",
    event_time="at",
)
NAMES = tuple(field.name for field in ALL.fields)
NOTHING: Mapping[str, Any] = dict.fromkeys(NAMES)
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)

EXTREMES: Sequence[dict[str, Any]] = [
    {**NOTHING, "id": "nothing"},
    {**NOTHING, "id": "lowest", "at": FIRST, "small": -(2**31), "big": -(2**63), "real": -1.7976931348623157e308}
    | {"exact": Decimal("-9999999999999999999999999.999999999"), "flag": False, "day": date(1, 1, 1), "raw": b""}
    | {"free": [], "words": [], "numbers": [-(2**31)], "amounts": [], "days": [date(1, 1, 1)], "times": [FIRST]},
    {**NOTHING, "id": "highest", "at": LAST, "small": 2**31 - 1, "big": 2**63 - 1, "real": 5e-324}
    | {"exact": Decimal("0.000000001"), "flag": True, "day": date(9999, 12, 31), "raw": bytes(range(256))}
    | {"words": ["", "é"], "numbers": [2**31 - 1, 0], "amounts": [Decimal("-0.01")], "times": [LAST], "age": 40},
    {**NOTHING, "id": "x" * 10_000, "words": ["𝄞", "\U0010ffff"], "secret_number": "cw1.k.AAAA", "secret_time": "5f"},
    {**NOTHING, "id": "𝄞 — \u202e \x01 '\"\\;--", "free": {"a": {"$where": 1, "b.c": ["$x", None, 1.5], "50%": "."}}},
    {**NOTHING, "id": "dbref", "free": {"$ref": "c", "$id": 1, "": {"deep": 2**63 - 1}}},
]  # fmt: skip

LONG = "n" * 62
QUOTED = ("select", "order", "table", "user", "Mixed", "_", "x1")
SAME_BUT_FOR_CASE = ("value", "Value")
AT_THE_LIMIT = (f"{LONG}a", f"{LONG}b")


def with_fields(*fields: Field) -> CleanSchema:
    """SIMPLE with more fields."""
    return replace(SIMPLE, fields=(*SIMPLE.fields, *fields))


BAD_SCHEMAS: Mapping[str, Callable[[], CleanSchema]] = {
    "a name with a quote": lambda: with_fields(Field('x"; DROP', Type.STRING)),
    "a name of 64 characters": lambda: with_fields(Field("n" * 64, Type.STRING)),
    "a name that is ours": lambda: with_fields(Field("_raw_topic", Type.STRING)),
    "an event time that is protected": lambda: replace(
        SIMPLE, fields=(SIMPLE.fields[0], replace(SIMPLE.fields[1], privacy=ENCRYPT), *SIMPLE.fields[2:])
    ),
    "a json key": lambda: replace(with_fields(Field("any", Type.JSON)), key=("any",)),
    "a key that is no field": lambda: replace(SIMPLE, key=("nowhere",)),
}


class SchemasPart(DestinationBase):
    """A part of `DestinationSuite`."""

    def test_every_type_round_trips(self, case: Any, opened: Opener) -> None:
        """Extremes, protected fields as the strings they are, and what could be taken for an operator."""
        self._round_trip(case, opened, ALL, EXTREMES)

    def test_names_that_need_quoting(self, case: Any, opened: Opener) -> None:
        """Words of query languages, and capitals."""
        self._names(case, opened, QUOTED)

    def test_names_that_differ_in_case(self, case: Any, opened: Opener) -> None:
        """They are two fields."""
        self._names(case, opened, SAME_BUT_FOR_CASE)

    def test_names_of_63_bytes(self, case: Any, opened: Opener) -> None:
        """Those that differ in their last character are two fields."""
        self._names(case, opened, AT_THE_LIMIT)

    def test_schemas_that_can_not_be(self, case: Any, opened: Opener) -> None:
        """Names, keys and event times that no store can hold are refused."""
        for what, schema in BAD_SCHEMAS.items():
            with told(what, (), ConfigError):
                opened(schema=schema())

    def test_other_type(self, case: Any, opened: Opener) -> None:
        """A field that changes its type is refused and told of, and nothing is lost."""
        fields = (*SIMPLE.fields[:2], Field("number", Type.STRING), *SIMPLE.fields[3:])
        self._refused_change(opened, replace(SIMPLE, fields=fields), '"number"')

    def test_other_key(self, case: Any, opened: Opener) -> None:
        """A key that changes is refused and told of, and nothing is lost."""
        self._refused_change(opened, replace(SIMPLE, key=("at",)), "key")

    def test_compound_key(self, case: Any, opened: Opener) -> None:
        """Exact to the microsecond, in any order."""
        schema = replace(SIMPLE, key=("id", "at"))
        events = [CleanEvent("a", START + timedelta(microseconds=i // 2), i, raw_offset=i) for i in range(6)]
        destination = opened(schema=schema)
        self.deliver(destination, events, size=2)
        self.deliver(opened(schema=schema, group=fresh("replay")), events[::-1], size=4)
        expected = events[1::2] if keeps_newest(destination) else events
        self.require_rows(case, destination, [(event.identity, event.row) for event in expected])

    def test_widened_schema(self, case: Any, opened: Opener) -> None:
        """What is missing is added; rows and deliverers of the older version go on beside it."""
        events = [CleanEvent(f"k{i}", START, i, raw_offset=i) for i in range(4)]
        before = opened()
        claim = self.deliver(before, events[:2])
        wide = _widened()
        after = opened(schema=wide, group=fresh("wide"))
        row = (events[2].id, 17, *events[2].row[1:])
        after.write(batch_of(events[2:3], after.claim(TOPIC, 0, 1), 1, rows=[row], schema=wide))
        narrow = opened(group=fresh("narrow"))
        narrow.write(batch_of(events[3:], narrow.claim(TOPIC, 0, 1), 1))
        before.write(batch_of([], claim, 3, unrouted=[2]))
        self.require(case, before, events)
        gates = {row["id"]: row.get("gate") for row in case.rows()}
        assert gates == {"k0": None, "k1": None, "k2": 17, "k3": None}, "The added field is not as it was written."

    def test_widened_type(self, case: Any, opened: Opener) -> None:
        """A type that grows is taken exactly, or refused with what it was, what it is to be, and the way out."""
        before = opened()
        self.deliver(before, [CleanEvent("a", START, 1, raw_offset=0)])
        wide = replace(SIMPLE, version=2, fields=(*SIMPLE.fields[:2], Field("number", Type.INT64), *SIMPLE.fields[3:]))
        try:
            after = opened(schema=wide, group=fresh("wide"))
        except ConfigError as refused:
            told_all = all(
                part in str(refused).lower() for part in ('"number"', " is int", " makes it ", "in the route")
            )
            assert told_all, f"The message does not say what to do: {refused}"
            assert before.row_count() in (1, None), "Rows were lost."
            return
        row = ("b", START, 2**40, "cw1.b")
        batch = batch_of([CleanEvent("b", START, None, 1)], after.claim(TOPIC, 0, 1), 1, rows=[row], schema=wide)
        after.write(batch)
        found = {row["id"]: row["number"] for row in case.rows()}
        assert found == {"a": 1, "b": 2**40}, "A value of the wider type is not as it was written."

    def test_replay_fills_added_fields(self, case: Any, opened: Opener) -> None:
        """The same event under a widened contract replaces the row that lacks the field."""
        destination = opened()
        event = CleanEvent("a", START, 1, raw_offset=0)
        self.deliver(destination, [event])
        if not keeps_newest(destination):
            return
        wide = _widened()
        replay = opened(schema=wide, group=fresh("replay"))
        row = ("a", 17, *event.row[1:])
        replay.write(batch_of([event], replay.claim(TOPIC, 0, 1), 1, rows=[row], schema=wide))
        assert [row["gate"] for row in case.rows()] == [17], "The replay did not fill the added field."

    def test_spec(self, case: Any) -> None:
        """The class says what it is, and its configuration and options tell of all they hold."""
        kind: type[Destination] = type(case.destination(self.schema, "spec"))
        assert kind.kind and issubclass(kind.Config, DestinationConfig) and issubclass(kind.Options, RouteOptions)
        assert isinstance(kind.keeps_history, bool) and isinstance(kind.registered, bool)
        for shape in (kind.Config, kind.Options):
            silent = [option.name for option in options_of(shape) if not option.text and "." not in option.name]
            assert not silent, f"{shape.__name__} does not describe {silent}."

    def _names(self, case: Any, opened: Opener, names: Sequence[str]) -> None:
        schema = with_fields(*(Field(name, Type.STRING) for name in names))
        rows = []
        for number in range(2):
            row = dict(
                zip((field.name for field in SIMPLE.fields), CleanEvent(f"k{number}", START, 1, 0).row, strict=True)
            )
            rows.append(row | {name: f"{name} of {number}" for name in names})
        self._round_trip(case, opened, schema, rows)

    def _round_trip(self, case: Any, opened: Opener, schema: CleanSchema, given: Sequence[Mapping[str, Any]]) -> None:
        """Twice, so that replacing rows is tried as well as adding them."""
        names = [field.name for field in schema.fields]
        rows = [tuple(row[name] for name in names) for row in given]
        places = {"raw_topics": ["raw-a"] * len(rows), "raw_offsets": range(len(rows)), "offsets": range(len(rows))}
        values = batch_of([], _NO_CLAIM, 0, rows=rows, schema=schema).values
        for group in ("first", "again"):
            destination = opened(schema=schema, group=fresh(group))
            claim = destination.claim(TOPIC, 0, 1)
            destination.write(batch_of([], claim, len(rows), rows=rows, schema=schema, values=values, **places))
        expected = [{f.name: self.narrowed(f, row[f.name]) for f in schema.fields} for row in given]
        found = {identity_of(row): {name: row[name] for name in names} for row in case.rows()}
        assert found == {("raw-a", 0, at): row for at, row in enumerate(expected)}, "Values came back as other ones."

    def _refused_change(self, opened: Opener, schema: CleanSchema, named: str) -> None:
        destination = opened()
        self.deliver(destination, [CleanEvent("a", START, 1, raw_offset=0)])
        with told("a change that is no addition", (), ConfigError) as refused:
            opened(schema=schema)
        assert named in str(refused.error), f"The message does not name {named}: {refused.error}"
        assert destination.row_count() in (1, None), "Rows were lost."


_NO_CLAIM = Claim(0, 0)


def _widened() -> CleanSchema:
    return replace(SIMPLE, version=2, fields=(SIMPLE.fields[0], Field("gate", Type.INT32), *SIMPLE.fields[1:]))
