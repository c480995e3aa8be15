"""`clearwell credentials`: how your own programs log in to the embedded servers; it prints no password."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from clearwell import settings
from clearwell.cli.output import emit, home_option, json_option
from clearwell.errors import ConfigError
from clearwell.local.clients import FOLDER


@click.command()
@home_option
@json_option
def credentials(as_json: bool) -> None:
    """Show how your own programs log in to Kafka, PostgreSQL and the MongoDB-wire server of the stack.

    Passwords are in files of the data folder that you alone may read; this prints their names, and never a password.

    \b
      kafka-console-consumer.sh --command-config FILE --bootstrap-server ADDRESS --topic clean.flights.v1
      kcat -F FILE -L
      PGPASSFILE=FILE psql -h 127.0.0.1 -p PORT -U clearwell clearwell
    """
    where = settings.load()
    folder = where.home / FOLDER
    named = settings.external()
    files = {
        "kafka": (folder / "kafka.properties", folder / "librdkafka.properties"),
        "postgres": (folder / "pgpass",),
        "mongo": (folder / "mongo.url",),
    }
    shown = {
        name: {"address": _address(getattr(where, name)), "user": "clearwell", "files": [str(file) for file in found]}
        for name, found in files.items()
        if name not in named and _there(found)
    }
    if not shown:
        raise ConfigError(
            "Every server is one that CLEARWELL_KAFKA, _POSTGRES and _MONGO name: their logins are yours."
        )
    emit(as_json, {"home": str(where.home), **shown}, lambda: _lines(shown))


def _address(server: str) -> str:
    """Host and port."""
    return server if "://" not in server else urlsplit(server).netloc.rpartition("@")[2]


def _there(files: tuple[Path, ...]) -> bool:
    return all(file.exists() for file in files)


def _lines(shown: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for name, one in shown.items():
        lines.append(f"{name}: {one['address']}, user {one['user']}, the password is in")
        lines += [f"  {file}" for file in one["files"]]
    lines += [
        "In Python: `KafkaProducer(**clearwell.kafka_options())`, which aiokafka takes as well;",
        "`psycopg.connect(…, passfile=FILE)`; `MongoClient(Path(FILE).read_text())`.",
    ]
    return "\n".join(lines)
