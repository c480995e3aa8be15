"""Topics that others have made: what in their settings would lose events is told, with the setting that is right."""

from __future__ import annotations

import pytest

from clearwell.cli.balance import _outcome
from clearwell.control.balance import stream_balance
from clearwell.errors import ConfigError
from clearwell.kafka import admin
from clearwell.kafka.topics import differences, plans
from clearwell.reconciliation.balance import Balance
from clearwell.reconciliation.offset_ledger import Ledger

(RAW, *_) = plans("s", 1)
FINE = RAW.settings(None)


def test_a_topic_as_we_make_it_is_fine() -> None:
    assert differences(RAW, FINE) == []


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"message.timestamp.type": "CreateTime"}, "set message.timestamp.type=LogAppendTime"),
        ({"cleanup.policy": "compact,delete"}, "set cleanup.policy=delete"),
        ({"max.message.bytes": "1048588"}, f"set max.message.bytes={RAW.max_message_bytes} or more"),
    ],
)
def test_what_would_lose_events_is_told(change: dict[str, str], advice: str) -> None:
    (sentence,) = differences(RAW, FINE | change)
    assert sentence.endswith(advice)


def test_partitions_that_were_added_to_raw_are_added_to_the_others_too() -> None:
    found = {"raw.s": {"partitions": [0] * 6}, "clean.s.v1": {"partitions": [0] * 4}, "dead.s": {"partitions": [0] * 6}}
    with pytest.raises(
        ConfigError, match=r"Add partitions to clean\.s\.v1 by `clearwell stream partitions s 6`"
    ) as told:
        admin._check_sizes(list(found), found)
    assert "recreate" not in str(told.value)


def test_a_stream_that_nothing_cleans_is_told() -> None:
    waiting = Ledger(0, 0).close(0, 0, 0, 0, waiting=5)
    assert "No cleaner has read s v1 yet" in str(
        _outcome(stream_balance(Balance("s", 1, (waiting,), (), {}, cleaned=False)))
    )
    assert "still on their way" in str(_outcome(stream_balance(Balance("s", 1, (waiting,), (), {}))))
