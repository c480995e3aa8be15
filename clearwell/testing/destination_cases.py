"""What a suite must be given to prove a destination, and how it opens and closes what it makes."""

from __future__ import annotations

import contextlib
import logging
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from clearwell.contract.model import CleanSchema
from clearwell.destinations.protocol import CleanBatch, Destination, RowsRefused
from clearwell.errors import ClearwellError
from clearwell.testing.destination_events import Row
from clearwell.testing.source_cases import require_clear

Opener = Callable[..., Destination]
"""`opened(group=..., schema=...)` is a new, open destination on the case's store."""


class DestinationCase(Protocol):
    """One table, collection or topic that a test has for itself, on a real server."""

    def destination(self, schema: CleanSchema, group: str) -> Destination:
        """A new destination, not open yet. All of one case write to the same place, whatever schema and group are."""

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """What is stored now: values by field name, and by "_raw_topic", "_raw_partition" and "_raw_offset".

        Leave out what says when or how a row was written. Of a destination that gives away (its `row_count` is None):
        what was received, in the order it came.
        """


class HasPoison(DestinationCase, Protocol):
    """A case whose store refuses more than a row without a key."""

    @property
    def poisons(self) -> Mapping[str, Callable[[Row], Row]]:
        """What makes a good row of the suite's schema one that the store refuses, by what is wrong with it."""


class HasSecrets(DestinationCase, Protocol):
    """A case whose store asks for a login or an address."""

    @property
    def secrets(self) -> Sequence[str]:
        """Words of the configuration, also of the broken ones, that no one may read."""

    def broken(self) -> Mapping[str, Callable[[], Destination]]:
        """Destinations that can't work, by what is wrong: wrong password, no server, missing rights, other table."""


@contextlib.contextmanager
def opening(case: DestinationCase, schema: CleanSchema) -> Iterator[Opener]:
    """An `Opener` for a test; closes what it has opened. The usual group is the test's own."""
    made: list[Destination] = []
    usual = fresh("group")

    def opened(group: str = usual, schema: CleanSchema = schema) -> Destination:
        destination = case.destination(schema, group)
        made.append(destination)
        destination.open()
        return destination

    yield opened
    for destination in made:
        destination.close()


def fresh(base: str) -> str:
    """A name nobody else has."""
    return f"{base}_{uuid.uuid4().hex[:10]}"


def isolate(destination: Destination, batch: CleanBatch) -> list[tuple[int, RowsRefused]]:
    """Write `batch` as the deliverer does: halved until the store takes the parts; single refused rows are left out.

    Returns (clean offset, why) of those rows.
    """
    refused: list[tuple[int, RowsRefused]] = []
    parts = [batch]
    while parts:
        part = parts.pop(0)
        try:
            destination.write(part)
        except RowsRefused as error:
            assert part.rows, "A batch without rows was refused."
            if len(part.rows) > 1:
                parts[:0] = part.halves()
                continue
            refused.append((part.offsets[0], error))
            parts.insert(0, part.without_row())
    return refused


def shown(error: BaseException) -> list[str]:
    """Everything that a log or a person could get to see of an error, its causes too."""
    return [str(error), repr(error), "".join(traceback.format_exception(error))]


@dataclass
class Told:
    """The error by which a context of `told` was left."""

    error: Any = None


@contextlib.contextmanager
def told(what: str, secrets: Sequence[str], kind: type[ClearwellError] = ClearwellError) -> Iterator[Told]:
    """A context that must be left by one clear error of `kind` which shows none of `secrets`, nor does the log."""
    log, found = _Kept(), Told()
    logging.getLogger().addHandler(log)
    try:
        yield found
    except kind as error:
        require_clear(error)
        text = [*shown(error), *log.texts]
        assert not any(secret in one for secret in secrets for one in text), f"{what}: data or a secret can be read."
        found.error = error
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__} instead of {kind.__name__}.") from None
    else:
        raise AssertionError(f"{what}: no error at all.")
    finally:
        logging.getLogger().removeHandler(log)


class _Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text of one record."""
        self.texts.append(self.format(record))
