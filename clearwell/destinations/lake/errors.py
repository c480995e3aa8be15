"""What an error of deltalake means for us, in one place.

It raises DeltaError, OSError or Exception whose text is all there is; that text may quote paths, URLs and values, so it
is searched and never shown (invariants 9 and 10).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from deltalake.exceptions import CommitFailedError, DeltaError, SchemaMismatchError, TableNotFoundError

from clearwell.destinations.lake.root import TableLocation
from clearwell.errors import ClearwellError, ConfigError, Fatal, Retryable

_RIGHTS = re.compile(r"Permission denied|PermissionDenied|os error 13|Read-only file system|Not a directory", re.I)
_LOGIN = re.compile(
    r"\b40[13]\b|Forbidden|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|Unauthori[sz]ed|Unauthenticated"
    r"|InvalidToken|ExpiredToken|credential|PermissionDenied",
    re.I,
)
_CLOCK = re.compile("RequestTimeTooSkewed|RequestExpired")
_NO_BUCKET = re.compile(r"NoSuchBucket|bucket does not exist|ContainerNotFound", re.I)
_OPTIONS = re.compile(
    r"Unknown scheme|URL scheme is not allowed|Invalid table location|MissingBucket|builder error"
    r"|Unable to parse|InvalidUrl|Missing region|UnknownConfigurationKey",
    re.I,
)
_FULL = re.compile(r"No space left|StorageFull|os error 28|Disk quota|QuotaExceeded", re.I)
_DAMAGED = re.compile(
    r"Json error|gap|contiguous|checkpoint|Parquet error|Invalid (JSON|table|commit)|parse.*(log|action)|No protocol"
    r"|MissingVersion|MissingMetadata|MissingProtocol|InvalidProtocol|not found.*_delta_log|delta kernel error",
    re.I | re.S,
)
_GONE = re.compile(r"Object at location .* not found|No such file or directory|NoSuchKey", re.I | re.S)
_WORLD = re.compile(
    r"error sending request|timed? ?out|retry_timeout|connection|\b5\d\d\b|SlowDown|Generic \w+ error|HTTP error|dns"
    r"|Too many open files",
    re.I,
)


class Conflict(Exception):
    """Another commit came between reading the table and writing it: start over (never leaves the destination)."""


@contextmanager
def talking(location: TableLocation, doing: str) -> Iterator[None]:
    """What deltalake raises inside becomes ours; `doing` says what for ("write partition 3 …").

    Raises Conflict, ConfigError, Retryable or Fatal.
    """
    try:
        yield
    except CommitFailedError as error:
        raise (translate(error, location, doing) if _FULL.search(str(error)) else Conflict()) from None
    except (DeltaError, OSError) as error:
        raise translate(error, location, doing) from None
    except Exception as error:
        if type(error) is not Exception:  # deltalake raises bare ones too, where a value does not fit a column
            raise
        raise translate(error, location, doing) from None


def translate(error: Exception, location: TableLocation, doing: str) -> ClearwellError:
    """What to raise; the error's own text stays here."""
    text, table = str(error), f"the Delta table {location.shown}"
    if _FULL.search(text):
        return Retryable(f"There is no space left for {table} where Clearwell was to {doing}: make room.")
    if _NO_BUCKET.search(text):
        return ConfigError(f"The bucket of {table} does not exist: make it, or correct the URL.")
    if _OPTIONS.search(text):
        return ConfigError(f"{_first(table)} can't be reached by that URL: correct it and its storage_options.")
    if _RIGHTS.search(text):
        return ConfigError(f"Clearwell has no right to {doing} at {table}: let its user read and write there.")
    if _CLOCK.search(text):  # a kind of 403
        return ConfigError(f"The store of {table} finds this machine's clock wrong: set it right.")
    if _LOGIN.search(text):
        return ConfigError(f"The store of {table} refuses the credentials, or what they may do: correct them.")
    return _of_table(error, text, table, doing)


def _of_table(error: Exception, text: str, table: str, doing: str) -> ClearwellError:
    if isinstance(error, SchemaMismatchError):
        return Fatal(f"The columns of {table} were changed under Clearwell where it was to {doing}: start again.")
    if _WORLD.search(text):
        return Retryable(f"The store of {table} does not answer as it should where Clearwell was to {doing}.")
    if isinstance(error, TableNotFoundError):
        return ConfigError(f"There is no Delta table at {table.removeprefix('the Delta table ')}.")
    if _GONE.search(text) and not isinstance(error, DeltaError):
        return ConfigError(
            f"{_first(table)} lacks a file that this version of it needs: it was vacuumed, or somebody deleted it. "
            "Read a newer version, or put the file back."
        )
    if isinstance(error, DeltaError) and _DAMAGED.search(text):
        return damaged(table)
    if isinstance(error, OSError):
        return Retryable(f"{_first(table)} could not be read or written where Clearwell was to {doing}.")
    return Fatal(
        f"{_first(table)} failed in an unexpected way ({type(error).__name__}) where Clearwell was to {doing}."
    )


def damaged(table: str) -> ConfigError:
    """A log that can't be read."""
    return ConfigError(
        f"The log of {table} is damaged, so nothing can be read or written: put its _delta_log back from a copy, or "
        "move the table away and let `clearwell destination replay` fill a new one."
    )


def _first(table: str) -> str:
    return table[0].upper() + table[1:]
