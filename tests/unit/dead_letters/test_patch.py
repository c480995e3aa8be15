"""Changes of an event: only what is meant changes, byte for byte."""

from __future__ import annotations

import pytest

from clearwell.dead_letters.patch import EventChange, merge
from clearwell.errors import ConfigError

EVENT = b'{"a":1.10,"b":12345678901234567890123,"c":{"d":[1,2],"e":null},"f":"\\u00e9"}'


def test_what_is_not_touched_keeps_its_bytes() -> None:
    changed = EventChange(unset=["f"], sets={"z": b"0.30"}).apply(EVENT)
    assert changed == b'{"a":1.10,"b":12345678901234567890123,"c":{"d":[1,2],"e":null},"z":0.30}'


def test_nothing_to_change_gives_the_same_bytes() -> None:
    assert EventChange().apply(b' {"a" : 1} ') == b' {"a" : 1} '
    assert EventChange().names(EVENT) == []


def test_a_null_is_set_and_a_null_of_a_patch_takes_away() -> None:
    assert EventChange(sets={"a": b"null"}).apply(b'{"a":1}') == b'{"a":null}'
    assert EventChange(patch=b'{"a":null,"c":{"d":null}}').apply(b'{"a":1,"c":{"d":2,"e":3.0}}') == b'{"c":{"e":3.0}}'


def test_the_names_of_what_changed() -> None:
    change = EventChange(patch=b'{"c":{"d":[1]}}', unset=["a"], sets={"g": b"1"})
    assert change.names(EVENT) == ["a", "c", "g"]


@pytest.mark.parametrize("event", [b"", b"no json", b"[1]", b'"text"', b"\xff{}", b'{"a":}', b"[" * 100_000])
def test_an_event_that_is_no_object_can_only_be_replaced(event: bytes) -> None:
    with pytest.raises(ConfigError, match="replace the whole event"):
        EventChange(sets={"a": b"1"}).apply(event)
    assert EventChange(event=b'{"a":1}').apply(event) == b'{"a":1}'
    assert EventChange(event=b"{}", sets={"b": b"2"}).apply(event) == b'{"b":2}'


@pytest.mark.parametrize("text", [b"[]", b"1", b"{", b""])
def test_neither_a_patch_nor_a_new_event_can_be_anything_but_an_object(text: bytes) -> None:
    for change in (EventChange(patch=text), EventChange(event=text)):
        with pytest.raises(ConfigError, match="is no JSON object"):
            change.apply(b"{}")


# The table of RFC 7386, appendix A.
@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        (b'{"a":"b"}', b'{"a":"c"}', b'{"a":"c"}'),
        (b'{"a":"b"}', b'{"b":"c"}', b'{"a":"b","b":"c"}'),
        (b'{"a":"b"}', b'{"a":null}', b"{}"),
        (b'{"a":"b","b":"c"}', b'{"a":null}', b'{"b":"c"}'),
        (b'{"a":["b"]}', b'{"a":"c"}', b'{"a":"c"}'),
        (b'{"a":"c"}', b'{"a":["b"]}', b'{"a":["b"]}'),
        (b'{"a":{"b":"c"}}', b'{"a":{"b":"d","c":null}}', b'{"a":{"b":"d"}}'),
        (b'{"a":[{"b":"c"}]}', b'{"a":[1]}', b'{"a":[1]}'),
        (b'["a","b"]', b'["c","d"]', b'["c","d"]'),
        (b'{"a":"b"}', b'["c"]', b'["c"]'),
        (b'{"a":"foo"}', b"null", b"null"),
        (b'{"e":null}', b'{"a":1}', b'{"e":null,"a":1}'),
        (b"[1,2]", b'{"a":"b","c":null}', b'{"a":"b"}'),
        (b"{}", b'{"a":{"bb":{"ccc":null}}}', b'{"a":{"bb":{}}}'),
    ],
)
def test_the_examples_of_the_rfc(target: bytes, patch: bytes, merged: bytes) -> None:
    assert merge(target, patch) == merged
