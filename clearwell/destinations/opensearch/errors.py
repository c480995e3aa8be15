"""What an error of OpenSearch or Elasticsearch means for us, in one place.

The server's words never go into a message: they quote documents (invariant 9). Names of its error types do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opensearchpy import exceptions as errors

from clearwell.destinations.protocol import RowReason, RowsRefused
from clearwell.errors import ClearwellError, ConfigError, Fatal, Retryable

_BUSY = (408, 409, 429)
_BAD_BODY = {"parse_exception", "json_parse_exception", "x_content_parse_exception", "stream_constraints_exception"}
_BAD_ROW = {"mapper_parsing_exception", "document_parsing_exception"}
_OTHER_INDEX = {"strict_dynamic_mapping_exception", "index_not_found_exception", "index_closed_exception"}
_TOO_LARGE = {"max_bytes_length_exceeded_exception", "stream_constraints_exception"}
_OUT_OF_RANGE = {"input_coercion_exception", "arithmetic_exception"}


def translate(error: errors.OpenSearchException, server: str, doing: str) -> ClearwellError:
    """What to raise when a request failed; `doing` says what for ("write partition 3, offsets up to 900")."""
    if isinstance(error, errors.SSLError):
        return ConfigError(f"{server} and this program can't agree on TLS: check `url` and `ca`.")
    if isinstance(error, errors.ConnectionError):
        return Retryable(f"{server} does not answer ({type(error).__name__}): start it, or correct its URL.")
    if isinstance(error, errors.TransportError) and isinstance(error.status_code, int):
        info: Any = error.info if isinstance(error.info, Mapping) else {}
        return by_status(error.status_code, info.get("error"), server, doing)
    if isinstance(error, errors.SerializationError):
        return Retryable(f"{server} gave an answer that is no JSON where Clearwell was to {doing}.")
    return Fatal(f"{server} failed in an unexpected way ({type(error).__name__}) where Clearwell was to {doing}.")


def by_status(status: int, cause: Any, server: str, doing: str) -> ClearwellError:
    """What a refused request, or one refused document of it, means; `cause` is the `error` of the answer."""
    types = list(_types(cause))
    name = types[0] if types else f"status {status}"
    if status in _BUSY or status >= 500:
        return Retryable(f"{server} is not well ({name}) where Clearwell was to {doing}.")
    if status == 413:
        return RowsRefused(RowReason.TOO_LARGE, f"{server} takes no request as large as a row is, on {doing}.")
    if status == 401:
        return ConfigError(f"{server} refuses the user or the password: correct them in its URL.")
    if status == 403:
        return ConfigError(
            f"{server} does not let Clearwell {doing} ({name}): grant the user the rights to create, read and write "
            "its index and clearwell_positions, and lift blocks of writes."
        )
    if name in _BAD_ROW | _BAD_BODY or (name == "illegal_argument_exception" and _TOO_LARGE.intersection(types)):
        return RowsRefused(_reason(types), f"{server} refuses a row ({name}) on {doing}.")
    if "script_exception" in types:
        return ConfigError(f"{server} refuses the script that compares versions: allow inline scripts in painless.")
    if _OTHER_INDEX.intersection(types):
        return ConfigError(
            f"{server} can't {doing}: an index is not as Clearwell made it ({name}). Put it right, then start again."
        )
    return ConfigError(f"{server} refuses to {doing} ({name}): is it OpenSearch, or Elasticsearch from version 7 on?")


def _reason(types: Iterable[str]) -> RowReason:
    if _TOO_LARGE.intersection(types):
        return RowReason.TOO_LARGE
    return RowReason.OUT_OF_RANGE if _OUT_OF_RANGE.intersection(types) else RowReason.WRONG_TYPE


def _types(cause: Any) -> Iterable[str]:
    """The names of an error and of what caused it; a word of the server's that is no name is left out."""
    while isinstance(cause, Mapping):
        name = cause.get("type")
        if isinstance(name, str) and name.replace("_", "").isalnum() and len(name) < 100:
            yield name
        cause = cause.get("caused_by")
