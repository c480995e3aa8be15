"""The ledger of one partition: what retention took is neither missing nor silent."""

from __future__ import annotations

from clearwell.reconciliation.offset_ledger import CLEAN, DEAD, DROPPED, Ledger


def test_what_was_lost_before_it_was_read_is_counted_once() -> None:
    ledger = Ledger(100, 110)
    ledger.note(CLEAN, range(100, 110))
    ledger.note_lost([(10, 60), (10, 60), (40, 70), (90, 105), (100, 105)])
    account = ledger.close(0, 0, 0, 0, 0)
    assert (account.lost, account.raw, account.balanced) == (70, 10, True)


def test_an_account_that_retention_removed_is_expired_and_a_later_one_missing() -> None:
    ledger = Ledger(0, 10)
    ledger.note(CLEAN, [6, 7])
    ledger.note(DROPPED, [8])
    ledger.note(DEAD, [2])
    ledger.expire(6)
    ledger.expire(3)
    assert ledger.unaccounted() == [0, 1, 3, 4, 5, 9]
    assert [ledger.is_expired(offset) for offset in ledger.unaccounted()] == [True] * 5 + [False]
    account = ledger.close(0, 0, 1, 5, 0)
    assert (account.expired, account.missing, account.balanced) == (5, 1, False)


def test_nothing_expires_beyond_what_was_cleaned() -> None:
    ledger = Ledger(5, 7)
    ledger.expire(1_000)
    assert ledger.is_expired(6)
    assert not ledger.is_expired(7)
