"""Topics that others have made: what in their settings would lose events is told, with the setting that is right."""

from __future__ import annotations

import pytest

from clearwell.kafka.topics import differences, plans

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
