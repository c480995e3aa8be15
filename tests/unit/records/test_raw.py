"""An item that a source refused is rejected unread, with a reason from a closed list."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from clearwell.contract.load import find
from clearwell.kafka.names import REFUSED
from clearwell.pipeline.compiler import compile
from clearwell.privacy.memory_keyring import MemoryKeyring
from clearwell.records.raw import UNKNOWN_REFUSAL, raw_batch
from clearwell.source import Refusal
from tests.support.platform import numbered

SCHEMAS = Path(__file__).parents[3] / "schemas"


def record(offset: int, value: bytes, *headers: tuple[str, bytes]) -> Any:
    return SimpleNamespace(offset=offset, value=value, headers=headers)


def test_what_the_source_refused_is_rejected_even_when_it_is_a_good_event() -> None:
    one, two, three = numbered(3)
    batch = raw_batch(
        "T" * 22,
        0,
        [
            record(0, one, ("ce_id", b"a")),
            record(1, two, ("ce_id", b"b"), (REFUSED, Refusal.ROW_WIDTH.encode())),
            record(2, three, ("ce_id", b"c"), (REFUSED, b"Jane Doe of 12 High Street")),
        ],
    )
    pipeline = compile(find(SCHEMAS, "flights"), MemoryKeyring())
    out = pipeline.process(batch, pipeline.new_state())
    assert out.offsets == [0]
    assert [(bad.offset, bad.step, bad.reason) for bad in out.rejected] == [
        (1, "source", Refusal.ROW_WIDTH),
        (2, "source", UNKNOWN_REFUSAL),
    ]
    assert batch.values[1] == two  # what the dead letter seals
