"""What a PostgreSQL error means for us, in one place.

The server's words never go into a message: they quote data (DETAIL, "invalid input syntax for ..."), and libpq's quote
pieces of a malformed address, the password among them (invariants 9 and 10). The condition's name and SQLSTATE do.
"""

from __future__ import annotations

import re

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from clearwell.destinations.postgres.refusal import sqlstate_of_refusal
from clearwell.destinations.protocol import RowReason, RowsRefused
from clearwell.errors import ClearwellError, ConfigError, Fatal, Retryable
from clearwell.postgres_connection import NoAnswer, unanswered

_WORLD = (
    "08",  # connection exceptions, and a pooler's own
    "0A000",  # a plan that was cached before a table was changed: the next session makes another
    "0B", "25",  # transactions: ended for being idle (25P03) or too long (25P04), read-only for now (25006)
    "24", "26", "34",  # a cursor or statement of a session that a pooler gave to somebody else
    "2D", "3B",
    "40",  # rolled back: deadlocks, serialization
    "53", "55", "57", "58",  # resources, locks, operators, the system
    "72",  # a snapshot that is too old
    "F0", "HV", "XX",  # files of the server, foreign servers, internal errors: they may pass, and are told
)  # fmt: skip
"""SQLSTATE classes by which a server ends a statement or a session: tried again, whatever the state."""

_KNOWN = ("00", "01", "02", "03", "0F", "0L", "0P", "0Z", "20", "21", "2B", "3D", "3F", "42", "54", "F0")
"""Classes of PostgreSQL's that are neither the world's, a row's nor a name's: nobody knows what to do about those."""

_REASONS = (
    ("22001", RowReason.TOO_LARGE),  # string_data_right_truncation: a column that somebody has made shorter
    ("54000", RowReason.TOO_LARGE),  # program_limit_exceeded: a key too long for its index, a row too big for a page
    ("22003", RowReason.OUT_OF_RANGE),
    ("22008", RowReason.OUT_OF_RANGE),  # datetime_field_overflow
    ("23505", RowReason.NOT_UNIQUE),
    ("22", RowReason.WRONG_TYPE),
    ("23", RowReason.CONSTRAINT),
    ("44", RowReason.CONSTRAINT),  # with_check_option_violation
    ("P0", RowReason.CONSTRAINT),  # PL/pgSQL: a trigger of the user's
    ("38", RowReason.CONSTRAINT),  # external routines: a trigger in another language
    ("39", RowReason.CONSTRAINT),
    ("09", RowReason.CONSTRAINT),  # triggered_action_exception
    ("27", RowReason.CONSTRAINT),  # triggered_data_change_violation
    ("2F", RowReason.CONSTRAINT),  # sql_routine_exception
)
"""SQLSTATEs, or classes of them, of a row that the table refuses for what it holds; the first that fits is taken."""

# libpq gives no SQLSTATE when a connection fails, only its own (English) words or the server's (usually English) ones.
_CONNECT = (
    (r"password|role .* does not exist|authentication", "refuses the user or the password: correct them in its URL."),
    (r"database .* does not exist", "has no such database: create it, or correct its name in the URL."),
    (r"no pg_hba\.conf entry", "lets this user not in from here: add it to pg_hba.conf, or correct the URL."),
    (r"permission denied", "lets this user not connect to that database: grant CONNECT."),
    (r"certificate|SSL|TLS", "and this program can't agree on TLS: check sslmode and the certificates in its URL."),
    (r"invalid .*(value|option)|invalid port", "has an option in its URL that is not valid: correct it."),
)

_ANSWERED = re.compile(r"failed: [^:\n]+:  ")
"""How libpq writes a server's answer, severity first, in whatever language: 'failed: FATAL:  ...'."""

_REFUSALS = (
    ("28", "refuses the user or the password, or lets them not in from here: correct its URL, or pg_hba.conf."),
    ("3D000", "has no such database: create it, or correct its name in the URL."),
    ("42501", "lets this user not connect to that database: grant CONNECT."),
)


_OBJECT = re.compile(r'\b(database|schema|table|relation) "?([A-Za-z_]\w{0,62})\b')


def where(dsn: str) -> str:
    """ "Postgres at host:port/database", without user and password. Raises ConfigError when the URL can't be read."""
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.Error:
        raise ConfigError(
            'The Postgres URL can\'t be read: write it as "postgresql://user:password@host:port/database", with '
            "special characters percent-encoded."
        ) from None
    host, port, name = (str(parts.get(part) or "") for part in ("host", "port", "dbname"))
    # A password with a bare @, / or ? ends up in one of them.
    plain = all(re.fullmatch(r"[\w.\-:,/]*", part) for part in (host, name)) and re.fullmatch(r"[\d,]*", port)
    return f"Postgres at {host or 'localhost'}:{port or '5432'}/{name}" if plain else "Postgres"


