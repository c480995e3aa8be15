"""A model in a process of its own, for tests that kill it: notes what it got before and after each commit.

Arguments: Kafka's address, stream, name of the subscription, log file, seconds of idling after which it ends.
Lines of the log: "got <partition> <raw offset>,…" and then, once committed, "done <partition> <raw offset>,…".
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.kafka.log_client import KafkaLog
from clearwell.pipeline.clean import CleanCodec
from clearwell.subscriptions.subscription import PartitionLost, Subscription


def schema(stream: str) -> CleanSchema:
    """The clean shape of these tests."""
    fields = (Field("id", Type.STRING, required=True), Field("n", Type.INT64, required=True))
    return CleanSchema(stream, 1, fields, ("id",), "id", "n")


def main(bootstrap: str, stream: str, name: str, log: Path, idle: float) -> None:
    """Follow until nothing comes any more."""
    with (
        log.open("a") as notes,
        Subscription(
            name, KafkaLog(bootstrap), CleanCodec(schema(stream)), max_rows=50, idle=idle, member="one"
        ) as events,
    ):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for batch in events:
            offsets = ",".join(map(str, batch.raw_offsets))
            note(notes, f"got {batch.partition} {offsets}")
            try:
                batch.commit()
            except PartitionLost:
                continue
            note(notes, f"done {batch.partition} {offsets}")


def note(notes: Any, line: str) -> None:
    """Write a line that survives a SIGKILL of this process."""
    os.write(notes.fileno(), f"{line}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), float(sys.argv[5]))
