"""A stream of notes that nothing can compress, so that a disk fills by what is delivered to it."""

from __future__ import annotations

import base64
import json
import random
from collections import Counter

from tests.support.platform import Platform

CONTRACT = """
stream: $stream
version: 1
owner: tests@example.com
description: Notes that nothing can compress.
key: id
event_id: id
event_time: at
fields:
  id: {type: string, required: true}
  at: {type: timestamp, required: true}
  note: {type: string, required: true, max_length: 5000}
routes:
  - {to: postgres}
  - {to: lake}
  - {to: archive}
  - {to: files.$stream}
  - to: features.$stream
    entity: id
    features: {last_note: note}
"""

ROOM = 2_000_000
"""Bytes that are free at first; all events together are some six megabytes."""
FEW, MANY = 200, 1_500
NOTE = 3_000
"""Bytes of noise in a note."""


def put(platform: Platform, count: int, start: int = 0) -> set[str]:
    """Events with notes of noise into partition 0; their ids."""
    dice = random.Random(start)
    events = [
        {"id": f"e{n}", "at": "2013-01-01T00:00:00Z", "note": base64.b64encode(dice.randbytes(NOTE)).decode()}
        for n in range(start, start + count)
    ]
    platform.put([json.dumps(event).encode() for event in events], partition=0)
    return {str(event["id"]) for event in events}


def assert_once(held: Counter[str], sent: set[str], whole: bool) -> None:
    """No event is there twice; all are, or else the first ones and not all."""
    assert set(held) == sent if whole else FEW <= len(held) < len(sent)
    assert set(held.values()) == {1}