def on_connect(error: psycopg.Error, server: str, dsn: str) -> ClearwellError:
    """What to raise when no connection was made to `server` (see `where`), whose address is `dsn`.

    May ask the server once more, for the SQLSTATE of an answer in words that are not known.
    """
    silence = unanswered(error)
    if silence is not None:
        return _silent(silence, server, "connect")
    text = str(error)
    for pattern, sentence in _CONNECT:
        if re.search(pattern, text):
            return ConfigError(f"{server} {sentence}")
    if "resolve host" in text or "translate host" in text:
        return Retryable(f"The host of {server} can't be found: check the URL and the network.")
    state = error.sqlstate or (sqlstate_of_refusal(dsn) if _ANSWERED.search(text) else "")
    for prefix, sentence in _REFUSALS:
        if state.startswith(prefix):
            return ConfigError(f"{server} {sentence}")
    if state:
        return Retryable(f"{server} takes no connection now (SQLSTATE {state}): is it starting, or are there too many?")
    return Retryable(f"{server} does not answer: start it, or correct its URL.")


def on_statement(error: psycopg.Error, server: str, doing: str) -> ClearwellError:
    """What to raise when a statement failed; `doing` says what for ("write partition 3, offsets up to 900")."""
    silence = unanswered(error)
    if silence is not None:
        return _silent(silence, server, doing)
    state = error.sqlstate or ""
    named = f"{type(error).__name__}{f', SQLSTATE {state}' if state else ''}"
    if _is_raised(error) and not state.startswith(_WORLD):
        return _row_refused(RowReason.CONSTRAINT, server, f"by a trigger ({named})", doing)
    if isinstance(error, errors.InsufficientPrivilege):
        return ConfigError(f"{server} does not let this user {doing}: grant the missing right on {_object(error)}.")
    if state.startswith(("42", "3D", "3F")):
        return ConfigError(f"{server} can't {doing}: {_object(error)} is not as Clearwell made it ({named}).")
    if state == "25006":
        return Retryable(f"{server} is read-only now, so it can't {doing}: is it a standby?")
    if isinstance(error, errors.DiskFull):
        return Retryable(f"{server} has no space left on its disk ({named}), so it can't {doing}: make room there.")
    reason = _reason(state, error)
    if reason is not None:
        return _row_refused(reason, server, f"{_column(error)}({named})", doing)
    if state.startswith(_WORLD) or (not state and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)):
        return Retryable(f"{server} failed ({named}) where Clearwell was to {doing}.")
    if state and state[:2] not in _KNOWN:  # no class of PostgreSQL's own: some trigger or function made it up
        return _row_refused(RowReason.CONSTRAINT, server, f"({named})", doing)
    return Fatal(f"{server} failed in an unexpected way ({named}) where Clearwell was to {doing}.")


def _silent(silence: NoAnswer, server: str, doing: str) -> Retryable:
    return Retryable(
        f"{server} took a call and has not answered for {silence.seconds:g} s where Clearwell was to {doing}: does a "
        "firewall or proxy in between drop what is sent?"
    )


def _is_raised(error: psycopg.Error) -> bool:
    """Whether a RAISE of the user's own PL/pgSQL made it: that is about the row, unless its SQLSTATE says otherwise."""
    return error.diag.source_function == "exec_stmt_raise"


def on_value(error: Exception, server: str, doing: str) -> RowsRefused:
    """What to raise when a value could not be written as its column's type: a TypeError, ValueError or the like."""
    reason = RowReason.OUT_OF_RANGE if isinstance(error, ArithmeticError) else RowReason.WRONG_TYPE
    return _row_refused(reason, server, f"({type(error).__name__})", doing)


def _row_refused(reason: RowReason, server: str, how: str, doing: str) -> RowsRefused:
    """A row that can't be stored; `how` names the error, without data."""
    return RowsRefused(reason, f"{server} refuses a row {how} where Clearwell was to {doing}: {reason}.")


def _reason(state: str, error: psycopg.Error) -> RowReason | None:
    for prefix, reason in _REASONS:
        if state.startswith(prefix):
            return reason
    return RowReason.WRONG_TYPE if isinstance(error, psycopg.DataError) else None


def _column(error: psycopg.Error) -> str:
    return f"for its column {error.diag.column_name} " if error.diag.column_name else ""


def _object(error: psycopg.Error) -> str:
    """The schema, table or column an error is about: names, never values."""
    parts = (error.diag.schema_name, error.diag.table_name, error.diag.column_name)
    if any(parts):
        return ".".join(part for part in parts if part)
    named = _OBJECT.search(error.diag.message_primary or "")
    return f"{named[1]} {named[2]}" if named else "the database, its tables and the schema clearwell_delivery"
