"""Raw records carry the headers of CloudEvents' Kafka binding, and nothing personal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from clearwell.contract.load import find
from clearwell.contract.model import Contract, Privacy, PrivacyKind, StepCall
from clearwell.errors import Fatal
from clearwell.kafka.cloudevents import Template, rfc3339
from clearwell.kafka.wire import Record, encode_headers
from clearwell.privacy.keyring import DataKey, Keyring
from clearwell.source import EVENT_LIMIT, SourceEvent
from services.collector.records import LONGEST, RecordMaker

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))


class FixedKeys:
    """A keyring with one pseudonym key."""

    def seal_key(self, subject: str | None) -> DataKey:
        raise Fatal("not needed here")

    def open_key(self, key_id: str) -> DataKey:
        raise KeyError(key_id)

    def pseudonym_key(self, stream: str) -> DataKey:
        return DataKey("p1", b"k" * 32)


def keys() -> Keyring:
    """A keyring that can only make pseudonyms."""
    return FixedKeys()


def no_keys() -> Keyring:
    """What a machine without a key file has."""
    raise Fatal("no key file")


@pytest.fixture
def flights() -> Contract:
    """The flights contract."""
    return find(Path(__file__).parents[2] / "schemas", "flights")


def protect(contract: Contract, name: str) -> Contract:
    """The contract with one field turned into a pseudonym."""
    privacy = Privacy(PrivacyKind.PSEUDONYM)
    return replace(
        contract, fields=tuple(replace(f, privacy=privacy) if f.name == name else f for f in contract.fields)
    )


def make(contract: Contract, events: Iterable[SourceEvent], id_field: str | None = None) -> list[Record]:
    """Records of a connector called "test"."""
    return RecordMaker("test", contract, [] if id_field is None else [id_field], keys).make(list(events))


def test_headers_are_those_of_the_binding() -> None:
    headers = dict(Template("/connectors/c", "clearwell.s").plain("f#1", AT))
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_id": b"f#1",
        "ce_source": b"/connectors/c",
        "ce_type": b"clearwell.s",
        "ce_time": b"2026-03-01T10:00:00.123Z",
        "content-type": b"application/json",
    }


@pytest.mark.parametrize("refused", [None, "too large"])
@pytest.mark.parametrize("event_id", ["f#1", "é" * 5000])
def test_the_encoded_form_says_the_same(event_id: str, refused: str | None) -> None:
    template = Template("/connectors/c", "clearwell.s")
    encoded = template.at(AT).encode(event_id.encode(), refused)
    plain = encode_headers(template.plain(event_id, AT, refused))
    assert encoded == plain


def test_time_is_utc_to_the_millisecond() -> None:
    assert rfc3339(datetime(2026, 1, 1, tzinfo=UTC)) == b"2026-01-01T00:00:00.000Z"


def test_the_key_is_the_contracts_key_and_decides_the_place(flights: Contract) -> None:
    good, bad = make(flights, [SourceEvent("f#1", b'{"id":"a1","year":2013}'), SourceEvent("f#2", b'{"id":')])
    assert (good.key, good.place) == (b"a1", b"a1")
    assert (bad.key, bad.place) == (None, b"f#2")
    assert good.value == b'{"id":"a1","year":2013}'


@pytest.mark.parametrize(
    "hostile", [b"", b"\xff", b"[" * 100_000, b'{"id":null}', b'{"id":[1]}', b"null", b'{"id":1e999}']
)
def test_hostile_events_have_no_key_but_a_stable_place(flights: Contract, hostile: bytes) -> None:
    (record,) = make(flights, [SourceEvent("f#9", hostile)])
    assert (record.key, record.place, record.value) == (None, b"f#9", hostile)


def test_a_renamed_key_is_found_under_its_raw_name_and_a_computed_one_is_not(flights: Contract) -> None:
    renamed = replace(flights, key=("scheduled_at", "carrier"))
    (record,) = make(renamed, [SourceEvent("f#1", b'{"time_hour":"t","carrier":"UA","flight":7}')])
    assert record.key == b'["t","UA"]'
    (computed,) = make(replace(flights, key=("gain",)), [SourceEvent("f#1", b'{"gain":5}')])
    assert computed.key is None


def test_renames_are_followed_backwards(flights: Contract) -> None:
    step = StepCall("rename", {"id": "key"}, flights.where)
    again = StepCall("rename", {"key": "number"}, flights.where)
    contract = replace(flights, key=("number",), steps=(step, *flights.steps, again))
    (record,) = make(contract, [SourceEvent("f#1", b'{"id":"a1"}')])
    assert record.key == b"a1"


def test_a_protected_key_and_id_leave_only_as_pseudonyms(flights: Contract) -> None:
    contract = protect(flights, "id")
    event = SourceEvent("secret-7", b'{"id":"secret-7"}')
    first, again = make(contract, [event, event], id_field="id")
    assert first == again
    assert first.key is not None and first.key.startswith(b"cwp1.")
    assert b"secret-7" not in first.key + first.headers + first.place
    assert b"cwp1." in first.headers


def test_an_id_from_an_undeclared_field_is_taken_for_personal(flights: Contract) -> None:
    (record,) = make(flights, [SourceEvent("jane@example.com", b'{"id":"a"}')], id_field="mail")
    assert b"jane" not in record.headers


def test_an_id_made_of_the_whole_event_is_hidden_where_the_event_has_something_to_hide(flights: Contract) -> None:
    event = SourceEvent("hash-of-all", b'{"id":"a"}')
    (hidden,) = make(flights, [event], id_field="*")
    assert b"hash-of-all" not in hidden.headers
    open_ones = tuple(replace(field, privacy=None) for field in flights.fields)
    (shown,) = make(replace(flights, fields=open_ones), [event], id_field="*")
    assert b"hash-of-all" in shown.headers


def test_a_public_id_needs_no_keys_and_a_protected_one_does(flights: Contract) -> None:
    RecordMaker("test", flights, ["id"], no_keys)
    with pytest.raises(Fatal, match="no key file"):
        RecordMaker("test", protect(flights, "id"), [], no_keys)
    with pytest.raises(Fatal, match="no key file"):
        RecordMaker("test", flights, ["tailnum"], no_keys)


def test_what_would_not_fit_is_shortened_or_refused(flights: Contract) -> None:
    long_id = "x" * (LONGEST + 1)
    (record,) = make(flights, [SourceEvent(long_id, b'{"id":"%s"}' % long_id.encode())])
    assert record.key is not None and len(record.key) < 100
    assert len(record.headers) < 400
    (refused,) = make(flights, [SourceEvent("f#1", b'{"id":"a","x":"' + b"y" * EVENT_LIMIT + b'"}')])
    assert b"clearwell_refused" in refused.headers
    assert len(refused.value) < 2_000 and refused.key is None
