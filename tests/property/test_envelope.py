"""Envelopes under any values: they open where they were sealed, and nowhere and no way else."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clearwell.privacy.envelope import Sealer, SealError, draw_nonces, unseal
from clearwell.privacy.memory_keyring import MemoryKeyring
from clearwell.privacy.pseudonym import hasher, pseudonymiser

KEYRING = MemoryKeyring()
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def seal(stream: str, field: str, event_id: str, clear: bytes) -> str:
    return Sealer(KEYRING.seal_key(None), stream).seal(field, event_id, clear, next(draw_nonces(1)))


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, st.binary(max_size=200))
def test_round_trip(stream: str, field: str, event_id: str, clear: bytes) -> None:
    assert unseal(KEYRING, stream, field, event_id, seal(stream, field, event_id, clear)) == clear


@given(st.tuples(ANY_TEXT, ANY_TEXT, ANY_TEXT), st.tuples(ANY_TEXT, ANY_TEXT, ANY_TEXT), st.binary(max_size=50))
def test_no_other_place_opens_it(sealed: tuple[str, str, str], other: tuple[str, str, str], clear: bytes) -> None:
    assume(sealed != other)
    envelope = seal(*sealed, clear)
    with pytest.raises(SealError):
        unseal(KEYRING, *other, envelope)


@given(st.binary(max_size=40), st.data())
def test_any_changed_character_is_noticed(clear: bytes, data: st.DataObject) -> None:
    envelope = seal("s", "f", "1", clear)
    at = data.draw(st.integers(0, len(envelope) - 1))
    letter = data.draw(st.characters())
    assume(letter != envelope[at])
    with pytest.raises(SealError):
        unseal(KEYRING, "s", "f", "1", envelope[:at] + letter + envelope[at + 1 :])


@given(st.binary(max_size=40), st.integers(0, 80))
def test_any_cut_is_noticed(clear: bytes, kept: int) -> None:
    envelope = seal("s", "f", "1", clear)
    with pytest.raises(SealError):
        unseal(KEYRING, "s", "f", "1", envelope[: min(kept, len(envelope) - 1)])


@given(ANY_TEXT)
def test_any_text_is_refused_with_one_kind_of_error(text: str) -> None:
    with pytest.raises(SealError):
        unseal(KEYRING, "s", "f", "1", text)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_one_way_protections_keep_equal_and_apart(one: bytes, two: bytes) -> None:
    for protect in (pseudonymiser(KEYRING, "s", "f"), hasher(KEYRING, "s", "f")):
        assert (protect(one) == protect(two)) == (one == two)
