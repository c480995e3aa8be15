"""`clearwell credentials`: how your own programs log in to the embedded servers; it prints no password."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from clearwell import settings
from clearwell.cli.output import common_options, emit
from clearwell.control.credentials import ServerLogin, list_logins
from clearwell.errors import ConfigError


@click.command()
@common_options
def credentials(as_json: bool) -> None:
    """Show how your own programs log in to Kafka, PostgreSQL and the MongoDB-wire server of the stack.

    Passwords are in files of the data folder that you alone may read; this prints their names, and never a password.

    \b
      kafka-console-consumer.sh --command-config FILE --bootstrap-server ADDRESS --topic clean.flights.v1
      kcat -F FILE -L
      PGPASSFILE=FILE psql -h 127.0.0.1 -p PORT -U clearwell clearwell
    """
    loaded = settings.load()
    logins = list_logins(loaded)
    if not logins:
        raise ConfigError(
            "Every server is one that CLEARWELL_KAFKA, _POSTGRES and _MONGO name: their logins are yours."
        )
    emit(as_json, {"home": str(loaded.home), **logins}, lambda: "\n".join(_lines(logins)))


def _lines(logins: Mapping[str, ServerLogin]) -> Iterator[str]:
    for server, login in logins.items():
        yield f"{server}: {login.address}, user {login.user}, the password is in"
        yield from (f"  {file}" for file in login.files)
    yield "In Python: `KafkaProducer(**clearwell.kafka_options())`, which aiokafka takes as well;"
    yield "`psycopg.connect(…, passfile=FILE)`; `MongoClient(Path(FILE).read_text())`."
