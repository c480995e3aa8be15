"""Envelopes: their form, what opens them, and what is refused."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clearwell.privacy.encoding import base64url, clear_bytes, length_prefixed
from clearwell.privacy.envelope import Sealer, SealError, draw_nonces, is_envelope, key_id_of, unseal
from clearwell.privacy.keyring import DataKey
from clearwell.privacy.memory_keyring import MemoryKeyring


@pytest.fixture
def keyring() -> MemoryKeyring:
    return MemoryKeyring()


def sealed(keyring: MemoryKeyring, clear: bytes = b"N14228") -> str:
    return Sealer(keyring.seal_key(None), "flights").seal("tailnum", "e1", clear, next(draw_nonces(1)))


def test_the_form_is_the_documented_one(keyring: MemoryKeyring) -> None:
    """Opened here with nothing but the words of the documentation."""
    mark, key_id, body = sealed(keyring).split(".")
    assert (mark, key_id) == ("cw1", "memory-1")
    assert "=" not in body
    raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    known = b"".join(len(part).to_bytes(4, "big") + part for part in (b"flights", b"tailnum", b"e1", key_id.encode()))
    assert AESGCM(keyring.seal_key(None).secret).decrypt(raw[:12], raw[12:], known) == b"N14228"


def test_known_answer() -> None:
    """Fixed for ever: a change here makes every stored envelope unreadable."""
    key = DataKey("k1", bytes(range(32)))
    envelope = Sealer(key, "s").seal("f", "1", b"clear", bytes(12))
    assert envelope == "cw1.k1.AAAAAAAAAAAAAAAAbdDQv8c_7Mu1NQUJ6aRUn3vS0nJZ"


def test_it_opens_only_where_it_was_sealed(keyring: MemoryKeyring) -> None:
    envelope = sealed(keyring)
    assert unseal(keyring, "flights", "tailnum", "e1", envelope) == b"N14228"
    for place in (("flight", "tailnum", "e1"), ("flights", "tail", "e1"), ("flights", "tailnum", "e2")):
        with pytest.raises(SealError, match="changed or moved"):
            unseal(keyring, *place, envelope)


def test_parts_of_a_place_cannot_be_shifted_into_each_other(keyring: MemoryKeyring) -> None:
    sealer = Sealer(keyring.seal_key(None), "s")
    envelope = sealer.seal("ab", "c", b"x", next(draw_nonces(1)))
    with pytest.raises(SealError):
        unseal(keyring, "s", "a", "bc", envelope)


def test_a_destroyed_key_opens_nothing(keyring: MemoryKeyring) -> None:
    envelope = sealed(keyring)
    keyring.rotate()
    assert unseal(keyring, "flights", "tailnum", "e1", envelope) == b"N14228"
    keyring.destroy("memory-1")
    with pytest.raises(SealError, match='"memory-1" of a protected value is unknown or destroyed'):
        unseal(keyring, "flights", "tailnum", "e1", envelope)


def test_the_key_id_is_sealed_in(keyring: MemoryKeyring) -> None:
    """The same secret under another name does not open it."""

    class Renamed(MemoryKeyring):
        def open_key(self, key_id: str) -> DataKey:
            return DataKey(key_id, keyring.seal_key(None).secret)

    envelope = sealed(keyring).replace("memory-1", "memory-2")
    with pytest.raises(SealError, match="changed or moved"):
        unseal(Renamed(), "flights", "tailnum", "e1", envelope)


@pytest.mark.parametrize(
    "text",
    ["", "cw1", "cw1.", "cw1..", "cw1.k", "cw2.memory-1.AAAA", "N14228", "cw1.a b.AAAA", "cw1." + "k" * 65 + ".A"],
)
def test_what_is_no_envelope(keyring: MemoryKeyring, text: str) -> None:
    assert not is_envelope(text)
    with pytest.raises(SealError, match="no envelope"):
        key_id_of(text)
    with pytest.raises(SealError, match="no envelope"):
        unseal(keyring, "flights", "tailnum", "e1", text)


@pytest.mark.parametrize("body", ["", "AAAA", "A" * 37, "A" * 36 + "+/", "A" * 40 + "==", "ü" * 40, "A" * 38 + "\n"])
def test_a_damaged_body(keyring: MemoryKeyring, body: str) -> None:
    with pytest.raises(SealError, match="is damaged"):
        unseal(keyring, "flights", "tailnum", "e1", f"cw1.memory-1.{body}")


def test_nonces_are_of_96_bits_and_differ() -> None:
    drawn = list(draw_nonces(1_000))
    assert {len(nonce) for nonce in drawn} == {12}
    assert len(set(drawn)) == 1_000
    assert not list(draw_nonces(0))


def test_equal_values_look_different(keyring: MemoryKeyring) -> None:
    assert sealed(keyring) != sealed(keyring)


def test_a_sealer_takes_whole_keys_only() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(DataKey("k", b"short"), "s")
    with pytest.raises(ValueError, match="key id"):
        Sealer(DataKey("k.1", bytes(32)), "s")


def test_encodings() -> None:
    assert base64url(b"\xfb\xff\xfe\x00") == "-__-AA"
    assert length_prefixed("ä") == b"\x00\x00\x00\x02\xc3\xa4"
    assert [clear_bytes(value) for value in ("a", 1, 1.5, True, None, [1, "b"])] == [
        b"a",
        b"1",
        b"1.5",
        b"true",
        b"null",
        b'[1,"b"]',
    ]


def test_no_secret_in_words() -> None:
    secret = b"canary-canary-canary-canary-cana"
    key = DataKey("k", secret)
    shown = repr(key) + str(key) + repr(Sealer(key, "s"))
    assert "canary" not in shown
    with pytest.raises(ValueError, match="bytes") as caught:
        Sealer(DataKey("k", b"canary"), "s")
    assert "canary" not in repr(caught.value)


def test_the_clear_value_is_not_in_an_error(keyring: MemoryKeyring) -> None:
    with pytest.raises(SealError) as caught:
        unseal(keyring, "flights", "tailnum", "personal-id", sealed(keyring, b"canary"))
    assert "canary" not in str(caught.value)
    assert "personal-id" not in str(caught.value)
