"""Names a batch that does not end: which stream, partition and offsets, never what is in it (invariants 9 and 12).

Three ways, since none sees everything. A thread of this process says so in its log: it runs while Python code runs, and
while a C function works that lets go of the interpreter, as RE2 does. A C function that does not is seen by the
supervisor, which reads the note that the job left before the batch (in CLEARWELL_BATCH_NOTES), and where there is no
supervisor by `faulthandler`, whose thread needs no interpreter: it writes which line of which pipeline it is.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)

VARIABLE = "CLEARWELL_BATCH_NOTES"
"""The folder in which the supervisor wants the notes of a process, one a job."""

SUFFIX = ".batch"
"""How the names of notes end."""

TOLD_AFTER = 20.0
"""Seconds that a batch may take unnoticed; an ordinary one takes a hundredth of one."""

LOOK_EVERY = 5.0
"""Seconds between two looks: a batch is named within TOLD_AFTER and this."""

_LENGTH = 512


class WatchedBatch(msgspec.Struct, frozen=True):
    """What is worked on; `since` in seconds since the epoch."""

    topic: str
    partition: int
    first: int
    last: int
    since: float

    def sentence(self, now: float) -> str:
        """What is told of a batch that does not end."""
        return (
            f"The batch of {self.topic}, partition {self.partition}, offsets {self.first} to {self.last} is worked on "
            f"for {now - self.since:.0f} s and has not ended: an event in it costs too much. Nothing after it is "
            "cleaned until it ends; look at the steps of the contract (patterns, functions of your own)."
        )


class BatchWatch:
    """Watches what one thread of this process works on, for the job `name`."""

    def __init__(self, name: str = "batch", after: float = TOLD_AFTER, every: float = LOOK_EVERY) -> None:
        folder = os.environ.get(VARIABLE)
        note_path = Path(folder) / f"{name}{SUFFIX}" if folder else None
        self._after, self._every = after, every
        self._closing = threading.Event()
        self._is_armed = False
        self._batch: WatchedBatch | None = None
        self._told: WatchedBatch | None = None
        self._file = None if note_path is None else os.open(note_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._write(None)
        self._thread: threading.Thread | None = None

    @contextmanager
    def during(self, topic: str, partition: int, first: int, last: int) -> Iterator[None]:
        """What is done inside is work on this batch."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="batch watch", daemon=True)
            self._thread.start()
        batch = self._batch = WatchedBatch(topic, partition, first, last, time.time())
        self._write(batch)
        try:
            yield
        finally:
            self._batch = None
            self._write(None)
            if self._told is batch:
                took = time.time() - batch.since
                log.warning("The batch of %s, partition %d, from offset %d has ended after %.0f s.", topic, partition,
                            first, took)  # fmt: skip

    @property
    def batch(self) -> WatchedBatch | None:
        """What is worked on just now."""
        return self._batch

    def close(self) -> None:
        """Watch no more."""
        self._closing.set()
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _write(self, batch: WatchedBatch | None) -> None:
        if self._file is not None:
            text = b"" if batch is None else msgspec.json.encode(batch)
            with contextlib.suppress(OSError):  # a full disk is told of by others
                os.pwrite(self._file, text.ljust(_LENGTH), 0)

    def _look(self) -> None:
        while not self._closing.wait(self._every):
            batch = self._batch
            self._arm(batch is not None)
            if batch is None or batch is self._told:
                continue
            now = time.time()
            if now - batch.since >= self._after:
                self._told = batch
                log.error("%s", batch.sentence(now))

    def _arm(self, working: bool) -> None:
        """`faulthandler` fires when this thread can't come by to put it off, for the interpreter is held."""
        with contextlib.suppress(AttributeError, ValueError, RuntimeError, OSError):  # no standard error to write to
            if self._is_armed:
                faulthandler.cancel_dump_traceback_later()
            self._is_armed = working
            if working and sys.__stderr__ is not None:
                faulthandler.dump_traceback_later(self._after, file=sys.__stderr__)


def stuck_in(folder: Path, after: float = TOLD_AFTER) -> str | None:
    """What the notes of another process say of a batch that does not end; None when there is none such."""
    return next(filter(None, (stuck(note, after) for note in sorted(folder.glob(f"*{SUFFIX}")))), None)


def left_behind(folder: Path, after: float) -> dict[str, str]:
    """The jobs whose batches a process that was ended had not got done with in `after` seconds: name → what is said."""
    notes = {note.name.removesuffix(SUFFIX): stuck(note, after) for note in folder.glob(f"*{SUFFIX}")}
    return {name: sentence for name, sentence in notes.items() if sentence is not None}


def stuck(note: Path, after: float = TOLD_AFTER) -> str | None:
    """What one note says; None when its batch has not taken long."""
    try:
        batch = msgspec.json.decode(note.read_bytes().strip() or b"null", type=WatchedBatch | None)
    except (OSError, msgspec.DecodeError):  # not there yet, or read while it was written
        return None
    now = time.time()
    return None if batch is None or now - batch.since < after else batch.sentence(now)
