"""What a PyMongo error means for us, in one place.

The server's words never go into a message: they quote documents and keys (invariant 9), and PyMongo's own may quote
the URL (invariant 10). The error's code and class do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bson.errors import BSONError
from pymongo import errors, uri_parser

from clearwell.destinations.protocol import RowReason, RowsRefused
from clearwell.errors import ClearwellError, ConfigError, Fatal, Retryable

DUPLICATE_KEY = 11000
_REASONS = {
    DUPLICATE_KEY: RowReason.NOT_UNIQUE,  # of a unique index of the user's; see `_is_repeat`
    121: RowReason.CONSTRAINT,  # DocumentValidationFailure
    10334: RowReason.TOO_LARGE,  # BSONObjectTooLarge
    17280: RowReason.TOO_LARGE,  # KeyTooLong, of servers before 4.2
    17419: RowReason.TOO_LARGE,  # the document would be too large after an update
    17420: RowReason.TOO_LARGE,
}
"""Codes of a document that the collection refuses for what it holds."""

_NO_LOGIN = (18, 8000)  # AuthenticationFailed, and Atlas's own
_NO_RIGHT = (13,)  # Unauthorized
_UNREACHABLE = (6, 7, 89, 9001, 384)  # host unreachable, not found, network timeout, socket, connection
_NOT_PRIMARY = (91, 189, 10058, 10107, 11600, 11602, 13435, 13436)  # shutting down, stepped down
_STALE = (63, 70, 71, 133, 134, 150, 175, 234, 236, 237, 239, 246, 249, 13388)  # config, epoch, snapshot, cursor
_ENDED = (46, 79, 136, 225, 251, 263, 290, 11601)  # interrupted; transactions and sessions that the server ended
_BUSY = (24, 43, 50, 64, 100, 112, 146, 202, 262, 365, 462)  # limits of locks, time, memory, rate; write conflict
_FULL = 14031  # OutOfDiskSpace
_WORLD = frozenset((*_UNREACHABLE, *_NOT_PRIMARY, *_STALE, *_ENDED, *_BUSY))
"""Codes of a bad world (MongoDB's error_codes.yml)."""


def where(url: str) -> tuple[str, str]:
    """("MongoDB at host:port/database", database), without user and password.

    Raises ConfigError when the URL can't be read or names no database.
    """
    form = '"mongodb://user:password@host:port/database", with special characters percent-encoded'
    try:
        parts = uri_parser.parse_uri(url, connect_timeout=10)
    except errors.ConfigurationError as error:
        if "DNS" in str(error) or "resolution" in str(error):
            raise Retryable("The DNS entry of the MongoDB URL can't be read: check the URL and the network.") from None
        raise ConfigError(f"The MongoDB URL can't be read: write it as {form}.") from None
    except (errors.PyMongoError, ValueError):
        raise ConfigError(f"The MongoDB URL can't be read: write it as {form}.") from None
    database = parts["database"]
    if not database:
        raise ConfigError(f"The MongoDB URL names no database: write it as {form}.")
    hosts = ",".join(f"{host}:{port}" for host, port in parts["nodelist"])
    plain = re.fullmatch(r"[\w.\-:,\[\]]+/[\w\-]+", f"{hosts}/{database}")  # a bare / in a password moves it there
    return f"MongoDB at {hosts}/{database}" if plain else "MongoDB", str(database)


def translate(error: Exception, server: str, doing: str) -> ClearwellError:
    """What to raise when a call failed; `doing` says what for ("write partition 3, offsets up to 900")."""
    if isinstance(error, errors.BulkWriteError):
        return _bulk(error.details or {}, server, doing)
    if isinstance(error, errors.OperationFailure):
        if error.code in _NO_RIGHT and "requires authentication" in str(error):
            return ConfigError(f"{server} wants to know who asks: put a user and a password into its URL.")
        passing = any(map(error.has_error_label, ("RetryableWriteError", "TransientTransactionError")))
        return _by_code(error.code or 0, server, doing, passing)
    if isinstance(error, errors.ServerSelectionTimeoutError):
        return Retryable(f"{server} does not answer: start it, or correct its URL.")
    if isinstance(error, errors.ConnectionFailure):
        return Retryable(f"{server} failed ({type(error).__name__}) where Clearwell was to {doing}.")
    if isinstance(error, errors.ConfigurationError):
        return ConfigError(f"{server} can't be reached with the options of its URL: correct them.")
    if isinstance(error, errors.DocumentTooLarge):
        return refused(RowReason.TOO_LARGE, server, doing, type(error).__name__)
    if isinstance(error, ArithmeticError):  # PyMongo's OverflowError of an integer beyond 8 bytes
        return refused(RowReason.OUT_OF_RANGE, server, doing, type(error).__name__)
    if isinstance(error, BSONError | ValueError | TypeError):
        return refused(RowReason.WRONG_TYPE, server, doing, type(error).__name__)
    return Fatal(f"{server} failed in an unexpected way ({type(error).__name__}) where Clearwell was to {doing}.")


def refused(reason: RowReason, server: str, doing: str, named: str) -> RowsRefused:
    """A document that can't be stored; `named` is its error, without data."""
    return RowsRefused(reason, f"{server} refuses a document ({named}) where Clearwell was to {doing}: {reason}.")


def duplicates(error: errors.BulkWriteError) -> tuple[Sequence[int], Sequence[int]] | None:
    """Indexes of the documents whose `_id` is there already, and of those that violate another unique index.

    The latter may be there as well: servers tell of one index, whichever. None when anything else went wrong too.
    """
    details: Mapping[str, Any] = error.details or {}
    failed = details.get("writeErrors", ())
    if details.get("writeConcernErrors") or any(write_error.get("code") != DUPLICATE_KEY for write_error in failed):
        return None
    repeats = [write_error["index"] for write_error in failed if _is_repeat(write_error)]
    return repeats, [write_error["index"] for write_error in failed if not _is_repeat(write_error)]


def _is_repeat(failed: Mapping[str, Any]) -> bool:
    """Whether a document's `_id` is there already.

    A unique index of the user's own also answers E11000: its key pattern is not `_id`, and that is no repeat.
    """
    return (
        failed.get("code") == DUPLICATE_KEY
        and failed.get("keyPattern", {"_id": 1}) == {"_id": 1}
        and " index: _id_ " in failed.get("errmsg", " index: _id_ ")
    )


def _bulk(details: Mapping[str, Any], server: str, doing: str) -> ClearwellError:
    """The gravest of what went wrong; a bad world before a refused row, which is there again after it."""
    failed = [write_error for write_error in details.get("writeErrors", ()) if not _is_repeat(write_error)]
    verdicts = [_by_code(write_error.get("code", 0), server, doing, False) for write_error in failed]
    for kind in (Fatal, ConfigError, Retryable, RowsRefused):
        for verdict in verdicts:
            if isinstance(verdict, kind):
                return verdict
    return Retryable(f"{server} has not made a write durable yet where Clearwell was to {doing}.")


def _by_code(code: int, server: str, doing: str, may_retry: bool) -> ClearwellError:
    if code in _NO_LOGIN:
        return ConfigError(f"{server} refuses the user or the password: correct them in its URL.")
    if code in _NO_RIGHT:
        return ConfigError(f"{server} does not let this user {doing}: grant it readWrite and dbAdmin.")
    if code in _REASONS:
        return refused(_REASONS[code], server, doing, f"code {code}")
    if code == _FULL:
        return Retryable(f"{server} has no space left on its disk, so it can't {doing}: make room there.")
    if may_retry or code in _WORLD:
        return Retryable(f"{server} failed (code {code}) where Clearwell was to {doing}.")
    return Fatal(f"{server} failed in an unexpected way (code {code}) where Clearwell was to {doing}.")
