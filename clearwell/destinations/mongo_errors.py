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

from clearwell.errors import ClearwellError, ConfigError, Fatal, Retryable

DUPLICATE_KEY = 11000
_REFUSED = (121, 17280, 10334)  # document validation, key too large, object too large
_NO_LOGIN = (18, 8000)  # AuthenticationFailed, and Atlas's own
_NO_RIGHT = (13,)  # Unauthorized
_UNREACHABLE = (6, 7, 89, 9001)  # host unreachable, not found, network timeout, socket
_NOT_PRIMARY = (91, 189, 10107, 11600, 11602, 13388, 13435, 13436)  # shutting down, stepped down, stale config
_BUSY = (24, 43, 50, 64, 112, 202, 262, 14031)  # lock and time limits, write concern, write conflict, disk
_WORLD = frozenset((*_UNREACHABLE, *_NOT_PRIMARY, *_BUSY))
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
        return _by_code(error.code or 0, server, doing, error.has_error_label("RetryableWriteError"))
    if isinstance(error, errors.ServerSelectionTimeoutError):
        return Retryable(f"{server} does not answer: start it, or correct its URL.")
    if isinstance(error, errors.ConnectionFailure):
        return Retryable(f"{server} failed ({type(error).__name__}) where Clearwell was to {doing}.")
    if isinstance(error, errors.ConfigurationError):
        return ConfigError(f"{server} can't be reached with the options of its URL: correct them.")
    if isinstance(error, errors.DocumentTooLarge | BSONError | ValueError | ArithmeticError):
        return refused(server, doing, type(error).__name__)
    return Fatal(f"{server} failed in an unexpected way ({type(error).__name__}) where Clearwell was to {doing}.")


def refused(server: str, doing: str, named: str) -> Fatal:
    """A document that can't be stored."""
    return Fatal(f"{server} refuses a document ({named}), so Clearwell can't {doing}. Nothing was skipped.")


def duplicates(error: errors.BulkWriteError) -> Sequence[int] | None:
    """Indexes of the documents whose `_id` is there already; None when anything else went wrong as well.

    A unique index of the user's own also answers E11000: its key pattern is not `_id`, and that is no duplicate.
    """
    details: Mapping[str, Any] = error.details or {}
    failed = details.get("writeErrors", ())
    known = all(
        one.get("code") == DUPLICATE_KEY
        and one.get("keyPattern", {"_id": 1}) == {"_id": 1}
        and " index: _id_ " in one.get("errmsg", " index: _id_ ")
        for one in failed
    )
    return [one["index"] for one in failed] if known and not details.get("writeConcernErrors") else None


def _bulk(details: Mapping[str, Any], server: str, doing: str) -> ClearwellError:
    codes = [one.get("code", 0) for one in details.get("writeErrors", ())]
    verdicts = [_by_code(code, server, doing, False) for code in codes]
    for kind in (Fatal, ConfigError):
        for verdict in verdicts:
            if isinstance(verdict, kind):
                return verdict
    return Retryable(f"{server} has not made a write durable yet where Clearwell was to {doing}.")


def _by_code(code: int, server: str, doing: str, may_retry: bool) -> ClearwellError:
    if code in _NO_LOGIN:
        return ConfigError(f"{server} refuses the user or the password: correct them in its URL.")
    if code in _NO_RIGHT:
        return ConfigError(f"{server} does not let this user {doing}: grant it readWrite and dbAdmin.")
    if code == DUPLICATE_KEY:
        return refused(server, doing, "a unique index of the collection forbids it")
    if code in _REFUSED:
        return refused(server, doing, f"code {code}")
    if may_retry or code in _WORLD:
        return Retryable(f"{server} failed (code {code}) where Clearwell was to {doing}.")
    return Fatal(f"{server} failed in an unexpected way (code {code}) where Clearwell was to {doing}.")
