"""The MongoDB server behind `mongo_changes`: connections, what their failures mean, its clock and collections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bson import Timestamp
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import ConfigurationError, InvalidURI, OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from clearwell.deadline import call_seconds
from clearwell.destinations.mongo.egress import JudgedPool
from clearwell.destinations.mongo.errors import translate, where
from clearwell.egress import require_allowed
from clearwell.errors import ClearwellError, ConfigError
from connectors.mongo_changes.extended_json import CODEC

ANSWER_MS = 5_000

_LOST = (286, 280)  # ChangeStreamHistoryLost, ChangeStreamFatalError
_NO_TOKEN = (260, 50811, 40647)  # InvalidResumeToken, and older servers' own
_TOO_LARGE = (10334,)  # BSONObjectTooLarge
_BAD_PIPELINE = (2, 9, 14, 16, 72, 40324, 40415)  # BadValue, FailedToParse, TypeMismatch, invalid stage or option
_NO_REPLICA_SET = (40573,)


@dataclass(frozen=True, slots=True)
class ChangesReadPlan:
    """What to read, from the configuration. `collection` is None for all of the database; `size`: events of a batch."""

    url: str = field(repr=False)  # invariant 10
    database: str | None
    collection: str | None
    pipeline: Sequence[Mapping[str, Any]]
    snapshot: bool
    start: Timestamp | None
    full_document: str
    size: int

    def place(self) -> str:
        """For messages, without user and password. Raises ConfigError when the URL can't be read."""
        return where(self._with_database())[0]

    def _with_database(self) -> str:
        """The URL with some database in it, as `where` wants."""
        try:
            named = parse_uri(self.url, connect_timeout=10)["database"]
        except (PyMongoError, ValueError):
            return self.url
        if named or self.database is None:
            return self.url
        head, mark, options = self.url.partition("?")
        return f"{head.rstrip('/')}/{self.database}{mark}{options}"


@contextmanager
def open_database(plan: ChangesReadPlan, doing: str) -> Iterator[Database[dict[str, Any]]]:
    """The database, connected, as long as the context lasts. Raises ConfigError or Retryable."""
    server = plan.place()
    with failures(server, doing):
        for host, port in parse_uri(plan.url, connect_timeout=10)["nodelist"]:
            require_allowed(host, port or 27017)
        client = MongoClient[dict[str, Any]](
            plan.url,
            appname="clearwell",
            serverSelectionTimeoutMS=ANSWER_MS,
            connectTimeoutMS=ANSWER_MS,
            socketTimeoutMS=int(call_seconds() * 1000),
            _pool_class=JudgedPool,
        )
        try:
            yield client.get_database(plan.database or client.get_default_database().name, codec_options=CODEC)
        finally:
            client.close()


@contextmanager
def failures(server: str, doing: str) -> Iterator[None]:
    """Turns what PyMongo raises into what a person can read."""
    try:
        yield
    except (ConfigurationError, InvalidURI):
        raise ConfigError("The MongoDB URL can't be read, or one of its options is wrong: correct it.") from None
    except OperationFailure as error:
        raise _meaning(error, server, doing) from None
    except PyMongoError as error:
        raise translate(error, server, doing) from None


def _meaning(error: OperationFailure, server: str, doing: str) -> ClearwellError:
    code = error.code or 0
    if code in _LOST:
        return ConfigError(
            f"The changes after the saved position are gone from the oplog of {server} (code {code}): they are lost. "
            "Reset the connector, so that it begins anew with a snapshot; and make the oplog larger."
        )
    if code in _NO_TOKEN:
        return ConfigError(f"{server} does not know the resume token of the position: set it right, or reset it.")
    if code in _NO_REPLICA_SET:
        return ConfigError(f"{server} is no replica set, and only those have change streams: make it one.")
    if code in _TOO_LARGE:
        return ConfigError(
            f"A change at {server} is larger than 16 MB: set `full_document: default`, or leave fields out by "
            "`pipeline`."
        )
    if code in _BAD_PIPELINE:
        return ConfigError(
            f"{server} takes no such change stream (code {code}): correct `pipeline`, or the position's token."
        )
    if code == 13:
        return ConfigError(f"{server} does not let this user {doing}: grant it the role read.")
    return translate(error, server, doing)


def now(database: Database[dict[str, Any]], server: str) -> Timestamp:
    """The server's cluster time. Raises ConfigError when it has none."""
    with database.client.start_session() as session:
        database.command("ping", session=session)
        time = session.operation_time
    if time is None:
        raise ConfigError(f"{server} is no replica set, and only those have change streams: make it one.")
    return time


def collections(database: Database[dict[str, Any]], only: str | None) -> list[str]:
    """The collections to read, sorted; the server's own left out."""
    if only is not None:
        return [only]
    names = database.list_collection_names(filter={"type": "collection"})
    return sorted(name for name in names if not name.startswith("system."))
