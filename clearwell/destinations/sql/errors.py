"""What an error of a SQL database means for us; the driver's words never go into a message (invariants 9 and 10)."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

from clearwell.destinations.protocol import RowReason, RowsRefused
from clearwell.errors import ClearwellError, ConfigError, Retryable

_NO_LOGIN = {"1044", "1045", "1049", "1698", "28P01", "28000", "3D000"}
_NO_RIGHT = {"1142", "1143", "1227", "1370", "42501", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH"}
_NOT_AS_MADE = {"1054", "1146", "1364", "42P01", "42703", "SQLITE_ERROR", "SQLITE_SCHEMA", "1051", "3F000", "1072"}
_NO_DATABASE = {"SQLITE_CANTOPEN", "SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_CANTOPEN_ISDIR"}
_FULL = {"1021", "1114", "53100", "SQLITE_FULL"}

_REASONS: dict[str, RowReason] = {
    **dict.fromkeys(("1062", "1586", "23505", "SQLITE_CONSTRAINT_UNIQUE"), RowReason.NOT_UNIQUE),
    "1048": RowReason.NOT_UNIQUE,  # of a row with a key: see `sql_upsert._on_duplicate_key`
    **dict.fromkeys(("1264", "1690", "22003", "22008", "OverflowError"), RowReason.OUT_OF_RANGE),
    **dict.fromkeys(("1406", "1301", "1153", "54000", "22001", "SQLITE_TOOBIG"), RowReason.TOO_LARGE),
    **dict.fromkeys(("1265", "1292", "1366", "3140", "4025J", "SQLITE_MISMATCH"), RowReason.WRONG_TYPE),
    **dict.fromkeys(("1216", "1452", "3819", "4025"), RowReason.CONSTRAINT),
}
_WORLD = ("08", "25", "40", "53", "55", "57", "58")  # PostgreSQL's: a trigger that raises these asks to be tried again
_SIGNALS = (1642, 1643, 1644)  # MySQL: SIGNAL without a number of its own
_USERS_NUMBERS = 20_000
"""MySQL's and MariaDB's own end far below; what a SIGNAL sets is up to 65,535."""

_NULL_COLUMN = {
    "SQLITE_CONSTRAINT_NOTNULL": re.compile(r"NOT NULL constraint failed: .*\.([^.]+)$"),
    "1364": re.compile(r"Field '([^']+)' doesn't have a default value"),
}

_CONNECT_TEXT = re.compile(
    r"authentication failed|password supplied|pg_hba\.conf|does not exist|permission denied", re.IGNORECASE
)


def translate(error: SQLAlchemyError, server: str, doing: str) -> ClearwellError:
    """What to raise when the database at `server` refused or failed where Clearwell was to `doing`."""
    original = error.orig if isinstance(error, StatementError) else None
    code = _code(original)
    if code in _NO_LOGIN or (not code and original and _CONNECT_TEXT.search(str(original))):
        return ConfigError(f"{server} refuses the user, the password or the database: correct its URL, or grant them.")
    if _is_raised(original):
        return RowsRefused(RowReason.CONSTRAINT, f"{server} refuses a row by a trigger ({code}) on {doing}.")
    if code in _NO_RIGHT:
        return ConfigError(f"{server} does not let this user {doing}: grant the rights to create, read and write.")
    if code in _NO_DATABASE:
        return ConfigError(f"{server} can't be opened as a database ({code}): check the file and its folder.")
    if code in _NOT_AS_MADE:
        return ConfigError(
            f"{server} can't {doing}: a table is not as Clearwell made it ({code}). Put it right, then start again."
        )
    if code in _FULL:
        return Retryable(f"{server} has no space left on its disk ({code}), so it can't {doing}: make room there.")
    reason = _reason(code, error, original)
    if reason is not None:
        return RowsRefused(reason, f"{server} refuses a row ({code or type(original).__name__}) on {doing}.")
    name = code or type(original or error).__name__
    if original is not None and re.search("SSL|TLS|certificate", str(original)):
        return ConfigError(f"{server} and this program can't agree on TLS: check the certificates in its URL.")
    if isinstance(error, DBAPIError) and type(error).__name__ == "ProgrammingError":
        return ConfigError(f"{server} can't {doing} ({name}): is it a database that Clearwell can write to?")
    return Retryable(f"{server} failed or did not answer ({name}) where Clearwell was to {doing}.")


def null_column(error: SQLAlchemyError) -> str | None:
    """The column that a row left null and that must not be; None of any other error. A name, never a value."""
    original = error.orig if isinstance(error, StatementError) else None
    code = _code(original)
    if code == "23502":
        return getattr(getattr(original, "diag", None), "column_name", None)
    named = _NULL_COLUMN.get(code)
    match = named.search(str(original)) if named is not None else None
    return match[1] if match else None


def _is_raised(original: Any) -> bool:
    """Whether a trigger of the user's raised it, under whatever state or number."""
    diag = getattr(original, "diag", None)
    if diag is not None:
        state = str(getattr(original, "sqlstate", None) or "")
        made_up = bool(state) and state[0] not in "0123456789FHPX"
        raised = diag.source_function == "exec_stmt_raise" and not state.startswith(_WORLD)
        return made_up or raised or state.startswith(("P0", "38", "39"))
    number = next(iter(getattr(original, "args", ())), None)
    return isinstance(number, int) and (number in _SIGNALS or number >= _USERS_NUMBERS)


def _reason(code: str, error: SQLAlchemyError, original: Any) -> RowReason | None:
    if code in _REASONS:
        return _REASONS[code]
    if code.startswith(("23", "SQLITE_CONSTRAINT")):
        return RowReason.CONSTRAINT
    if code.startswith("22"):
        return RowReason.WRONG_TYPE
    if isinstance(error, DBAPIError):
        return {"IntegrityError": RowReason.CONSTRAINT, "DataError": RowReason.WRONG_TYPE}.get(type(error).__name__)
    # Not the database's: a value that its type's converter could not take.
    return RowReason.WRONG_TYPE if isinstance(original, TypeError | ValueError | ArithmeticError) else None


def _code(original: Any) -> str:
    """SQLSTATE of PostgreSQL, number of MySQL and MariaDB, name of SQLite; the class of what is no database error."""
    if isinstance(original, OverflowError):
        return "OverflowError"
    args = getattr(original, "args", ())
    if args and isinstance(args[0], int):  # before the state, which says less
        return str(args[0])
    return str(getattr(original, "sqlstate", None) or getattr(original, "sqlite_errorname", None) or "")
